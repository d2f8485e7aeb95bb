/**
 * The model in the test run: every scenario to its bound without a violation, and every mutant found. In processes of their
 * own, for source patches stand before the first module of the reducers is loaded.
 *
 * HOLDFAST_MODEL=far reaches further: minutes.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { MUTANTS } from './mutants.ts';

const FAR = process.env['HOLDFAST_MODEL'] === 'far' ? ['--far'] : [];

const model = (...args: readonly string[]): Promise<{ readonly ok: boolean; readonly output: string }> =>
  new Promise((resolve) => {
    const main = fileURLToPath(new URL('model.ts', import.meta.url));
    execFile(process.execPath, [main, ...args], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ ok: error === null, output: `${stdout}${stderr}` }),
    );
  });

test('every state keeps the promises, and from every state there is a way to an end', async () => {
  const { ok, output } = await model('--trace', ...FAR);
  expect(output).toContain('violations: 0, not explored whole: 0');
  expect(ok).toBe(true);
}, 3_600_000);

test.each(MUTANTS.map(({ name }) => name))(
  'a safeguard that is taken out is missed: %s',
  async (name) => {
    const { ok, output } = await model('--mutant', name);
    expect(output).toContain('VIOLATION');
    expect(ok).toBe(false);
  },
  120_000,
);

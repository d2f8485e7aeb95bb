/**
 * The simulation in the test run: a short seeded set that must be clean, at both scales, and every mutant from a seed that
 * is known to show it. In processes of their own, for source patches stand before the first production module is loaded.
 */
import { expect, test } from '@jest/globals';
import { simulate, tracedIn } from './child.ts';
import { MUTANTS } from './mutants.ts';

test.each(['small', 'full'] as const)(
  'seeded runs end without a violation (%s scale)',
  async (scale) => {
    const { ok, output } = await simulate('--seeds', scale === 'small' ? '300' : '15', '--scale', scale);
    expect(output).toContain('violations: 0');
    expect(ok).toBe(true);
  },
  180_000,
);

test('the same seed is the same run, whatever ran before it', async () => {
  const trace = (from: string, seeds: string) => simulate('--from', from, '--seeds', seeds, '--steps', '400', '--trace');
  const [alone, after] = await Promise.all([trace('8', '1'), trace('7', '2')]);
  const lines = tracedIn(alone);
  expect(lines.length).toBeGreaterThan(300);
  expect(tracedIn(after).slice(-lines.length)).toEqual(lines);
}, 60_000);

test('every safeguard that is taken out is missed', async () => {
  const { ok, output } = await simulate('--mutants', '--jobs', '2');
  expect(output).toContain(`all ${MUTANTS.length} mutants fail`);
  expect(ok).toBe(true);
}, 240_000);

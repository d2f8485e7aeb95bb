/** A short run of the whole demo, as `npm run demo` runs it: every step holds, and nothing is left behind. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { describeWith } from '../stack/describe-with.ts';

const MAIN = fileURLToPath(new URL('../../../src/faces/demo/main.ts', import.meta.url));
/** Some 15 MB of files: enough for packs to be killed between. */
const FILES = fileURLToPath(new URL('../../../node_modules/prettier', import.meta.url));
/** A minute and a half on a quiet machine. */
const RUN_MS = 600_000;

const reportSchema = z.object({
  ok: z.boolean(),
  steps: z.array(
    z.object({
      name: z.string(),
      ok: z.boolean(),
      seconds: z.number(),
      figures: z.record(z.string(), z.unknown()),
      error: z.unknown().optional(),
    }),
  ),
});

const runDemo = (args: readonly string[]): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { maxBuffer: 16 << 20, timeout: RUN_MS - 30_000 }, (_, stdout, stderr) => {
      resolve({ status: child.exitCode ?? 128, stdout, stderr });
    });
  });

const describePrograms = await describeWithPrograms('mke2fs');
const describeDemo = describePrograms === describe.skip ? describePrograms : await describeWith('temporal');
describeDemo('the demo', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'demo-test-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test(
    'runs every step and leaves nothing behind',
    async () => {
      const json = path.join(folder, 'demo.json');
      const { status, stdout, stderr } = await runDemo(['--files', FILES, '--within', folder, '--json', json]);
      const report = reportSchema.parse(JSON.parse(await readFile(json, 'utf8')));
      expect({ failed: report.steps.filter(({ ok }) => !ok), stderr: report.ok ? '' : stderr }).toEqual({ failed: [], stderr: '' });
      expect(report.ok).toBe(true);
      expect(status).toBe(0);
      expect(report.steps.map(({ name }) => name)).toEqual([
        ...[
          'provision',
          'image',
          'stores',
          'protect',
          'change',
          'delete',
          'reclaim',
          'serve',
          'journal',
          'replicate',
          'undo',
          'kill',
          'wipe',
        ],
        ...['rescue alpha', 'rescue beta', 'rescue gamma', 'rescue first', 'damage', 'elsewhere'],
      ]);
      const figuresOf = (name: string) => report.steps.find((step) => step.name === name)!.figures;
      expect(figuresOf('protect')['extentsRead']).toBe(figuresOf('image')['dataExtents']);
      expect(figuresOf('serve')['lastWriteInSnapshot']).toBeLessThanOrEqual(Number(figuresOf('serve')['writes']));
      expect(figuresOf('replicate')['lostExtents']).toBeGreaterThan(0);
      // A machine without PostgreSQL or a JDK says what is missing.
      const { shown, undone, harmed } = figuresOf('undo');
      expect(shown === false || (undone === harmed && Number(harmed) > 0)).toBe(true);
      expect(figuresOf('kill')['attempt']).toBeGreaterThan(1);
      expect(figuresOf('wipe')['workflowsAfterWipe']).toBe(0);
      expect(figuresOf('rescue beta')['e2fsckStatus']).toBe(0);
      expect(figuresOf('damage')['restoreStatus']).toBe(5);
      expect(stdout).toMatch(/19 of 19 steps ok/);
      expect(await readdir(folder)).toEqual(['demo.json']);
    },
    RUN_MS,
  );
});

describe('the options of the demo', () => {
  test('a volume that is not there is refused before anything is made', async () => {
    const { status, stderr } = await runDemo(['--volume', '/nowhere/volume.img']);
    expect(stderr).toMatch(/^error SOURCE_UNREADABLE: \/nowhere\/volume.img/);
    expect(status).toBe(6);
  });

  test('an option that does not exist is bad input', async () => {
    const { status, stderr } = await runDemo(['--everything']);
    expect(stderr).toMatch(/ARGUMENT_INVALID.*--everything/);
    expect(status).toBe(2);
  });
});

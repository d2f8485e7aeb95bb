/**
 * Proves that the check is alive: a tree of files, one forbidden import each, is given to the real oxlint with the real
 * configuration, and each must be refused for the reason expected; beside them the allowed imports, which must pass.
 * Without this, a renamed folder or a broken plugin would switch the layer rules off and nobody would notice.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Where the importing file stands, what it says, and a part of the message (null: allowed). */
const CASES: readonly (readonly [file: string, statement: string, refusal: string | null])[] = [
  ['src/domain/a.ts', `import '../ground/b.ts';`, 'src/domain sees only itself'],
  ['src/domain/b.ts', `import type { X } from '../ground/b.ts'; export type Y = X;`, 'src/domain sees only itself'],
  ['src/domain/c.ts', `import { readFileSync } from 'node:fs'; readFileSync('x');`, 'no Node built-ins'],
  ['src/domain/d.ts', `import { hash } from 'crypto'; hash('sha256', '');`, 'no Node built-ins'],
  ['src/domain/e.ts', `import pino from 'pino'; pino();`, 'sees only zod'],
  ['src/domain/f.ts', `export const memory = process.memoryUsage();`, `'process'`],
  ['src/ground/a.ts', `import '../engine/b.ts';`, 'src/ground sees only'],
  ['src/ground/stores/a.ts', `import '../../systems/shipping/b.ts';`, 'src/ground sees only'],
  ['src/engine/a.ts', `import '../systems/shipping/b.ts';`, 'src/engine sees only'],
  ['src/engine/b.ts', `import { Client } from '@temporalio/client'; new Client();`, 'does not see @temporalio/client'],
  ['src/systems/shipping/a.ts', `import '../lifecycle/b.ts';`, 'a system never imports a system'],
  ['src/systems/shipping/deep/a.ts', `export * from '../../lifecycle/b.ts';`, 'a system never imports a system'],
  ['src/systems/shipping/c.ts', `import '../../faces/cli/b.ts';`, 'src/systems sees only'],
  ['src/systems/shipping/d.ts', `import '../../../activities/b.ts';`, 'src/systems sees only'],
  ['src/faces/cli/a.ts', `import '../../../workers/b.ts';`, 'src/faces sees only'],
  ['src/faces/cli/c.ts', `import { x } from '../../../workflows/b.ts'; x();`, 'import type'],
  ['activities/a.ts', `import '../workers/b.ts';`, 'activities sees only'],
  ['activities/c.ts', `import '../workflows/b.ts';`, 'activities sees only'],
  ['workers/a.ts', `import '../src/faces/cli/b.ts';`, 'workers sees only'],
  ['workflows/a.ts', `import { x } from '../activities/b.ts'; x();`, 'import type'],
  ['workflows/c.ts', `import { type X } from '../activities/b.ts'; export type Y = X;`, 'import type'],
  ['workflows/d.ts', `import '../src/engine/b.ts';`, 'workflows sees only'],
  ['workflows/e.ts', `import path from 'node:path'; path.join();`, 'no Node built-ins'],
  ['workflows/f.ts', `export const load = (name: string) => import(name);`, 'computed'],
  ['workflows/g.ts', `export type Y = import('../src/engine/b.ts').X;`, 'workflows sees only'],
  ['src/utils/a.ts', `export const a = 1;`, 'no layer holds this file'],
  ['src/engine/floating.ts', `const f = async () => { await Promise.resolve(); }; f();`, 'Promises must be awaited'],
  ['src/engine/any.ts', `export const a = (b: any): unknown => b;`, 'any'],

  ['src/domain/b-ok.ts', `import { z } from 'zod'; export const a = z.string();`, null],
  ['src/systems/shipping/ok.ts', `import './b.ts'; import '../../engine/b.ts'; import '../../domain/z.ts'; import 'node:fs';`, null],
  ['src/systems/shipping/deep/ok.ts', `import '../b.ts';`, null],
  [
    'src/faces/cli/ok.ts',
    `import '../stack/b.ts'; import '@temporalio/client'; import type { X } from '../../../workflows/b.ts'; export type Y = X;`,
    null,
  ],
  ['activities/ok.ts', `import '../src/systems/shipping/b.ts'; import '@temporalio/activity';`, null],
  ['workers/ok.ts', `import '../activities/b.ts'; import '../src/ground/b.ts'; import '@temporalio/worker';`, null],
  [
    'workflows/ok.ts',
    `import '@temporalio/workflow'; import '../src/domain/z.ts'; import type { X } from '../activities/b.ts'; export type Y = X;`,
    null,
  ],
  ['test/ok.ts', `import '../workers/b.ts'; import '../src/faces/cli/b.ts';`, null],
];

const TARGETS = ['src/domain/z', 'src/ground/b', 'src/engine/b', 'src/systems/shipping/b', 'src/systems/lifecycle/b', 'src/faces/cli/b']
  .concat(['src/faces/stack/b', 'activities/b', 'workers/b', 'workflows/b'])
  .map((name) => `${name}.ts`);

const Report = z.object({ diagnostics: z.array(z.object({ message: z.string(), filename: z.string() })) });

let tree: string;
let findings: readonly { readonly message: string; readonly filename: string }[];

const write = async (name: string, text: string): Promise<void> => {
  await mkdir(path.dirname(path.join(tree, name)), { recursive: true });
  await writeFile(path.join(tree, name), text);
};

beforeAll(async () => {
  tree = await mkdtemp(path.join(tmpdir(), 'holdfast-layers-'));
  const config = await readFile(path.join(ROOT, '.oxlintrc.json'), 'utf8');
  await write('.oxlintrc.json', config.replace('./test/architecture/', `${ROOT}/test/architecture/`));
  await write('tsconfig.json', await readFile(path.join(ROOT, 'tsconfig.json'), 'utf8'));
  await write('.gitignore', 'node_modules');
  await symlink(path.join(ROOT, 'node_modules'), path.join(tree, 'node_modules'));
  for (const target of TARGETS) await write(target, 'export type X = number; export const x = (): void => {};\n');
  for (const [file, statement] of CASES) await write(file, `${statement}\n`);

  const output = await new Promise<string>((resolve) => {
    const lint = [
      path.join(ROOT, 'node_modules/oxlint/bin/oxlint'),
      '--format',
      'json',
      'src',
      'activities',
      'workers',
      'workflows',
      'test',
    ];
    // A non-zero status is what is wanted here; what cannot be parsed fails below.
    execFile(process.execPath, lint, { cwd: tree, maxBuffer: 1 << 24 }, (_status, stdout) => resolve(stdout));
  });
  findings = Report.parse(JSON.parse(output)).diagnostics;
});

afterAll(() => rm(tree, { recursive: true, force: true }));

describe('the layer rules', () => {
  test.each(CASES.filter(([, , refusal]) => refusal !== null))('%s: %s is refused', (file, _statement, refusal) => {
    const messages = findings.filter(({ filename }) => filename === file).map(({ message }) => message);
    expect(messages).toEqual(expect.arrayContaining([expect.stringContaining(refusal ?? '')]));
  });

  test.each(CASES.filter(([, , refusal]) => refusal === null))('%s: %s is allowed', (file) => {
    expect(findings.filter(({ filename }) => filename === file)).toEqual([]);
  });

  test('the tree of this project has files in the layers that the rules name', async () => {
    // The check reads paths: were src/domain renamed, every rule above would still pass on its own tree.
    await expect(readFile(path.join(ROOT, 'src/domain/errors.ts'))).resolves.toBeDefined();
  });
});

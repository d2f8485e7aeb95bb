/** docs/operations.md against the code: what can be typed, set and measured is on the page. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { completionNodes } from '../../../src/faces/cli/completion.ts';
import { createProgram } from '../../../src/faces/cli/program.ts';
import { createSession } from '../../../src/faces/cli/session.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
const page = readFileSync(path.join(ROOT, 'docs/operations.md'), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| `'));
const sources = ['src', 'workers'].flatMap((folder) =>
  readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(path.join(ROOT, folder, name), 'utf8')),
);
const namesIn = (pattern: RegExp): readonly string[] => [
  ...new Set(sources.flatMap((text) => [...text.matchAll(pattern)].map(([, name = '']) => name))),
];
const missing = (names: readonly string[]): readonly string[] => names.filter((name) => !page.includes(name));
const has = (text: string, word: string): boolean => new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(text);

const quiet = {
  ...{ out: () => undefined, err: () => undefined, write: () => Promise.resolve(), bar: null },
  input: async function* (): AsyncGenerator<Uint8Array> {},
  onInterrupt: () => () => undefined,
};

test('every command has a row', async () => {
  await using session = createSession({}, quiet);
  const leaves = completionNodes(createProgram(session, '0')).filter(({ words, path: at }) => words.length === 0 && at !== '');
  expect(leaves.length).toBeGreaterThan(90);
  const unsaid = leaves.filter(({ path: at }) => {
    const words = at.split(' ');
    return !rows.some((row) => words.every((word) => has(row, word)) && has(row.split('|')[1] ?? '', words[0] ?? ''));
  });
  expect(unsaid.map(({ path: at }) => at)).toEqual([]);
});

test('protecting, streams and replicas: every option is on the page', async () => {
  await using session = createSession({}, quiet);
  const flags = completionNodes(createProgram(session, '0'))
    .filter(({ path: at }) => /^(protect|journal|replica)( |$)/.test(at))
    .flatMap(({ options }) => options.map(({ flag }) => flag))
    .filter((flag) => flag.startsWith('--') && flag !== '--verbose');
  expect(missing([...new Set(flags)])).toEqual([]);
});

test('every variable and every metric is on the page', () => {
  const variables = namesIn(/\b(HOLDFAST_[A-Z0-9_]+)\b/g);
  expect(variables).toContain('HOLDFAST_REPLICA_TRUST_MS');
  expect(missing(variables)).toEqual([]);
  const metrics = namesIn(/name: '(holdfast_[a-z_]+)'/g);
  expect(metrics).toContain('holdfast_journal_at_risk_bytes');
  expect(missing(metrics)).toEqual([]);
});

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureFirstPassphrase } from '../../../src/faces/cli/first-passphrase.ts';
import { readStandingConfiguration, stackEnvironmentOf } from '../../../src/faces/cli/standing-configuration.ts';
import { writeRecord } from '../../../src/faces/stack/standing-record.ts';
import { readConfiguration } from '../../../src/ground/configuration/configuration.ts';

let home: string;
let variables: { readonly HOLDFAST_HOME: string };
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'holdfast configuration-'));
  variables = { HOLDFAST_HOME: home };
});
afterEach(() => rm(home, { recursive: true, force: true }));

const addressOf = async (more: Readonly<Record<string, string>> = {}): Promise<string> =>
  (await readStandingConfiguration({ ...variables, ...more })).temporal.address;

test('Temporal is where the environment says, else config.json, else what `up` started, else at the usual port', async () => {
  expect(await addressOf()).toBe('127.0.0.1:7233');
  const record = { format: 1, component: 'temporal', process: null, port: 7777, uiPort: null, namespace: 'mine' } as const;
  await writeRecord(record, stackEnvironmentOf(variables));
  expect((await readStandingConfiguration(variables)).temporal).toMatchObject({ address: '127.0.0.1:7777', namespace: 'mine' });
  await writeFile(path.join(home, 'config.json'), JSON.stringify({ temporal: { address: 'there:1' } }));
  expect(await addressOf()).toBe('there:1');
  expect(await addressOf({ HOLDFAST_TEMPORAL_ADDRESS: 'elsewhere:2' })).toBe('elsewhere:2');
  // What config.json names is somebody else's for the stack, too: never started.
  expect(stackEnvironmentOf(variables).temporal.address).toBe('there:1');
});

test('a folder with a blank in its name is one', () => {
  expect(readConfiguration(variables).home.url).toBe(`file://${home.replaceAll(' ', '%20')}/home`);
});

test('a first passphrase is made once, kept from others, and never where an installation has said something', async () => {
  expect(await ensureFirstPassphrase(readConfiguration(variables), { ...variables, HOLDFAST_PASSPHRASE: 'x' })).toBeNull();
  const file = await ensureFirstPassphrase(readConfiguration(variables), variables);
  expect(file).toBe(path.join(home, 'catalog.passphrase'));
  expect((await stat(file ?? '')).mode & 0o777).toBe(0o600);
  const made = await readFile(file ?? '', 'utf8');
  expect(made.trim().length).toBeGreaterThanOrEqual(32);
  expect(readConfiguration(variables).home.passphrase).toBe(`file:${file}`);
  expect(await ensureFirstPassphrase(readConfiguration(variables), variables)).toBeNull();
  expect(await readFile(file ?? '', 'utf8')).toBe(made);
});

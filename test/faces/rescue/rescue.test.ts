import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, open, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { captureFile } from '../cli/capture-file.ts';
import { cli, cliJson, errorOf, type CliOptions } from '../cli/run-cli.ts';

const EXTENT = 256 * 1024;
let folder: string;
let full: CliOptions;
/** All that a rescue has: the passphrase. */
let bare: CliOptions;
let first: string;
let second: string;
const images: Buffer[] = [];
const at = (...parts: readonly string[]): string => path.join(folder, ...parts);
const on = (store: string) => ['--store', at(store), '--passphrase', 'env:P'];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-rescue-test-'));
  full = {
    variables: {
      HOLDFAST_HOME: at('home'),
      HOLDFAST_PASSPHRASE: 'home-secret',
      P: 'store-secret',
      TOKEN: `hf1.${'0'.repeat(16)}.${'A'.repeat(43)}`,
    },
  };
  bare = { variables: { P: 'store-secret', WRONG: 'guess', HOLDFAST_HOME: at('nothing-here') } };
  await cliJson(['store', 'add', 'local', at('store'), '--passphrase', 'env:P'], full);
  await writeFile(at('image'), randomBytes(3 * EXTENT));
  await truncate(at('image'), 40 * EXTENT);
  await cliJson(['volume', 'add', 'db', at('image'), '--store', 'local'], full);
  first = await captureFile(full.variables, 'db');
  images.push(await readFile(at('image')));
  await cliJson(['replicate', 'receiver', 'add', 'vault', '--url', 'https://vault.example:7777', '--token', 'env:TOKEN'], full);
  await cliJson(['replicate', 'policy', 'set', 'db', '--receiver', 'vault', '--after-capture'], full);
  await cliJson(['receiver', 'token', 'add', '--store', 'local', '--prefix', 'acme-'], full);
  const file = await open(at('image'), 'r+');
  await file.write(randomBytes(EXTENT), 0, EXTENT, 20 * EXTENT);
  await file.close();
  second = await captureFile(full.variables, 'db');
  images.push(await readFile(at('image')));
  await cp(at('store'), at('copy'), { recursive: true });
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('lists with a folder and a passphrase alone, and makes no home', async () => {
  const listed = await cliJson<readonly { readonly id: string; readonly state: string; readonly volume: string }[]>(
    ['rescue', 'list', ...on('store')],
    bare,
  );
  expect(listed.map(({ id, state, volume }) => [id, state, volume])).toEqual([
    [first, 'AVAILABLE', 'db'],
    [second, 'AVAILABLE', 'db'],
  ]);
  expect(await readdir(folder)).not.toContain('nothing-here');
});

test('restores the newest, an older one, and only what differs', async () => {
  await cliJson(['rescue', 'restore', 'db', at('out'), ...on('store')], bare);
  expect((await readFile(at('out'))).equals(images[1] ?? Buffer.alloc(0))).toBe(true);
  const again = await cli(['rescue', 'restore', 'db', at('out'), ...on('store'), '--json'], bare);
  expect(errorOf(again).code).toBe('TARGET_EXISTS');
  const back = await cliJson<{ readonly writtenBytes: number }>(
    ['rescue', 'restore', 'db', at('out'), '--snapshot', first, '--differences', ...on('store')],
    bare,
  );
  expect((await readFile(at('out'))).equals(images[0] ?? Buffer.alloc(0))).toBe(true);
  expect(back.writtenBytes).toBeLessThanOrEqual(EXTENT);
  await cliJson(['rescue', 'restore', 'db', at('out'), '--overwrite', ...on('store')], bare);
  expect((await readFile(at('out'))).equals(images[1] ?? Buffer.alloc(0))).toBe(true);
});

test('a wrong passphrase, another volume and another folder are told apart', async () => {
  const wrong = await cli(['rescue', 'list', '--store', at('store'), '--passphrase', 'env:WRONG', '--json'], bare);
  expect([wrong.code, errorOf(wrong).code]).toEqual([5, 'PASSPHRASE_WRONG']);
  expect(wrong.err).not.toContain('guess');
  expect(errorOf(await cli(['rescue', 'restore', 'mail', at('x'), ...on('store'), '--json'], bare)).code).toBe('SNAPSHOT_NOT_FOUND');
  await cliJson(['store', 'add', 'empty', at('empty'), '--passphrase', 'env:P'], full);
  expect(errorOf(await cli(['rescue', 'list', ...on('empty'), '--json'], bare)).code).toBe('REPOSITORY_NOT_FOUND');
});

test('the mirrored catalog brings back stores, volumes, and what belongs to replication', async () => {
  const mirror = await cliJson<{ readonly stores: readonly { readonly name: string }[] }>(['rescue', 'catalog', ...on('store')], bare);
  expect(mirror.stores.map(({ name }) => name)).toEqual(['local']);
  const anew = { variables: { ...full.variables, HOLDFAST_HOME: at('home-2') } };
  await cliJson(['rescue', 'catalog', '--rebuild', ...on('store')], anew);
  expect(await cliJson(['volume', 'list'], anew)).toMatchObject([{ name: 'db', stores: ['local'] }]);
  expect(await cliJson<readonly unknown[]>(['snapshot', 'list', 'db'], anew)).toHaveLength(2);
  expect(await cliJson(['replicate', 'receiver', 'list'], anew)).toEqual(await cliJson(['replicate', 'receiver', 'list'], full));
  expect(await cliJson(['receiver', 'token', 'list'], anew)).toMatchObject([{ prefix: 'acme-' }]);
  expect(await cliJson(['replicate', 'policy', 'list'], anew)).toMatchObject([{ volume: 'db', receiver: 'vault', afterCapture: true }]);
  expect(await cliJson(['rescue', 'catalog', '--rebuild', ...on('store')], anew)).toMatchObject({ added: [] });
});

test('a delete frees what only that snapshot held; the newest waits unless it is purged', async () => {
  const plan = await cliJson<{ readonly freedBytes: number; readonly waitsFor: string }>(
    ['rescue', 'delete', second, '--dry-run', ...on('copy')],
    bare,
  );
  expect(plan).toMatchObject({ waitsFor: 'newest of a living lineage' });
  expect(plan.freedBytes).toBeGreaterThan(EXTENT * 0.9);
  expect(await cliJson(['rescue', 'delete', second, ...on('copy')], bare)).toMatchObject({ state: 'pending' });
  expect(await cliJson<readonly unknown[]>(['rescue', 'list', ...on('copy')], bare)).toHaveLength(1);
  // Hidden by mistake: it can be had back until it is reclaimed.
  await cliJson(['rescue', 'restore', 'db', at('hidden'), '--snapshot', second, ...on('copy')], bare);
  expect((await readFile(at('hidden'))).equals(images[1] ?? Buffer.alloc(0))).toBe(true);
  expect(await cliJson(['rescue', 'delete', second, '--purge', ...on('copy')], bare)).toMatchObject({ state: 'gone', reclaimed: [second] });
  await cliJson(['rescue', 'restore', 'db', at('older'), ...on('copy')], bare);
  expect((await readFile(at('older'))).equals(images[0] ?? Buffer.alloc(0))).toBe(true);
});

test('verify passes on a sound store; one flipped byte is found, named, and refused by a restore', async () => {
  expect(await cliJson(['rescue', 'verify', 'db', '--all', ...on('store')], bare)).toMatchObject({ damaged: [], snapshots: 2 });
  await cp(at('store'), at('hurt'), { recursive: true });
  const packs = at('hurt', 'repositories', 'db', 'a');
  const [claim = ''] = (await readdir(packs)).sort();
  const names = (await readdir(path.join(packs, claim))).filter((name) => name.includes('-p'));
  for (const name of names) {
    const file = await open(path.join(packs, claim, name), 'r+');
    const { size } = await file.stat();
    if (size > EXTENT) {
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, EXTENT / 2);
      await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, EXTENT / 2);
    }
    await file.close();
  }
  const found = await cli(['rescue', 'verify', 'db', '--all', ...on('hurt'), '--json'], bare);
  expect(found.code).toBe(5);
  const { damaged } = JSON.parse(found.out) as { readonly damaged: readonly { readonly extents: readonly number[] }[] };
  expect(damaged[0]?.extents).toEqual([0]);
  const refused = await cli(['rescue', 'restore', 'db', at('hurt-out'), ...on('hurt'), '--json'], bare);
  expect([refused.code, errorOf(refused).code]).toEqual([5, 'DAMAGED']);
});

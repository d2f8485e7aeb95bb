/**
 * `holdfast protect recover --serve`, over a disk server that is a process of its own: the disks of a group at a point, served at once under other
 * names, read and written while they fill, the server killed half-way and its stores away for a while.
 */
import { renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DiskStatus } from '../../../src/engine/volumes/disks/disk-control.ts';
import { openHost, type Host } from '../../../src/engine/volumes/host.ts';
import { storeName } from '../../../src/domain/ids.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { recoverInPlace } from '../../../src/systems/protection/in-place.ts';
import { findProtection } from '../../../src/engine/catalog/protections.ts';
import { basesIn, journalIn } from '../../../src/systems/protection/home-journal.ts';
import { createRandom } from '../../simulation/random.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { writeExtents } from '../../systems/image.ts';
import { createInstallation, HOST, type Installation } from '../../systems/installation.ts';
import { spawnServer, type StartedProcess } from './receiver-process.ts';
import { cli, cliJson, errorOf } from './run-cli.ts';

const EXTENT = 64 * 1024;
const EXTENTS = 160;
const SIZE = EXTENTS * EXTENT;
const REGIONS = ['east', 'west'];

let installation: Installation;
let host: Host;
let server: StartedProcess | null = null;
/** What the disks held at the point. */
const then: Buffer[] = [];
let seq = 0;
/** The same, left as it was. */
const noon: Buffer[] = [];

const json = <T>(...args: string[]): Promise<T> => cliJson<T>(args, { variables: installation.variables });

async function start(): Promise<void> {
  server = spawnServer('disks', 'disks are served', installation.variables);
  await server.ready;
}

async function kill(): Promise<void> {
  const running = server;
  server = null;
  await running?.end('SIGKILL');
}

const statusOf = async (name: string): Promise<DiskStatus | undefined> =>
  (await host.disks.list()).find(({ record }) => record.name === name);

async function until<T>(what: string, look: () => Promise<T | null | undefined | false>): Promise<T> {
  for (const deadline = Date.now() + 120_000; ;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not in two minutes; ${JSON.stringify(await host.disks.list())}`);
    await sleep(50);
  }
}

const readAll = async (uri: string): Promise<Buffer> => {
  using user = await useDisk(uri);
  const parts: Buffer[] = [];
  for (let at = 0; at < SIZE; at += 16 * EXTENT) parts.push(Buffer.from(await user.read(at, 16 * EXTENT)));
  return Buffer.concat(parts);
};

/** Both regions, as if nobody could reach them. */
const away = (is: boolean): void => {
  for (const region of REGIONS) {
    const folder = installation.storeFolder(region);
    if (is) renameSync(folder, `${folder}.away`);
    else renameSync(`${folder}.away`, folder);
  }
};

beforeAll(async () => {
  installation = await createInstallation();
  for (const store of ['log', ...REGIONS]) await installation.addStore(store);
  await start();
  host = openHost(HOST, installation.folder);
  const random = createRandom(7);
  const uris: string[] = [];
  for (const name of ['db', 'log']) {
    const path = installation.imageOf(name);
    writeExtents(
      path,
      SIZE,
      EXTENT,
      Array.from({ length: EXTENTS }, (_, extent) => ({ extent, content: extent + 1 })).filter(({ extent }) => extent % 3 !== 0),
    );
    const disk = { format: 1 as const, name, path, sizeBytes: SIZE, extentBytes: EXTENT, hydration: null };
    uris.push((await host.disks.attach(disk)).uris[0] ?? '');
  }
  await json('protect', 'start', 'j', 'db', 'log', '--log', 'log', '--region', 'east:one', '--region', 'west:two');
  for (const uri of uris) then.push(await readAll(uri));
  for (const [i, uri] of uris.entries()) {
    using user = await useDisk(uri);
    for (let n = 0; n < 400; n++) {
      const offset = 512 * random.below(SIZE / 512 - 32);
      const data = random.bytes(512 * random.between(1, 33));
      await user.write(offset, data);
      data.copy(then[i]!, offset);
    }
    await user.flush();
  }
  ({ seq } = await json<{ seq: number }>('protect', 'point', 'j', '--name', 'noon'));
  for (const uri of uris) {
    using user = await useDisk(uri);
    await user.write(5 * EXTENT, Buffer.alloc(EXTENT, 0xee));
    await user.flush();
  }
  noon.push(...then.map((bytes) => Buffer.from(bytes)));
  await until('the point in a region', async () => ((await host.disks.protection())[0]?.closed ?? 0) > seq);
}, 300_000);
afterAll(async () => {
  await kill();
  await installation[Symbol.asyncDispose]();
});

test('a point is served at once, fills while it is written to, through a kill and an absence of its stores, and then stands alone', async () => {
  // Away before it could fill itself: whatever was read of its stores by then, it was not all.
  const serving = json<{ disks: DiskStatus[] }>('protect', 'recover', 'j', '--serve', 'back', '--name', 'noon');
  await until('the first disk', () => statusOf('back-db'));
  away(true);
  const { disks } = await serving;
  expect(disks.map(({ record }) => record.name)).toEqual(['back-db', 'back-log']);
  const uri = disks[0]?.uris[0] ?? '';
  // Again: as it is.
  expect((await json<{ disks: DiskStatus[] }>('protect', 'recover', 'j', '--serve', 'back', '--name', 'noon')).disks).toHaveLength(2);
  const isCold = async (): Promise<boolean> => (await statusOf('back-db'))?.hydration?.localExtents !== EXTENTS;
  expect(await isCold()).toBe(true);
  {
    using user = await useDisk(uri);
    await user.write(3 * EXTENT, Buffer.alloc(2 * EXTENT, 0x77));
    await user.flush();
  }
  then[0]!.fill(0x77, 3 * EXTENT, 5 * EXTENT);
  await kill();
  await start();
  {
    using user = await useDisk(uri);
    expect(Buffer.from(await user.read(3 * EXTENT, EXTENT)).equals(Buffer.alloc(EXTENT, 0x77))).toBe(true);
    expect(await isCold()).toBe(true);
  }
  away(false);
  {
    // Tried at most once a second: until then what it lacks cannot be read.
    using user = await useDisk(uri);
    const read = await until('what it lacks', () => user.read(5 * EXTENT, EXTENT).catch(() => null));
    expect(Buffer.from(read).equals(then[0]!.subarray(5 * EXTENT, 6 * EXTENT))).toBe(true);
  }
  for (let round = 0; round < 3; round++) {
    using user = await useDisk(uri);
    // Parts of extents, and one whole; flushed, so they stay.
    for (const [offset, length] of [
      [1000 * round, 300],
      [(10 + round) * EXTENT, EXTENT],
      [(40 + 7 * round) * EXTENT + 100, EXTENT],
    ] as const) {
      const data = Buffer.alloc(length, 0xa0 + round);
      await user.write(offset, data);
      data.copy(then[0]!, offset);
    }
    await user.flush();
    await kill();
    await start();
  }
  for (const name of ['back-db', 'back-log'])
    await until(`${name} to stand alone`, async () => {
      const status = await statusOf(name);
      return status?.record.hydration === null && status.record.releasing === undefined;
    });
  expect((await readAll(uri)).equals(then[0]!)).toBe(true);
  expect((await readAll((await statusOf('back-log'))?.uris[0] ?? '')).equals(then[1]!)).toBe(true);
}, 400_000);

test('what it fills from is pinned as long as it fills, and no longer', async () => {
  const journal = await journalIn(installation.home, findProtection(await installation.home.catalog.sync(), 'j'), false);
  expect([...(await journal.log.sync()).pins.keys()]).toEqual([]);
  away(true);
  const failed = await cli(['protect', 'recover', 'j', '--serve', 'late', '--point', String(seq), '--json'], {
    variables: installation.variables,
  });
  expect(errorOf(failed).code).toBe('STORE_UNREACHABLE');
  away(false);
  expect(
    errorOf(await cli(['protect', 'recover', 'j', '--serve', 'late', '--point', '999999', '--json'], { variables: installation.variables }))
      .code,
  ).toBe('POINT_GONE');
  expect(errorOf(await cli(['protect', 'recover', 'j', '--json'], { variables: installation.variables })).code).toBe('ARGUMENT_INVALID');
  expect([...(await journal.log.sync()).pins.keys()]).toEqual([]);
}, 200_000);

const uriOf = async (name: string): Promise<string> => (await statusOf(name))?.uris[0] ?? '';
const isProtected = async (): Promise<boolean> => /^(PROTECTED|CATCHING_UP)$/.test((await host.disks.protection())[0]?.state ?? '');
const disksNow = async (): Promise<Buffer[]> => [await readAll(await uriOf('db')), await readAll(await uriOf('log'))];

/** Not by Jest, to which each byte is a property. */
const disksAre = async (wanted: readonly Buffer[]): Promise<boolean[]> => (await disksNow()).map((bytes, i) => bytes.equals(wanted[i]!));

/** Begun, and ended by a kill of the disk server in the middle. Answers the point before it. */
async function interrupted(): Promise<{ readonly seq: number }> {
  const protection = findProtection(await installation.home.catalog.sync(), 'j');
  const reading = readingOf(await journalIn(installation.home, protection, false));
  await using threads = new Threads({ count: 1 });
  const parts = { home: installation.home, threads, scratch: installation.folder };
  const bases = new Map([['east', await basesIn(parts, protection, storeName('east'), false)]]);
  let before: { readonly seq: number } | null = null;
  let steps = 0;
  const ended = recoverInPlace({
    ...{ reading, bases, point: { epoch: 1, seq }, disks: host.disks, force: true, pin: `in-place.${Math.random()}`, pinMs: 60_000 },
    onBegun: async (said) => void (before = said),
    onProgress: ({ writtenBytes }) => void (writtenBytes > 0 && ++steps === 2 && server?.end('SIGKILL')),
  });
  await expect(ended).rejects.toThrow();
  await kill();
  expect(steps).toBeGreaterThan(1);
  if (before === null) throw new Error('it was not begun');
  return before;
}

test('in place, ended by a kill of the server in the middle: nobody has the disks until it is asked for again; then it is undone by its name', async () => {
  // Killed while it was opening, its order was lost: a base comes first.
  await until('the group to be open', async () => (await host.disks.protection())[0]?.state !== 'OPENING');
  if ((await host.disks.protection())[0]?.gap !== null) await json('protect', 'base', 'j');
  await until('the group to be protected', isProtected);
  const later = await disksNow();
  const before = await interrupted();
  await start();
  await until('the group to be open', isProtected);
  await expect(useDisk(`nbd+unix:///db?socket=${installation.folder}/disks/nbd.sock`)).rejects.toThrow();
  const table = await cli(['volume', 'disks'], { variables: installation.variables });
  expect(table.out).toContain(`kept for \`protect recover j --in-place --point ${seq}\``);
  // The way back is what they held before the first try.
  const recovered = await json<{ before: { seq: number; name: string } }>('protect', 'recover', 'j', '--in-place', '--name', 'noon');
  expect(recovered.before.seq).toBe(before.seq);
  expect(await disksAre(noon)).toEqual([true, true]);
  await json('protect', 'recover', 'j', '--in-place', '--force', '--name', recovered.before.name);
  expect(await disksAre(later)).toEqual([true, true]);
}, 400_000);

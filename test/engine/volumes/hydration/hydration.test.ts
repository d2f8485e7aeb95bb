/**
 * Instant restore from a real repository: what is asked for comes first, the rest by the machinery of restore, and in the end the
 * volume stands alone; with its store away, damaged, or stopped half-way.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { RECOVERY_PLANS_MAX } from '../../../../src/domain/limits.ts';
import { repositoryName, storeName, volumeName } from '../../../../src/domain/ids.ts';
import { newestVisible } from '../../../../src/engine/repository/transfer-reader.ts';
import type { Export } from '../../../../src/engine/volumes/nbd/export.ts';
import { ServedVolume, type Origin, type VolumeEvent } from '../../../../src/engine/volumes/served-volume.ts';
import { OriginOutdated } from '../../../../src/engine/volumes/hydration/origin.ts';
import { snapshotContent } from '../../../../src/engine/volumes/hydration/snapshot-origin.ts';
import type { SnapshotView } from '../../../../src/engine/volumes/snapshot-view.ts';
import { Threads } from '../../../../src/ground/threads/threads.ts';
import { captureVolume } from '../../../systems/capture-volume.ts';
import { createInstallation, type Installation } from '../../../systems/installation.ts';

const EXTENT = 16 * 1024;
const EXTENTS = 6000;
const SIZE = EXTENTS * EXTENT + 5000;
const VOLUME = volumeName('disk');
/** Of every three extents one is zeros, and some are alike. */
const WRITES = Array.from({ length: EXTENTS }, (_, extent) => ({ extent, content: 1 + (extent % 2800) })).filter(
  ({ extent }) => extent % 3 !== 0,
);

let installation: Installation;
let threads: Threads;
let image: Buffer;
let snapshot: string;
const folder = mkdtempSync(path.join(tmpdir(), 'hf-hydration-'));
const open = new Set<ServedVolume>();

beforeAll(async () => {
  installation = await createInstallation();
  threads = new Threads({ count: 2 });
  await installation.addStore('a');
  await installation.addVolume(VOLUME, ['a'], { sizeBytes: SIZE, extentBytes: EXTENT, writes: WRITES });
  await captureVolume(installation.home, threads, VOLUME);
  image = readFileSync(installation.imageOf(VOLUME));
  snapshot = newestVisible(await installation.home.reader(storeName('a'), repositoryName(VOLUME)), VOLUME).id;
});
afterEach(async () => {
  for (const volume of open) await volume.stop();
  open.clear();
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** The snapshot, as often as it is opened; away while a test says so. */
function newOrigin(): Origin & { away: boolean; failure: HoldfastError | null; opened: number; closed: number } {
  const origin = {
    ...{ name: snapshot, away: false, failure: null as HoldfastError | null, opened: 0, closed: 0 },
    async open() {
      if (origin.away) throw new HoldfastError('STORE_UNREACHABLE', 'the store is away');
      origin.opened++;
      const reader = await installation.home.reader(storeName('a'), repositoryName(VOLUME));
      const of = newestVisible(reader, VOLUME);
      const { view, openBulk } = snapshotContent({ reader, threads, snapshot: of, store: 'a' });
      const extent: SnapshotView['extent'] = async (index) => {
        if (origin.failure !== null) throw origin.failure;
        return view.extent(index);
      };
      return {
        ...{ openBulk, view: { ...view, extent } },
        [Symbol.asyncDispose]: async () => void origin.closed++,
      };
    },
  };
  return origin;
}

let serial = 0;
function newVolume() {
  const own = path.join(folder, `v${++serial}`);
  const file = `${own}.img`;
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  const options = { name: 'v', path: file, sizeBytes: SIZE, extentBytes: EXTENT, stateFolder: own, preserveBytesMax: SIZE };
  const events: VolumeEvent[] = [];
  let now = 0;
  const clock = { nowMs: () => now, after: () => () => undefined };
  return {
    ...{ file, events, stateFiles: () => readdirSync(own) },
    pass: (ms: number) => (now += ms),
    async open(origin: Origin | null) {
      const volume = await ServedVolume.open({ ...options, origin, clock, onEvent: (event) => events.push(event) });
      open.add(volume);
      return volume;
    },
  };
}

async function readAll(of: Export, offset = 0, length = SIZE): Promise<Buffer> {
  const into = Buffer.alloc(length);
  const backend = await of.open();
  if (!backend.readNow(into, offset)) await backend.read(into, offset);
  await backend.close();
  return into;
}

const never = (): AbortSignal => new AbortController().signal;
const readExtent = (volume: ServedVolume, extent: number): Promise<Buffer> => readAll(volume.asExport(), extent * EXTENT, EXTENT);
const imageExtent = (extent: number): Buffer => image.subarray(extent * EXTENT, (extent + 1) * EXTENT);

test('is read and written at once, fetches itself, and then stands alone; what was written since is known exactly', async () => {
  const { open: openVolume, stateFiles, events, file } = newVolume();
  const origin = newOrigin();
  let volume = await openVolume(origin);
  expect(origin.opened).toBe(0);
  expect((await readExtent(volume, 1001)).equals(imageExtent(1001))).toBe(true);
  expect(events.filter(({ kind }) => kind === 'firstTouch')).toMatchObject([{ extent: 1001 }]);
  const backend = await volume.asExport().open();
  const expected = Buffer.from(image);
  for (const [extent, from, length] of [
    [4, 0, EXTENT],
    [7, 100, 50],
    [8, 0, 2 * EXTENT],
    [9, 5, 5],
  ] as const) {
    await backend.write([Buffer.alloc(length, 9)], extent * EXTENT + from, false);
    expected.fill(9, extent * EXTENT + from, extent * EXTENT + from + length);
  }
  await backend.trim(20 * EXTENT, 2 * EXTENT, true);
  expected.fill(0, 20 * EXTENT, 22 * EXTENT);
  // What is covered whole is not fetched: 1001, 7.
  expect(volume.figures().hydration).toMatchObject({ extents: EXTENTS + 1, fetchedExtents: 2 });
  const view = await volume.freeze('s1');
  await backend.write([Buffer.alloc(EXTENT, 5)], 31 * EXTENT, false);
  expect((await readAll(view.export)).equals(expected)).toBe(true);
  expected.fill(5, 31 * EXTENT, 32 * EXTENT);
  expect([...(view.changedSince(snapshot)?.runs() ?? [])]).toEqual([
    [4, 5],
    [7, 10],
    [20, 22],
  ]);
  await view.close();

  await volume.hydrate(never());
  expect(volume.figures().hydration).toBeNull();
  expect([origin.opened, origin.closed]).toEqual([1, 1]);
  origin.away = true;
  expect((await readAll(volume.asExport())).equals(expected)).toBe(true);
  await volume.stop();
  // Its owner has not noted the end yet, and then has.
  volume = await openVolume(origin);
  await volume.hydrate(never());
  await volume.stop();
  expect(stateFiles()).toEqual(['v.hydration', 'v.tracking']);
  volume = await openVolume(null);
  expect((await readAll(volume.asExport())).equals(expected)).toBe(true);
  await volume.stop();
  expect(stateFiles()).toEqual(['v.tracking']);
  expect(readFileSync(file).equals(expected)).toBe(true);
});

test('goes on where it was stopped', async () => {
  const { open: openVolume } = newVolume();
  const origin = newOrigin();
  let volume = await openVolume(origin);
  const stop = new AbortController();
  const progress = (event: { readonly kind: string }): void => {
    if (event.kind === 'got') stop.abort(new Error('enough'));
  };
  await expect(volume.hydrate(stop.signal, progress)).rejects.toThrow('enough');
  const before = volume.figures().hydration;
  expect(before?.localExtents).toBeLessThan(EXTENTS);
  await volume.stop();
  volume = await openVolume(origin);
  expect(volume.figures().hydration?.localExtents).toBe(before?.localExtents);
  await volume.hydrate(never());
  expect((await readAll(volume.asExport())).equals(image)).toBe(true);
  expect(origin.closed).toBe(2);
});

test('clients write while all of it is being fetched, and nothing of theirs is lost', async () => {
  const { open: openVolume } = newVolume();
  const volume = await openVolume(newOrigin());
  const backend = await volume.asExport().open();
  const expected = Buffer.from(image);
  let isDone = false;
  const hydrating = volume.hydrate(never()).then(() => (isDone = true));
  for (let i = 0; !isDone; i++) {
    const offset = ((i * 7919) % (EXTENTS - 3)) * EXTENT + (i % 3) * 1000;
    const length = i % 2 === 0 ? EXTENT + 300 : 500;
    await backend.write([Buffer.alloc(length, (i % 250) + 1)], offset, i % 50 === 0);
    expected.fill((i % 250) + 1, offset, offset + length);
    expect((await readAll(volume.asExport(), offset, length + 10)).equals(expected.subarray(offset, offset + length + 10))).toBe(true);
  }
  await hydrating;
  expect((await readAll(volume.asExport())).equals(expected)).toBe(true);
});

test('with its store away it takes what needs none of it, and goes on when the store is back', async () => {
  const { open: openVolume, events, pass } = newVolume();
  const origin = newOrigin();
  origin.away = true;
  const volume = await openVolume(origin);
  const backend = await volume.asExport().open();
  await backend.write([Buffer.alloc(EXTENT, 9)], 4 * EXTENT, true);
  expect((await readExtent(volume, 4)).equals(Buffer.alloc(EXTENT, 9))).toBe(true);
  await expect(readExtent(volume, 5)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await expect(volume.hydrate(never())).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  // Many ask, and one look at the store is enough for a second.
  expect(events.filter(({ kind }) => kind === 'originFailed')).toHaveLength(1);
  origin.away = false;
  await expect(readExtent(volume, 5)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  pass(1000);
  expect((await readExtent(volume, 5)).equals(imageExtent(5))).toBe(true);
  await volume.hydrate(never());
});

test('a store that failed is opened anew by whoever asks next', async () => {
  const { open: openVolume } = newVolume();
  const origin = newOrigin();
  const volume = await openVolume(origin);
  await readExtent(volume, 4);
  origin.failure = new HoldfastError('STORE_DENIED', 'the key was changed');
  await expect(Promise.all([readExtent(volume, 7), readExtent(volume, 100)])).rejects.toMatchObject({ code: 'STORE_DENIED' });
  origin.failure = null;
  expect((await readExtent(volume, 7)).equals(imageExtent(7))).toBe(true);
  expect([origin.opened, origin.closed]).toEqual([2, 1]);
});

test('one that is outdated is opened anew at once, and not for ever', async () => {
  const { open: openVolume } = newVolume();
  const origin = newOrigin();
  const volume = await openVolume(origin);
  origin.failure = new OriginOutdated('another has it');
  await expect(readExtent(volume, 7)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  expect([origin.opened, origin.closed]).toEqual([RECOVERY_PLANS_MAX, RECOVERY_PLANS_MAX]);
});

test('what the store has lost fails alone: all the rest comes, and the end says what is lacking', async () => {
  const { open: openVolume } = newVolume();
  const volume = await openVolume(newOrigin());
  const stored = readdirSync(installation.storeFolder('a'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const [lost] = stored.map(({ parentPath, name }) => path.join(parentPath, name)).filter((name) => statSync(name).size > 1_000_000);
  if (lost === undefined) throw new Error('there is a pack of a megabyte');
  const whole = readFileSync(lost);
  const torn = Buffer.from(whole);
  torn.fill(0xaa, 20_000, 20_400);
  writeFileSync(`${lost}.new`, torn);
  renameSync(`${lost}.new`, lost);
  try {
    const error = await volume.hydrate(never()).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'DAMAGED' });
    const { lostExtents, extents } = (error as HoldfastError).details as { lostExtents: number; extents: readonly number[] };
    expect(lostExtents).toBeGreaterThan(0);
    expect(lostExtents).toBeLessThan(20);
    expect(extents).toHaveLength(lostExtents);
    for (let extent = 0; extent <= EXTENTS; extent++)
      if (!extents.includes(extent))
        expect(
          (await readAll(volume.asExport(), extent * EXTENT, Math.min(EXTENT, SIZE - extent * EXTENT))).equals(imageExtent(extent)),
        ).toBe(true);
    const [first = -1] = extents;
    await expect(readExtent(volume, first)).rejects.toMatchObject({ code: 'DAMAGED' });
    const backend = await volume.asExport().open();
    await expect(backend.write([Buffer.alloc(10, 9)], first * EXTENT, false)).rejects.toMatchObject({ code: 'DAMAGED' });
    await backend.write([Buffer.alloc(EXTENT, 9)], first * EXTENT, true);
    expect((await readExtent(volume, first)).equals(Buffer.alloc(EXTENT, 9))).toBe(true);
    await expect(volume.hydrate(never())).rejects.toMatchObject({ code: 'DAMAGED', details: { lostExtents: lostExtents - 1 } });
    // Mended, it is called again.
    writeFileSync(lost, whole);
    await volume.hydrate(never());
  } finally {
    writeFileSync(lost, whole);
  }
});

test('a volume that lacks something is not served as if it lacked nothing, nor begun anew over what was written', async () => {
  const one = newVolume();
  let volume = await one.open(newOrigin());
  await volume.stop();
  await expect(one.open(null)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  await expect(one.open({ ...newOrigin(), name: 'another' })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  volume = await one.open(newOrigin());
  await volume.hydrate(never());
  await volume.stop();
  await (await one.open(null)).stop();
  await expect(one.open(newOrigin())).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  // The same name with a new file of zeros: what is said of the old one says nothing of it.
  const other = newVolume();
  await (await other.open(newOrigin())).stop();
  rmSync(other.file);
  writeFileSync(other.file, '');
  truncateSync(other.file, SIZE);
  volume = await other.open(newOrigin());
  expect(volume.figures().hydration?.localExtents).toBe(0);
});

test('what a view of it held is there after a crash, though nobody had flushed it: the next capture would not look', async () => {
  const { open: openVolume } = newVolume();
  const origin = newOrigin();
  const killed = await openVolume(origin);
  const backend = await killed.asExport().open();
  await backend.write([Buffer.alloc(EXTENT, 200)], 4 * EXTENT, false);
  const freeze = await killed.freeze('s1');
  await backend.write([Buffer.alloc(EXTENT, 201)], 7 * EXTENT, false);
  expect(await readAll(freeze.export, 4 * EXTENT, EXTENT)).toEqual(Buffer.alloc(EXTENT, 200));
  // As after a kill: nobody has told the second one what the first had not written down.
  const volume = await openVolume(origin);
  expect(await readExtent(volume, 4)).toEqual(Buffer.alloc(EXTENT, 200));
  expect(await readExtent(volume, 7)).toEqual(imageExtent(7));
});

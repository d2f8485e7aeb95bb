/**
 * Tracking against a model: whatever is written, frozen, stopped or crashed, what is told is never less than what changed
 * (T1), and exact while every stop was clean (T2). The disk loses, keeps or tears what was not synced, sector by sector.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExtentSet } from '../../../../src/engine/volumes/tracking/extent-set.ts';
import { openTracker, type Tracker } from '../../../../src/engine/volumes/tracking/tracker.ts';
import type { RandomFile } from '../../../../src/engine/volumes/tracking/random-file.ts';
import { REGION_EXTENTS, type TrackedVolume } from '../../../../src/engine/volumes/tracking/tracking-file.ts';

const EXTENTS = 40 * REGION_EXTENTS + 5;
const VOLUME: TrackedVolume = { volume: 'v', sizeBytes: EXTENTS * 4096, extentBytes: 4096 };
const SECTOR = 512;
/** Few, so that they are merged often. */
const GENERATIONS = 4;

class Crashed extends Error {}

/** A file on a disk that dies after so many operations. */
class DyingFile implements RandomFile {
  #durable: Buffer;
  #unsynced: { readonly at: number; readonly bytes: Buffer }[] = [];
  #left: number;
  syncs = 0;

  constructor(durable: Buffer, operations: number) {
    this.#durable = durable;
    this.#left = operations;
  }

  async #turn(): Promise<void> {
    await Promise.resolve();
    if (this.#left-- <= 0) throw new Crashed();
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.#turn();
    const out = Buffer.alloc(length);
    out.set(this.whole().subarray(offset, offset + length));
    return out;
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    // A write that the crash meets may have begun.
    this.#unsynced.push({ at: offset, bytes: Buffer.from(bytes) });
    await this.#turn();
  }

  async sync(): Promise<void> {
    await this.#turn();
    this.syncs++;
    this.#durable = this.whole();
    this.#unsynced = [];
  }

  /** As a reader sees it. */
  whole(): Buffer {
    return this.#with(() => true);
  }

  /** What the disk holds after the power came back. */
  afterCrash(survives: () => boolean): Buffer {
    return this.#with(survives);
  }

  #with(keeps: () => boolean): Buffer {
    const end = Math.max(this.#durable.length, ...this.#unsynced.map(({ at, bytes }) => at + bytes.length));
    const out = Buffer.concat([this.#durable, Buffer.alloc(end - this.#durable.length)]);
    for (const { at, bytes } of this.#unsynced)
      for (let from = 0; from < bytes.length; from += SECTOR) if (keeps()) out.set(bytes.subarray(from, from + SECTOR), at + from);
    return out;
  }
}

type Op = { readonly kind: 'write'; readonly from: number; readonly count: number } | { readonly kind: 'freeze' };
interface Life {
  readonly ops: readonly Op[];
  /** Operations of the file until it dies; large: a clean stop. */
  readonly operations: number;
}

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('write' as const), from: fc.nat(EXTENTS - 1), count: fc.integer({ min: 1, max: 80 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
);
const life: fc.Arbitrary<Life> = fc.record({
  ops: fc.array(op, { maxLength: 30 }),
  operations: fc.oneof(fc.nat(150), fc.constant(1_000_000)),
});

interface Frozen {
  readonly id: string;
  readonly truth: ExtentSet;
  exact: boolean;
}

/** Writes in the turn in which it may, whatever freezes came meanwhile. */
async function write(tracker: Tracker, from: number, to: number, written: () => void = () => undefined): Promise<void> {
  for (let wait = tracker.touch(from, to); wait !== null; wait = tracker.touch(from, to)) await wait;
  written();
}

async function live(tracker: Tracker, ops: readonly Op[], frozen: Frozen[], next: () => string): Promise<void> {
  const going: Promise<void>[] = [];
  for (const one of ops) {
    if (one.kind === 'freeze') {
      const id = next();
      going.push(tracker.freeze(id));
      frozen.push({ id, truth: new ExtentSet(EXTENTS), exact: true });
    } else {
      const to = Math.min(EXTENTS, one.from + one.count);
      going.push(
        write(tracker, one.from, to, () => {
          for (const { truth } of frozen) truth.addRange(one.from, to);
        }),
      );
    }
    if (one.kind === 'write' && one.count % 3 === 0) await Promise.allSettled(going);
  }
  const outcomes = await Promise.allSettled(going);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

function check(tracker: Tracker, frozen: readonly Frozen[]): void {
  for (const { id, truth, exact } of frozen) {
    const told = tracker.changedSince(id, null);
    if (told === null) continue;
    for (let extent = 0; extent < EXTENTS; extent++)
      if (truth.has(extent) && !told.has(extent)) throw new Error(`extent ${extent} changed since ${id} and is not told`);
    if (exact) expect([id, told.bits.equals(truth.bits)]).toEqual([id, true]);
  }
}

test('never less than what changed, exact after clean stops, whatever crashes and whenever', async () => {
  let crashes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 6 }), fc.infiniteStream(fc.boolean()), async (lives, coins) => {
      let disk = Buffer.alloc(0) as Buffer;
      const frozen: Frozen[] = [];
      let count = 0;
      for (const { ops, operations } of lives) {
        const file = new DyingFile(disk, operations);
        try {
          const tracker = await openTracker(file, VOLUME, 'as it was', { generationsMax: GENERATIONS });
          check(tracker, frozen);
          await live(tracker, ops, frozen, () => `s${++count}`);
          check(tracker, frozen);
          await tracker.stop('as it was');
          disk = file.whole();
        } catch (error) {
          if (!(error instanceof Crashed) && !((error as Error).cause instanceof Crashed)) throw error;
          crashes++;
          for (const one of frozen) one.exact = false;
          disk = file.afterCrash(() => coins.next().value === true);
        }
      }
      const last = await openTracker(new DyingFile(disk, 1_000_000), VOLUME, 'as it was', { generationsMax: GENERATIONS });
      check(last, frozen);
      // What a freeze had promised is answered for, unless newer ones have taken its place.
      const known = new Set(last.snapshots());
      expect(last.snapshots().length).toBeLessThanOrEqual(GENERATIONS);
      expect(frozen.filter(({ id }) => known.has(id)).length).toBe(known.size);
    }),
    { numRuns: 400 },
  );
  expect(crashes).toBeGreaterThan(50);
});

test('a region costs one sync when it is first touched, and none after', async () => {
  const file = new DyingFile(Buffer.alloc(0), 1_000_000);
  const tracker = await openTracker(file, VOLUME, null);
  const before = file.syncs;
  await write(tracker, 0, 3);
  expect(file.syncs - before).toBe(1);
  for (let extent = 0; extent < REGION_EXTENTS; extent++) await write(tracker, extent, extent + 1);
  expect(file.syncs - before).toBe(1);
  // Many at once share one.
  await Promise.all([...Array(20).keys()].map((i) => write(tracker, (i + 1) * REGION_EXTENTS, (i + 1) * REGION_EXTENTS + 1)));
  expect(file.syncs - before).toBe(2);
});

test('a freeze that resolved is answered for after a crash', async () => {
  const file = new DyingFile(Buffer.alloc(0), 1_000_000);
  const tracker = await openTracker(file, VOLUME, null);
  await tracker.freeze('s1');
  await write(tracker, 700, 701);
  const after = await openTracker(
    new DyingFile(
      file.afterCrash(() => false),
      1_000_000,
    ),
    VOLUME,
    null,
  );
  expect(after.changedSince('s1', null)?.has(700)).toBe(true);
  expect(after.changedSince('s1', null)?.has(0)).toBe(false);
});

test('a file that somebody else has written to, another volume, a rotten header: nothing is known', async () => {
  const file = new DyingFile(Buffer.alloc(0), 1_000_000);
  const tracker = await openTracker(file, VOLUME, 'a');
  await tracker.freeze('s1');
  await tracker.stop('a');
  const open = (disk: Buffer, volume: TrackedVolume, stamp: string) => openTracker(new DyingFile(disk, 1_000_000), volume, stamp);
  expect((await open(file.whole(), VOLUME, 'a')).snapshots()).toEqual(['s1']);
  expect((await open(file.whole(), VOLUME, 'b')).snapshots()).toEqual([]);
  expect((await open(file.whole(), { ...VOLUME, sizeBytes: VOLUME.sizeBytes + 4096 }, 'a')).snapshots()).toEqual([]);
  const oneRotten = Buffer.from(file.whole());
  oneRotten[20]! ^= 1;
  expect((await open(oneRotten, VOLUME, 'a')).snapshots()).toEqual(['s1']);
  oneRotten[4096 + 20]! ^= 1;
  expect((await open(oneRotten, VOLUME, 'a')).snapshots()).toEqual([]);
});

test('a sector that does not check counts whole', async () => {
  const file = new DyingFile(Buffer.alloc(0), 1_000_000);
  const tracker = await openTracker(file, VOLUME, null);
  await tracker.freeze('s1');
  await write(tracker, 0, 1);
  const torn = Buffer.from(file.whole());
  // The slot of the second generation.
  torn[2 * 4096 + 512 + 100]! ^= 1;
  const after = await openTracker(new DyingFile(torn, 1_000_000), VOLUME, null);
  expect(after.changedSince('s1', null)?.hasRange(0, EXTENTS)).toBe(true);
});

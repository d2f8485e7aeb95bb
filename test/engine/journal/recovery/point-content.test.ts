/**
 * A served volume that is hydrated from a point of a journal that lived by chance: what it holds in the end is what the volume held at the point, but
 * for what was written to it meanwhile; whatever is damaged is named, and nothing wrong is ever given. HOLDFAST_SEED is the whole case.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { HoldfastError, isHoldfastError } from '../../../../src/domain/errors.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../../../src/engine/journal/recovery/plan.ts';
import { noProgress, pointContent, type PointProgress } from '../../../../src/engine/journal/recovery/point-content.ts';
import type { SnapshotContent } from '../../../../src/engine/volumes/hydration/snapshot-origin.ts';
import { STATE } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { ServedVolume, type Origin } from '../../../../src/engine/volumes/served-volume.ts';
import { RandomJournal, VOLUME_BYTES, VOLUMES } from '../keeping/random-journal.ts';

const EXTENT = 64;
const one = process.env['HOLDFAST_SEED'];
const seeds = one === undefined ? Array.from({ length: 15 }, (_, i) => i + 1) : [Number(one)];
const counts = { whole: 0, damaged: 0, outdated: 0 };
const folder = mkdtempSync(path.join(tmpdir(), 'hf-point-content-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A base as a snapshot's view and its background are. */
function contentOf(content: Buffer): SnapshotContent {
  const isZero = (extent: number): boolean => content.subarray(extent * EXTENT, (extent + 1) * EXTENT).every((byte) => byte === 0);
  return {
    view: {
      ...{ sizeBytes: content.length, extentBytes: EXTENT, figures: { fetched: 0 } },
      extent: async (extent) => (isZero(extent) ? null : Buffer.from(content.subarray(extent * EXTENT, (extent + 1) * EXTENT))),
      read: async (into, offset) => void content.copy(into, 0, offset, offset + into.length),
      async *allocation(offset, length) {
        for (let at = offset; at < offset + length;) {
          const until = Math.min(offset + length, (Math.floor(at / EXTENT) + 1) * EXTENT);
          yield { length: until - at, flags: isZero(Math.floor(at / EXTENT)) ? STATE.HOLE | STATE.ZERO : 0 };
          at = until;
        }
      },
    },
    openBulk: async (file) => ({
      async fill({ extents }) {
        const fd = openSync(file, 'r+');
        for (let extent = 0; extent < extents.set.count; extent++) {
          if (isZero(extent)) extents.putZeros(extent, extent + 1);
          using claim = extents.claim([extent].filter((wanted) => !extents.set.has(wanted)));
          for (const own of claim.extents) writeSync(fd, content, own * EXTENT, EXTENT, own * EXTENT);
          claim.end([...claim.extents]);
        }
        closeSync(fd);
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}

let serial = 0;

interface At {
  readonly point: Point;
  readonly volume: number;
  /** Bases that the first plan leaves out. */
  readonly unusable?: ReadonlySet<string>;
  /** What is done between the plan and the first use of it, and after that. */
  readonly between?: () => Promise<void>;
  readonly later?: () => Promise<void>;
}

/** The volume as it ends, and what of it could not be had. */
async function served(
  world: RandomJournal,
  { point, volume, unusable = new Set(), between = async () => undefined, later = async () => undefined }: At,
): Promise<{ bytes: Buffer; lost: boolean; opened: number }> {
  const name = path.join(folder, `${++serial}.img`);
  const fd = openSync(name, 'w');
  ftruncateSync(fd, VOLUME_BYTES);
  closeSync(fd);
  const of = { volume, sizeBytes: VOLUME_BYTES, extentBytes: EXTENT };
  let first: RecoveryPlan | null = await planRecovery(world.reading(), { point, unusable });
  let floor = world.state.floor;
  await between();
  let progress: { readonly plan: RecoveryPlan; readonly of: PointProgress } | null = null;
  let opened = 0;
  const origin: Origin = {
    name: `j@${point.epoch}.${point.seq}/${volume}`,
    async open() {
      const reading = world.reading();
      if (first === null) floor = (await reading.journal.log.sync()).floor;
      const plan = first ?? progress?.plan ?? (await planRecovery(reading, { point }));
      opened++;
      if (progress?.plan !== plan) progress = { plan, of: noProgress(plan, of) };
      const id = plan.start.kind === 'base' ? plan.start.base.snapshots.find((some) => some.volume === volume)?.id : undefined;
      const base = id === undefined ? null : contentOf(world.bases.get(plan.region)!.stored.get(id)!.content);
      const isOutdated = async (): Promise<boolean> => (await reading.journal.log.sync()).floor !== floor;
      const content = pointContent({ ...of, reading, plan, base, progress: progress.of, isOutdated });
      return {
        ...content,
        [Symbol.asyncDispose]: async () => {
          first = null;
          progress = null;
        },
      };
    },
  };
  let nowMs = 0;
  const clock = { nowMs: () => (nowMs += 2000), after: (_: number, then: () => void) => (setImmediate(then), () => undefined) };
  const options = {
    name: 'v',
    path: name,
    sizeBytes: VOLUME_BYTES,
    extentBytes: EXTENT,
    stateFolder: folder,
    preserveBytesMax: VOLUME_BYTES,
  };
  const served = await ServedVolume.open({ ...options, stateFolder: `${name}.state`, origin, clock });
  const expected = Buffer.from(world.truth.get(point.seq)![volume]!);
  const backend = await served.asExport().open();
  let lost = false;
  const may = async (work: Promise<unknown>): Promise<boolean> => {
    try {
      await work;
      return true;
    } catch (error) {
      if (isHoldfastError(error, 'STORE_UNREACHABLE')) return false;
      if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING', 'BATCH_FOREIGN', 'CHAIN_BROKEN')) throw error;
      lost = true;
      return false;
    }
  };
  const look = async (): Promise<void> => {
    const offset = world.random.below(VOLUME_BYTES - 1);
    const into = Buffer.alloc(world.random.between(1, VOLUME_BYTES - offset + 1));
    if ((await may(backend.read(into, offset))) && !into.equals(expected.subarray(offset, offset + into.length)))
      throw new Error(`point ${point.seq}, volume ${volume}: ${offset}+${into.length} is read as it never was`);
  };
  await look();
  await later();
  for (let n = 0; n < 2; n++) {
    const offset = world.random.below(VOLUME_BYTES - 1);
    const data = world.random.bytes(world.random.between(1, Math.min(150, VOLUME_BYTES - offset) + 1));
    if (await may(Promise.resolve(backend.write([data], offset, false)))) data.copy(expected, offset);
  }
  for (let tries = 0; served.figures().hydration !== null && !lost && tries < 5; tries++) {
    await may(served.hydrate(new AbortController().signal));
    await look();
  }
  const isWhole = served.figures().hydration === null;
  const cold = !isWhole;
  await served.stop();
  if (isWhole && !readFileSync(name).equals(expected)) throw new Error(`point ${point.seq}, volume ${volume} is not what it was`);
  return { bytes: expected, lost: cold, opened };
}

test('what it holds is the point and the writes since, whatever the journal is; what is damaged is named, and not given', async () => {
  for (const seed of seeds) {
    const world = new RandomJournal(seed);
    await world.run(70);
    const points = await world.expected();
    for (const harmed of [false, true]) {
      // The newest has most behind its base; what is harmed for it is for all others.
      for (const { epoch, seq } of harmed ? points.slice(-1) : points.filter(() => world.random.chance(8 / points.length))) {
        const point = { epoch, seq };
        const volume = world.random.below(VOLUMES);
        const between = async (): Promise<void> => {
          if (!harmed) return;
          for (const batch of world.history())
            if (world.random.chance(0.4)) for (const region of ['a', 'b', 'c', 'd']) await world.harm(region, batch.epoch, batch.index);
        };
        try {
          const { lost } = await served(world, { point, volume, between });
          if (lost && !harmed) throw new Error(`point ${seq} is lost, and nothing was harmed`);
          counts[lost ? 'damaged' : 'whole']++;
        } catch (error) {
          if (harmed && error instanceof HoldfastError) continue;
          throw new Error(`HOLDFAST_SEED=${seed}`, { cause: error });
        }
      }
    }
  }
  if (one === undefined) expect([counts.whole > 50, counts.damaged > 0]).toEqual([true, true]);
}, 240_000);

test('what its plan needs is dropped when the floor has risen to the point: it goes on with another plan', async () => {
  for (const seed of seeds) {
    const world = new RandomJournal(seed);
    await world.run(50);
    const bases = [...world.state.bases.values()].flat().filter(({ from, to }) => from === to && to > world.state.floor);
    const newest = bases.at(-1);
    if (newest === undefined) continue;
    const point = { epoch: newest.at.epoch, seq: newest.to };
    const { opened, lost } = await served(world, {
      point,
      volume: 0,
      // It came after the plan.
      unusable: new Set(bases.filter(({ to }) => to === newest.to).flatMap(({ snapshots }) => snapshots.map(({ id }) => id))),
      later: async () => {
        await world.journal.log
          .append(() => ({ kind: 'FLOOR', seq: newest.to }))
          .catch((error: unknown) => {
            if (!isHoldfastError(error, 'RECORD_REFUSED')) throw error;
          });
        for (let n = 0; n < 8; n++) await world.collect();
      },
    });
    if (opened > 1) counts.outdated++;
    expect([`HOLDFAST_SEED=${seed}`, lost]).toEqual([`HOLDFAST_SEED=${seed}`, false]);
  }
  if (one === undefined) expect(counts.outdated).toBeGreaterThan(0);
}, 240_000);

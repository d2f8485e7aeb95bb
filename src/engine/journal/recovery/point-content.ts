/**
 * A point of a journal as what a served volume is hydrated from: the base as the snapshot that it is, and over it the stretches of the plan
 * (docs/hydration.md).
 *
 * Who waits for an extent reads it over both (overlay.ts); the background lays the base, then each batch once, straight into the file. How
 * far that is outlasts a store that went away: `progress` is given again with the same plan.
 */
import type { HoldfastError } from '../../../domain/errors.ts';
import { BATCHES_AHEAD } from '../../../domain/limits.ts';
import { isLoss } from '../../volumes/hydration/bulk.ts';
import { layeredBulk, nothingLaid, type Laid, type Layer, type LostPiece, type Piece } from '../../volumes/hydration/layered-bulk.ts';
import { OriginOutdated, type OriginContent } from '../../volumes/hydration/origin.ts';
import type { SnapshotContent } from '../../volumes/hydration/snapshot-origin.ts';
import type { StatusRun } from '../../volumes/nbd/export.ts';
import { STATE } from '../../volumes/nbd/protocol.ts';
import { lostBatchOf } from '../reading/copies.ts';
import { inOrder } from '../reading/in-order.ts';
import type { Reading } from '../reading/reading.ts';
import { createOverlay, type ReadBase } from './overlay.ts';
import type { RecoveryPlan } from './plan.ts';
import { byBatch, bodyOf, bytesOf, placeOf } from './replay.ts';
import { firstAfter, ZEROS } from './stretches.ts';

export interface PointVolume {
  /** Its number in the group. */
  readonly volume: number;
  readonly sizeBytes: number;
  readonly extentBytes: number;
}

/** Of one plan and one opened volume. */
export interface PointProgress {
  readonly laid: Laid;
  /** Numbers of batches in the plan that were laid, and ZEROS when zeros were. */
  readonly taken: Set<number>;
}

export const noProgress = (plan: RecoveryPlan, of: PointVolume): PointProgress => ({
  laid: nothingLaid({ places: () => placesOf(plan, of.volume) }, of),
  taken: new Set(),
});

export interface PointParts extends PointVolume {
  readonly reading: Reading;
  readonly plan: RecoveryPlan;
  /** The volume's snapshot of the plan's base; null: zeros. */
  readonly base: SnapshotContent | null;
  readonly progress: PointProgress;
  /** Whether another plan is to be made before this is said to be lost. */
  readonly isOutdated: (lost: HoldfastError) => Promise<boolean>;
}

export function pointContent({ isOutdated, reading, plan, base, progress, volume, sizeBytes, extentBytes }: PointParts): OriginContent {
  const { laid, taken } = progress;
  const overlay = createOverlay(reading, plan, readBaseOf(base));
  const layer: Layer = { pieces: (isWanted) => piecesOf({ reading, plan, volume, taken }, isWanted) };
  return {
    view: {
      async extent(index) {
        if (!laid.touched.has(index)) {
          if (base === null || index * extentBytes >= base.view.sizeBytes) return null;
          return refuseOutdated(isOutdated, () => base.view.extent(index));
        }
        const at = index * extentBytes;
        const plain = Buffer.alloc(extentBytes);
        await refuseOutdated(isOutdated, () => overlay.read(volume, plain.subarray(0, Math.min(extentBytes, sizeBytes - at)), at));
        return plain;
      },
      async *allocation(offset, length) {
        for (const { at, length: bytes, inside } of [...laid.touched.pieces(offset, length, extentBytes)])
          if (inside) yield { length: bytes, flags: 0 };
          else yield* allocationOf(base, at, bytes);
      },
    },
    async openBulk(path) {
      const bulk = layeredBulk({ base: (await base?.openBulk(path)) ?? null, layer, laid });
      return {
        async fill(port) {
          const lost: HoldfastError[] = [];
          await bulk.fill({ ...port, onLost: (error) => void lost.push(error) });
          // Of the batches the first: what leads beyond a later one leads beyond this, too.
          const first = lost.find((error) => lostBatchOf(error) !== null) ?? lost[0];
          if (first !== undefined && (await isOutdated(first))) throw outdated();
          lost.forEach(port.onLost);
        },
        [Symbol.asyncDispose]: () => bulk[Symbol.asyncDispose](),
      };
    },
  };
}

const outdated = (): OriginOutdated => new OriginOutdated('another base leads to the point by now');

async function refuseOutdated<T>(isOutdated: PointParts['isOutdated'], read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isLoss(error) && (await isOutdated(error))) throw outdated();
    throw error;
  }
}

const readBaseOf =
  (base: SnapshotContent | null): ReadBase =>
  async (_, into, offset) => {
    const there = base === null ? 0 : Math.max(0, Math.min(into.length, base.view.sizeBytes - offset));
    into.fill(0, there);
    if (there > 0) await base?.view.read(into.subarray(0, there), offset);
  };

async function* allocationOf(base: SnapshotContent | null, offset: number, length: number): AsyncGenerator<StatusRun> {
  const there = base === null ? 0 : Math.max(0, Math.min(length, base.view.sizeBytes - offset));
  if (base !== null && there > 0) yield* base.view.allocation(offset, there);
  if (there < length) yield { length: length - there, flags: STATE.HOLE | STATE.ZERO };
}

function* numbersOf({ stretches }: RecoveryPlan, volume: number): Generator<number> {
  for (let i = firstAfter(stretches, volume, 0); i < stretches.count && stretches.volumes[i] === volume; i++) yield i;
}

function* placesOf(plan: RecoveryPlan, volume: number): Generator<Omit<Piece, 'data'>> {
  for (const i of numbersOf(plan, volume)) yield placeOf(plan.stretches, i);
}

type PiecesOf = Pick<PointParts, 'reading' | 'plan' | 'volume'> & Pick<PointProgress, 'taken'>;

/** Zeros, then batch by batch; of those of which nothing is wanted not even the body is fetched. */
async function* piecesOf(
  { reading, plan, volume, taken }: PiecesOf,
  isWanted: (offset: number, length: number) => boolean,
): AsyncGenerator<Piece | LostPiece> {
  const { stretches } = plan;
  const wanted = (i: number): boolean => isWanted(stretches.offsets[i] ?? 0, stretches.lengths[i] ?? 0);
  if (!taken.has(ZEROS))
    for (const i of numbersOf(plan, volume)) if (stretches.places[i] === ZEROS && wanted(i)) yield { ...placeOf(stretches, i), data: null };
  taken.add(ZEROS);
  const { order, batches } = byBatch(stretches, (own) => own === volume);
  const left = batches.filter(({ number, from, to }) => !taken.has(number) && order.subarray(from, to).some(wanted));
  const bodies = inOrder(left, BATCHES_AHEAD, async (batch) => ({ batch, body: await bodyOrLoss(reading, plan, batch.number) }));
  for await (const { batch, body } of bodies) {
    for (const i of order.subarray(batch.from, batch.to))
      yield { ...placeOf(stretches, i), ...(Buffer.isBuffer(body) ? { data: bytesOf(stretches, i, body) } : body) };
    if (Buffer.isBuffer(body)) taken.add(batch.number);
  }
}

async function bodyOrLoss(reading: Reading, plan: RecoveryPlan, number: number): Promise<Buffer | Pick<LostPiece, 'lost'>> {
  try {
    return (await bodyOf(reading, plan, number)).data;
  } catch (error) {
    if (!isLoss(error)) throw error;
    return { lost: error };
  }
}

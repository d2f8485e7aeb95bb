/**
 * A replay: what a plan says is written over its base, each body fetched once.
 *
 * The stretches do not overlap, so they come in the order of the batches that hold them, not of places: a body is in memory once, and
 * those of which nothing survives are not fetched at all. BATCHES_AHEAD of them are under way.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCHES_AHEAD } from '../../../domain/limits.ts';
import type { Batch } from '../batch.ts';
import { inOrder } from '../reading/in-order.ts';
import { fetchBatchNow } from '../reading/copies.ts';
import type { Reading } from '../reading/reading.ts';
import type { PlannedBatch, RecoveryPlan } from './plan.ts';
import { ZEROS, type Stretches } from './stretches.ts';

/** Bytes of a volume, or zeros, at the point that is recovered. */
export interface VolumeExtent {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** `length` bytes; null: zeros. */
  readonly data: Buffer | null;
}

/**
 * All that differs from the base, in any order, none of it twice. Errors as of `planRecovery`; what came before one is right, and
 * is not all.
 */
export async function* replay(reading: Reading, plan: RecoveryPlan): AsyncGenerator<VolumeExtent> {
  const { stretches } = plan;
  for (let i = 0; i < stretches.count; i++) if (stretches.places[i] === ZEROS) yield { ...placeOf(stretches, i), data: null };
  const { order, batches } = byBatch(stretches, () => true);
  const bodies = inOrder(batches, BATCHES_AHEAD, async (batch) => ({ batch, data: (await bodyOf(reading, plan, batch.number)).data }));
  for await (const { batch, data } of bodies)
    for (const i of order.subarray(batch.from, batch.to)) yield { ...placeOf(stretches, i), data: bytesOf(stretches, i, data) };
}

/** The batch of this number in the plan, from any region. */
export async function bodyOf(reading: Reading, plan: RecoveryPlan, number: number): Promise<Batch> {
  const planned = plannedBatch(plan, number);
  return (await fetchBatchNow(reading, planned, planned.after)).batch;
}

export function plannedBatch({ batches }: RecoveryPlan, number: number): PlannedBatch {
  const planned = batches[number];
  if (planned === undefined) throw new HoldfastError('INTERNAL', 'the plan has no such batch', { number });
  return planned;
}

export const placeOf = ({ volumes, offsets, lengths }: Stretches, i: number): Pick<VolumeExtent, 'volume' | 'offset' | 'length'> => ({
  volume: volumes[i] ?? 0,
  offset: offsets[i] ?? 0,
  length: lengths[i] ?? 0,
});

/** The bytes of a stretch that is not zeros: a view of its batch's data. */
export function bytesOf({ places, lengths }: Stretches, i: number, data: Buffer): Buffer {
  const place = places[i] ?? 0;
  return data.subarray(place, place + (lengths[i] ?? 0));
}

interface OfBatch {
  readonly number: number;
  /** Its stretches in `order`. */
  readonly from: number;
  readonly to: number;
}

interface ByBatch {
  /** Numbers of stretches. */
  readonly order: Uint32Array;
  readonly batches: readonly OfBatch[];
}

/** The stretches with bytes of volumes that are wanted, by the batch that holds them, each batch's ascending by place: sorted by counting. */
export function byBatch({ count, volumes, batches, places }: Stretches, isWanted: (volume: number) => boolean): ByBatch {
  const isHeld = (i: number): boolean => places[i] !== ZEROS && isWanted(volumes[i] ?? 0);
  const last = batches.reduce((most, batch) => Math.max(most, batch), -1);
  const ends = new Uint32Array(last + 2);
  for (let i = 0; i < count; i++) if (isHeld(i)) ends[(batches[i] ?? 0) + 1] = (ends[(batches[i] ?? 0) + 1] ?? 0) + 1;
  for (let batch = 0; batch <= last; batch++) ends[batch + 1] = (ends[batch + 1] ?? 0) + (ends[batch] ?? 0);
  const next = ends.slice();
  const order = new Uint32Array(ends[last + 1] ?? 0);
  for (let i = 0; i < count; i++) {
    if (!isHeld(i)) continue;
    const batch = batches[i] ?? 0;
    const at = next[batch] ?? 0;
    order[at] = i;
    next[batch] = at + 1;
  }
  const used: OfBatch[] = [];
  for (let number = 0; number <= last; number++) {
    const [from = 0, to = 0] = [ends[number], ends[number + 1]];
    if (from < to) used.push({ number, from, to });
  }
  return { order, batches: used };
}

/**
 * A point that can be read at once, without a replay: its base, and over it the stretches of the plan.
 *
 * Bodies are fetched as reads want them and the last OVERLAY_BATCHES_KEPT are kept; who asks for one that is under way waits for
 * it. A batch is wholly fetched for its smallest stretch, so this is for the first reads while a replay fills the image behind.
 */
import { OVERLAY_BATCHES_KEPT } from '../../../domain/limits.ts';
import { allEnded } from '../../../ground/threads/all-ended.ts';
import { Permits } from '../../../ground/threads/permits.ts';
import type { Reading } from '../reading/reading.ts';
import type { RecoveryPlan } from './plan.ts';
import { bodyOf, bytesOf, placeOf } from './replay.ts';
import { firstAfter, ZEROS } from './stretches.ts';

/** Fills `into` from `offset` with what the base holds of a volume. */
export type ReadBase = (volume: number, into: Buffer, offset: number) => Promise<void>;

export interface Overlay {
  /** Fills `into` from `offset` with what the volume held at the point. Errors as of `replay`. */
  read(volume: number, into: Buffer, offset: number): Promise<void>;
  /** Where the journal wrote over the base, ascending. */
  written(volume: number): Iterable<{ readonly offset: number; readonly length: number }>;
}

export function createOverlay(reading: Reading, plan: RecoveryPlan, readBase: ReadBase): Overlay {
  const { stretches } = plan;
  /** Least recently used first. */
  const kept = new Map<number, Promise<Buffer>>();
  /** Of all reads together: a long one touches many batches. */
  const permits = new Permits(OVERLAY_BATCHES_KEPT);

  const dataOf = (number: number): Promise<Buffer> => {
    const data = kept.get(number) ?? bodyOf(reading, plan, number).then((batch) => batch.data);
    kept.delete(number);
    kept.set(number, data);
    // What failed is asked for again.
    data.catch(() => kept.get(number) === data && kept.delete(number));
    for (const oldest of kept.keys()) {
      if (kept.size <= OVERLAY_BATCHES_KEPT) break;
      kept.delete(oldest);
    }
    return data;
  };

  const write = async (i: number, into: Buffer, offset: number): Promise<void> => {
    const stretch = placeOf(stretches, i);
    const from = Math.max(offset, stretch.offset);
    const to = Math.min(offset + into.length, stretch.offset + stretch.length);
    const part = into.subarray(from - offset, to - offset);
    if (stretches.places[i] === ZEROS) {
      part.fill(0);
      return;
    }
    await permits.take(reading.signal);
    try {
      bytesOf(stretches, i, await dataOf(stretches.batches[i] ?? 0)).copy(part, 0, from - stretch.offset, to - stretch.offset);
    } finally {
      permits.give();
    }
  };

  return {
    async read(volume, into, offset) {
      const end = offset + into.length;
      const parts: Promise<void>[] = [];
      let at = offset;
      const base = (until: number): void => {
        if (at < until) parts.push(readBase(volume, into.subarray(at - offset, until - offset), at));
      };
      for (let i = firstAfter(stretches, volume, offset); i < stretches.count; i++) {
        const stretch = placeOf(stretches, i);
        if (stretch.volume !== volume || stretch.offset >= end) break;
        base(stretch.offset);
        parts.push(write(i, into, offset));
        at = stretch.offset + stretch.length;
      }
      base(end);
      await allEnded(parts);
    },
    *written(volume) {
      for (let i = firstAfter(stretches, volume, 0); i < stretches.count && stretches.volumes[i] === volume; i++) {
        const { offset, length } = placeOf(stretches, i);
        yield { offset, length };
      }
    },
  };
}

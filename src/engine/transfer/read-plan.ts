/**
 * Which ranges of which packs to read for a set of values.
 *
 * Values are grouped by pack, sorted by offset, and neighbours are read together, across gaps as long as the gaps make up
 * at most 5 % of what is read. A range is small enough for one slot and holds few enough values for one task, so highly
 * compressible packs are spread over the threads, too. Packs come in the order in which the volume first needs them.
 */
import { BATCH_BYTES } from '../../domain/limits.ts';
import { SLOT_FINGERPRINTS, TASK_VALUES_MAX } from '../../ground/threads/tasks.ts';
import type { Location } from '../repository/location.ts';

/** Share of a range that may be bytes that nobody asked for. */
const WASTE_SHARE_MAX = 0.05;
/** Plain bytes of one task: at 40 ms a task, work is spread evenly and its messages cost nothing. */
const TASK_PLAIN_BYTES = 4 * BATCH_BYTES;

/** A value to be fetched, for all its positions at once. */
export interface FetchValue {
  readonly fingerprint: Buffer;
  readonly location: Location | null;
  /** Extents of the volume that hold it; none when it is only looked at. */
  readonly extents: readonly number[];
}

export interface LocatedValue extends FetchValue {
  readonly location: Location;
}

/** One range read of one pack. */
export interface PackRead {
  readonly pack: Buffer;
  readonly offset: number;
  readonly length: number;
  readonly values: readonly LocatedValue[];
}

export function planReads(values: readonly LocatedValue[], extentBytes: number): PackRead[] {
  const packs = Map.groupBy(values, (value) => value.location.pack.toString('latin1'));
  return [...packs.values()].flatMap((own) => planPack(own, extentBytes));
}

function planPack(values: readonly LocatedValue[], extentBytes: number): PackRead[] {
  const valuesMax = Math.min(TASK_VALUES_MAX, Math.max(1, Math.floor(TASK_PLAIN_BYTES / extentBytes)));
  const reads: PackRead[] = [];
  let open: { pack: Buffer; offset: number; length: number; useful: number; values: LocatedValue[] } | null = null;
  for (const value of values.toSorted((a, b) => a.location.offset - b.location.offset)) {
    const { pack, offset, length } = value.location;
    const end = offset + length;
    if (open !== null) {
      const longer = Math.max(open.length, end - open.offset);
      const useful = open.useful + length;
      if (longer <= SLOT_FINGERPRINTS && open.values.length < valuesMax && longer - useful <= WASTE_SHARE_MAX * longer) {
        open.length = longer;
        open.useful = useful;
        open.values.push(value);
        continue;
      }
    }
    open = { pack, offset, length, useful: length, values: [value] };
    reads.push(open);
  }
  return reads;
}

/**
 * Where bytes of a stream are in its journal, found by asking for few heads: offsets rise with the batches, and chains have no holes.
 *
 * A head is believed because it opens under the journal's key for its place; that all between it and what is read behind it is sound, and that
 * what looks like the end is it, is for the reading from there on (engine/journal/reading/history.ts).
 */
import { HoldfastError } from '../../domain/errors.ts';
import { lastOf, type BatchHead } from '../../engine/journal/batch.ts';
import type { ChainMark } from '../../engine/journal/chain.ts';
import { headsOf, nowhere } from '../../engine/journal/reading/copies.ts';
import { beginningOf } from '../../engine/journal/reading/marks.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import type { Epoch, JournalState } from '../../engine/journal/state.ts';

export interface StreamEnds {
  /** Bytes that are known to be acknowledged, which is what readers are given. */
  readonly acknowledged: number;
  /** Bytes that are there; who takes the stream over goes on behind all of them, or those of them that are acknowledged. */
  readonly end: number;
}

/** STORE_UNREACHABLE, OBJECT_MISSING, DAMAGED: no region has what would say it. */
export async function streamEnds(reading: Reading, state: JournalState): Promise<StreamEnds> {
  let end: number | null = null;
  for (const epoch of newestFirst(state)) {
    const batches = await batchesIn(reading, state, epoch);
    let acknowledged = 0;
    for (let index = batches - 1; index >= 0; index--) {
      const head = await wholeHead(reading, state, epoch, index);
      acknowledged = Math.max(acknowledged, head.acknowledged);
      const bytes = bytesOf(head);
      if (bytes === null) continue;
      end ??= bytes.to;
      if (epoch.end !== null || lastOf(head) <= acknowledged) return { acknowledged: bytes.to, end };
    }
  }
  return { acknowledged: 0, end: end ?? 0 };
}

/** From where to read so that the byte at `offset` is met if it is there; null: the journal has no epoch. */
export async function markBefore(reading: Reading, state: JournalState, offset: number): Promise<ChainMark | null> {
  for (const epoch of newestFirst(state)) {
    const head = await lastFrom(reading, state, epoch, offset);
    if (head === null) continue;
    const { index, first, before } = head;
    return { epoch: epoch.epoch, index, next: first, digest: before, acknowledged: 0, labelUs: 0 };
  }
  const [first] = state.epochs.values();
  return first === undefined ? null : beginningOf(first);
}

const newestFirst = ({ epochs }: JournalState): readonly Epoch[] => [...epochs.values()].reverse();

/** The bytes of the stream that a batch has, `to` exclusive; null: none. ARGUMENT_INVALID: it is a batch of disks, whose journal had this name before. */
export function bytesOf({ rows, epoch, index }: BatchHead): { readonly from: number; readonly to: number } | null {
  const writes = rows.filter(({ kind }) => kind !== 'flush');
  const from = writes[0]?.offset ?? 0;
  let to = from;
  for (const { kind, volume, offset, length } of writes) {
    if (kind !== 'write' || volume !== 0 || offset !== to)
      throw new HoldfastError('ARGUMENT_INVALID', `batch ${index} of epoch ${epoch} is none of a stream of bytes`, {
        field: 'journal',
        expected: 'the name of a stream, or one that no journal has had',
      });
    to += length;
  }
  return to === from ? null : { from, to };
}

/** The last batch of an epoch whose bytes begin at or before `offset`. */
async function lastFrom(reading: Reading, state: JournalState, epoch: Epoch, offset: number): Promise<BatchHead | null> {
  let found: BatchHead | null = null;
  for (let low = 0, high = await batchesIn(reading, state, epoch); low < high;) {
    const middle = Math.floor((low + high) / 2);
    const head = await withBytes(reading, state, epoch, middle, low);
    if (head === null) low = middle + 1;
    else if ((bytesOf(head)?.from ?? 0) <= offset) {
      found = head;
      low = middle + 1;
    } else high = head.index;
  }
  return found;
}

/** The last batch of `low` to `index` that has bytes. Few have none: a flush alone, or a word on what is acknowledged. */
async function withBytes(reading: Reading, state: JournalState, epoch: Epoch, index: number, low: number): Promise<BatchHead | null> {
  for (let at = index; at >= low; at--) {
    const head = await wholeHead(reading, state, epoch, at);
    if (bytesOf(head) !== null) return head;
  }
  return null;
}

/** How many batches an epoch has: of the open one as many as are there, twice as far at each look, then by halves. */
async function batchesIn(reading: Reading, state: JournalState, epoch: Epoch): Promise<number> {
  if (epoch.end !== null) return epoch.end.index + 1;
  const isThere = async (index: number): Promise<boolean> => (await headIn(reading, state, epoch, index)) !== null;
  let low = 0;
  let step = 1;
  for (; await isThere(low + step - 1); step *= 2) low += step;
  for (let high = low + step - 1; low < high;) {
    const middle = Math.floor((low + high) / 2);
    if (await isThere(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function wholeHead(reading: Reading, state: JournalState, epoch: Epoch, index: number): Promise<BatchHead> {
  const head = await headIn(reading, state, epoch, index);
  if (head !== null) return head;
  throw new HoldfastError('OBJECT_MISSING', `batch ${index} of epoch ${epoch.epoch} is in no region`, { epoch: epoch.epoch, index });
}

/** Null: nobody has it. One member that answers is enough to say so of the open epoch: what is acknowledged is in both. */
async function headIn(reading: Reading, state: JournalState, epoch: Epoch, index: number): Promise<BatchHead | null> {
  const met = await headsOf(reading, state, epoch, index).next();
  if (met.done !== true) return met.value.what;
  const { silent, refused } = met.value;
  const isUnheard = epoch.end === null ? silent.length === epoch.members.length : silent.length > 0;
  if (refused !== null || isUnheard) throw nowhere(met.value, { epoch: epoch.epoch, index });
  return null;
}

/**
 * The chain of an epoch in one region: batch after batch, up to the first place that is empty or sealed (docs/journal.md, section 5).
 *
 * Invariant: what comes out is one unbroken history from where the walk began: indexes, numbers and digests join, and labels and
 * acknowledgements do not fall. Whoever meets a break is told the last number before it, which is the nearest sound point.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { BATCH_FOLD_BYTES_MAX, BATCH_HEAD_READ_BYTES, BATCH_RECORDS_MAX } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { lastOf, readBatchHead, type BatchHead } from './batch.ts';
import { batchName, parseBatchName } from './object-names.ts';
import { ROW_BYTES } from './records.ts';
import { headEnd, type Place } from './sealed-object.ts';

/** The longest that a head can be; what says that it is longer is damaged. */
const BATCH_HEAD_BYTES_MAX = BATCH_HEAD_READ_BYTES + BATCH_RECORDS_MAX * ROW_BYTES + BATCH_FOLD_BYTES_MAX;

/** Where a walk stands: before batch `index`, after all numbers below `next`, at this digest. */
export interface ChainMark {
  readonly epoch: number;
  readonly index: number;
  readonly next: number;
  readonly digest: Uint8Array;
  /** Newest number that the chain so far says was acknowledged, and the newest label; 0: nothing said. */
  readonly acknowledged: number;
  readonly labelUs: number;
}

/** The mark after one more batch. CHAIN_BROKEN when it does not follow. */
export function follow(mark: ChainMark, head: BatchHead): ChainMark {
  const joins =
    head.epoch === mark.epoch && head.index === mark.index && head.first === mark.next && Buffer.compare(head.before, mark.digest) === 0;
  const rises = head.acknowledged >= mark.acknowledged && head.labelUs >= mark.labelUs;
  if (!joins || !rises)
    throw new HoldfastError('CHAIN_BROKEN', `batch ${mark.index} of epoch ${mark.epoch} does not follow the one before it`, {
      epoch: mark.epoch,
      index: mark.index,
      soundSeq: mark.next - 1,
    });
  return {
    epoch: mark.epoch,
    index: mark.index + 1,
    next: lastOf(head) + 1,
    digest: head.after,
    acknowledged: head.acknowledged,
    labelUs: head.labelUs,
  };
}

export interface ChainEnd {
  readonly mark: ChainMark;
  readonly stoppedBy: 'empty' | 'seal';
}

export interface ChainPlace {
  /** The region, below `journals/<name>/`. */
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly signal?: AbortSignal;
}

/** Walks the heads of a region's chain from `mark` on; returns where it ends. CHAIN_BROKEN, DAMAGED, BATCH_FOREIGN: what comes after is not to be had here. */
export async function* walkChain(place: ChainPlace, mark: ChainMark): AsyncGenerator<BatchHead, ChainEnd> {
  for (let at = mark; ;) {
    const found = await headAt(place, at, batchName(at.epoch, at.index));
    if (found === 'empty' || found === 'seal') return { mark: at, stoppedBy: found };
    at = follow(at, found);
    yield found;
  }
}

/** Objects behind an empty place that are looked at: more than an owner has under way. */
const LOOKED_AT_BEHIND = 8;

/**
 * Heads of the batches behind a place. Where a chain seems to end, what they say that all members held tells a batch that was lost from one that
 * has not come yet: nothing is put behind it for long before it is held. What is damaged says nothing, unless `onDamage` minds.
 */
export async function* headsBehind(
  place: ChainPlace,
  { epoch, index }: Place,
  onDamage: (object: string) => void = () => undefined,
): AsyncGenerator<BatchHead> {
  const after = batchName(epoch, index);
  const prefix = after.slice(0, after.lastIndexOf('/') + 1);
  const options = place.signal ? { signal: place.signal } : {};
  for (const { name } of await place.store.list(prefix, { ...options, after, limit: LOOKED_AT_BEHIND })) {
    const at = parseBatchName(name);
    const head = at === null ? 'empty' : await headAt(place, at, name).catch((error: unknown) => passOver(error, () => onDamage(name)));
    if (head !== 'empty' && head !== 'seal') yield head;
  }
}

function passOver(error: unknown, onDamage: () => void): 'empty' {
  if (!isHoldfastError(error, 'DAMAGED', 'BATCH_FOREIGN', 'OBJECT_MISSING')) throw error;
  if (!isHoldfastError(error, 'OBJECT_MISSING')) onDamage();
  return 'empty';
}

/** The head under a name that is of one place: with one read of the first bytes, unless it is a long one. */
export async function headAt({ store, key, signal }: ChainPlace, at: Place, name: string): Promise<BatchHead | 'empty' | 'seal'> {
  const read = (length: number): Promise<Buffer | null> => store.get(name, { range: { offset: 0, length }, ...(signal ? { signal } : {}) });
  let stored = await read(BATCH_HEAD_READ_BYTES);
  const needed = stored === null ? 0 : (headEnd(stored) ?? 0);
  if (needed > BATCH_HEAD_READ_BYTES) stored = await read(Math.min(needed, BATCH_HEAD_BYTES_MAX));
  if (stored === null) return 'empty';
  return readBatchHead(key, at, name, stored) ?? 'seal';
}

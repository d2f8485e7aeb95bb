/**
 * Backfill: a region that was not a member of an epoch gets what it needs of it, from whoever has it; then it says so in the log.
 *
 *     closed epoch ──▶ each batch that is needed there: there already? ──▶ fetched, checked ──▶ b/ ──▶ HELD
 *                          └── in no region any more: a base that finishes by the floor is copied first, and the rest is above it
 *
 * Invariant (hole 17): HELD is said when every batch that the region needs of the epoch has been read there, as the chain
 * wants it, or was put there and confirmed; what a region is said to hold may be the last copy tomorrow. Nobody waits for this: it
 * reads what is closed and writes below b/, and each try finds what the ones before it have copied.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCHES_AHEAD } from '../../../domain/limits.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { readBatch, type Batch } from '../batch.ts';
import { follow, type ChainMark } from '../chain.ts';
import { holdsAll, keepOf } from '../holdings.ts';
import { batchName, copyName } from '../object-names.ts';
import { fetchBatch } from '../reading/copies.ts';
import { inOrder } from '../reading/in-order.ts';
import { beginningOf, markAfter } from '../reading/marks.ts';
import { isDamage, type Reading } from '../reading/reading.ts';
import type { Epoch, JournalState } from '../state.ts';
import type { Bases } from './bases.ts';
import { copyBase } from './copy-base.ts';
import { resting } from './resting.ts';

export interface BackfillOptions {
  /** Bases of regions, by name; without those of the region nothing is copied but batches. */
  readonly bases?: ReadonlyMap<string, Bases>;
  /** Is called before each batch is put, with its bytes. */
  readonly pace?: (bytes: number) => Promise<void>;
}

export interface Backfilled {
  /** Epochs that the region was said to hold. */
  readonly held: readonly number[];
  readonly batches: number;
  readonly bytes: number;
  readonly basesCopied: number;
}

/**
 * Fills a region until it holds all closed epochs, oldest first. OBJECT_MISSING or DAMAGED when a batch is in no region as it was
 * written and no base leads past it, told when the other epochs are filled; STORE_UNREACHABLE when one may be in a region that is silent.
 */
export async function backfillRegion(reading: Reading, region: string, options: BackfillOptions = {}): Promise<Backfilled> {
  const { log } = reading.journal;
  const held: number[] = [];
  const failed = new Map<number, unknown>();
  const done = { batches: 0, bytes: 0, basesCopied: 0 };
  for (;;) {
    const state = await log.sync();
    const isOver = ({ epoch, end }: Epoch): boolean => end === null || held.includes(epoch) || failed.has(epoch);
    const epoch = [...state.epochs.values()].find((one) => !isOver(one) && !holdsAll(state, region, one));
    if (epoch === undefined) break;
    try {
      const copied = await fillEpoch(reading, state, epoch, region, options);
      done.batches += copied.batches;
      done.bytes += copied.bytes;
    } catch (error) {
      if (!isDamage(error)) throw error;
      // Where others have dropped it, a base of theirs stands for it. An old view may have looked for what is dropped since.
      if (await copyBase(reading, region, options.bases)) {
        done.basesCopied++;
        failed.clear();
      } else if ((await log.sync()).n === state.n) failed.set(epoch.epoch, error);
      continue;
    }
    await log.append((now) => (now.epochs.get(epoch.epoch)?.full.includes(region) ? null : { kind: 'HELD', epoch: epoch.epoch, region }));
    held.push(epoch.epoch);
  }
  for (const first of failed.values()) throw first;
  return { held, ...done };
}

interface Copied {
  readonly batches: number;
  readonly bytes: number;
}

/** Copies what the region needs of a closed epoch and does not have; reads all of it once, in the order of the chain. */
async function fillEpoch(reading: Reading, state: JournalState, epoch: Epoch, region: string, { pace }: BackfillOptions): Promise<Copied> {
  const store = reading.journal.regions.get(region)?.store;
  if (store === undefined || epoch.end === null)
    throw new HoldfastError('STORE_UNREACHABLE', `${region} cannot be reached from here`, { region });
  const rest = resting(reading.journal.environment);
  const begin = beginningIn(state, epoch, region);
  const indexes = Array.from({ length: Math.max(0, epoch.end.index + 1 - begin.index) }, (_, i) => begin.index + i);
  const done = { batches: 0, bytes: 0 };
  let mark = begin;
  const got = inOrder(indexes, BATCHES_AHEAD, async (index) => {
    const own = await ownBatch(reading, store, { epoch: epoch.epoch, index, region });
    return own === null
      ? { ...(await fetchBatch(reading, state, { epoch: epoch.epoch, index }, null)).what, own: false }
      : { ...own, own: true };
  });
  for await (const { batch, stored, own } of got) {
    mark = follow(mark, batch);
    if (own) continue;
    await pace?.(stored.length);
    await putCopy(reading, store, batch, stored);
    await rest();
    done.batches++;
    done.bytes += stored.length;
  }
  if (Buffer.from(mark.digest).toString('hex') !== epoch.end.digest)
    throw new HoldfastError('CHAIN_BROKEN', `epoch ${epoch.epoch} does not end as the log says`, {
      epoch: epoch.epoch,
      index: epoch.end.index,
    });
  return done;
}

/** Before the first batch of the epoch that the region needs. */
function beginningIn(state: JournalState, epoch: Epoch, region: string): ChainMark {
  const keep = keepOf(state, region);
  const after = keep === undefined || keep.at.epoch < epoch.epoch ? beginningOf(epoch) : markAfter(state, { kind: 'base', base: keep });
  if (after !== null && after.epoch === epoch.epoch) return after;
  // All of it lies below the base.
  const { index, seq, digest } = epoch.end ?? { index: -1, seq: epoch.start - 1, digest: epoch.before };
  return { ...beginningOf(epoch), index: index + 1, next: seq + 1, digest: Buffer.from(digest, 'hex') };
}

interface OwnPlace {
  readonly epoch: number;
  readonly index: number;
  readonly region: string;
}

/** The batch in the region itself, under either name; null when there is none that opens. */
async function ownBatch(
  { journal, signal, onDamage }: Reading,
  store: ObjectStore,
  { epoch, index, region }: OwnPlace,
): Promise<{ readonly batch: Batch; readonly stored: Buffer } | null> {
  for (const object of [batchName(epoch, index), copyName(epoch, index)])
    try {
      const stored = await store.get(object, signal ? { signal } : {});
      const batch = stored === null ? null : readBatch(journal.key, { epoch, index }, object, stored);
      if (stored !== null && batch !== null) return { batch, stored };
    } catch (error) {
      if (!isDamage(error)) throw error;
      onDamage({ region, object, code: error.code, message: error.message });
    }
  return null;
}

/** Puts a copy, the same bytes, and knows when it returns that they are there. */
async function putCopy({ signal }: Reading, store: ObjectStore, { epoch, index }: Batch, stored: Buffer): Promise<void> {
  const name = copyName(epoch, index);
  const options = signal ? { signal } : {};
  if ((await store.put(name, stored, { ...options, ifAbsent: true })) === 'created') return;
  // Another backfill was faster, or what is there was damaged: then it is replaced, for nobody's promise rests on a copy.
  if ((await store.get(name, options))?.equals(stored) === true) return;
  await store.put(name, stored, options);
}

/**
 * The copies of one batch, region by region: the batch that its owner put (e/), or a copy that was made later (b/).
 *
 * Invariant: what is answered was opened under the journal's key for that place. A copy that does not open is told as damage, and
 * the next one is tried; a seal, and nothing, are told apart from silence.
 */
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import type { SealingKey } from '../../../ground/sealing/envelope.ts';
import { inOwnBuffer } from '../../../ground/threads/free-buffer.ts';
import { readBatch, readClosedBody, type Batch, type BatchHead, type ClosedBody } from '../batch.ts';
import { headAt, headsBehind } from '../chain.ts';
import { batchName, copyName } from '../object-names.ts';
import type { Place } from '../sealed-object.ts';
import type { Epoch, JournalState } from '../state.ts';
import { askedFor, isDamage, isSilence, membersAsked, unheard, type Reading } from './reading.ts';

/** Where a batch, or its head, was found. */
export interface Found<T> {
  readonly region: string;
  readonly object: string;
  readonly what: T;
}

/** What was met when no copy would do. */
export interface Nowhere {
  /** Regions that could hold it and did not answer, or cannot be reached from here. */
  readonly silent: readonly string[];
  /** The last reason for which a copy was refused. */
  readonly refused: HoldfastError | null;
}

type Read<T> = (region: string, object: string) => Promise<T | null>;

/** The copies, as they are asked for one by one; returns what was met besides. */
async function* copies<T>(
  reading: Reading,
  state: JournalState,
  epoch: Epoch,
  index: number,
  read: Read<T>,
): AsyncGenerator<Found<T>, Nowhere> {
  const silent: string[] = [];
  let refused: HoldfastError | null = null;
  const names = [batchName(epoch.epoch, index)];
  // Copies are made of closed epochs alone.
  if (epoch.end !== null) names.push(copyName(epoch.epoch, index));
  for (const region of askedFor(reading, state, epoch, index))
    for (const object of names) {
      reading.signal?.throwIfAborted();
      try {
        const what = await read(region, object);
        if (what !== null) yield { region, object, what };
      } catch (error) {
        if (isSilence(error)) {
          silent.push(region);
          break;
        }
        if (!isDamage(error)) throw error;
        reading.onDamage({ region, object, code: error.code, message: error.message });
        refused = error;
      }
    }
  return { silent, refused };
}

const placeIn = ({ journal, signal }: Reading, region: string) => {
  const known = journal.regions.get(region);
  if (known === undefined) throw unheard(`what ${region} holds`, [region], { region });
  return { store: known.store, key: journal.key, ...(signal ? { signal } : {}) };
};

/** Heads of the copies of a batch. */
export const headsOf = (reading: Reading, state: JournalState, epoch: Epoch, index: number): AsyncGenerator<Found<BatchHead>, Nowhere> =>
  copies(reading, state, epoch, index, async (region, object) => {
    const found = await headAt(placeIn(reading, region), { epoch: epoch.epoch, index }, object);
    return found === 'empty' || found === 'seal' ? null : found;
  });

export interface ToldBehind {
  /** The newest number that was acknowledged; 0: nothing is said. */
  readonly acknowledged: number;
  /** All members have held the batch of the place itself. */
  readonly wasThere: boolean;
}

/** What batches of an open epoch behind a place say, in members that answer. */
export async function toldBehind(reading: Reading, epoch: Epoch, index: number): Promise<ToldBehind> {
  const { regions, key } = reading.journal;
  const options = reading.signal ? { signal: reading.signal } : {};
  const heads: BatchHead[] = [];
  for (const region of membersAsked(reading, epoch)) {
    const store = regions.get(region)?.store;
    if (store === undefined) continue;
    try {
      for await (const head of headsBehind({ store, key, ...options }, { epoch: epoch.epoch, index })) heads.push(head);
    } catch (error) {
      if (!isSilence(error)) throw error;
    }
  }
  return {
    acknowledged: Math.max(0, ...heads.map((head) => head.acknowledged)),
    wasThere: heads.some((head) => head.acknowledgedBatches > index),
  };
}

export interface WholeBatch {
  readonly batch: Batch;
  readonly stored: Buffer;
}

/** Where it is, and its first number, where that is known: for whoever is told that it is in no region. */
interface WantedBatch extends Place {
  readonly first?: number;
}

/** Uses a whole object; null: there is no batch in it. What it throws as damage has the next copy asked for. */
type UseObject<T> = (key: SealingKey, object: string, stored: Buffer) => T | null | Promise<T | null>;

/** The first copy, whole, from any region, that is of use. OBJECT_MISSING, DAMAGED or the like; STORE_UNREACHABLE when somebody did not answer. */
async function fetchCopy<T>(
  reading: Reading,
  state: JournalState,
  { epoch, index, first }: WantedBatch,
  use: UseObject<T>,
): Promise<Found<T>> {
  const known = state.epochs.get(epoch);
  if (known === undefined) throw new HoldfastError('INTERNAL', `there is no epoch ${epoch}`, { epoch });
  const found = copies(reading, state, known, index, async (region, object) => {
    const { store, key, signal } = placeIn(reading, region);
    const stored = await store.get(object, signal ? { signal } : {});
    return stored === null ? null : await use(key, object, stored);
  });
  const met = await found.next();
  if (!met.done) return met.value;
  throw nowhere(met.value, { epoch, index }, first === undefined ? first : first - 1);
}

/** A batch from any region, whole, whose digest is `after`, or any when that is not known. Errors as of `fetchCopy`. */
export const fetchBatch = (
  reading: Reading,
  state: JournalState,
  place: WantedBatch,
  after: Uint8Array | null,
): Promise<Found<WholeBatch>> =>
  fetchCopy(reading, state, place, (key, object, stored) => {
    const batch = readBatch(key, place, object, stored);
    if (batch !== null) refuseOther(batch.after, after, place, object);
    return batch === null ? null : { batch, stored };
  });

function refuseOther(has: Uint8Array, after: Uint8Array | null, { epoch, index }: Place, object: string): void {
  if (after !== null && Buffer.compare(has, after) !== 0)
    throw new HoldfastError('CHAIN_BROKEN', `${object} is another batch than its head said`, { epoch, index, object });
}

/** The same by the newest view of the log: a batch may have been copied, and dropped where it was, since an older one. */
export const fetchBatchNow = (reading: Reading, place: WantedBatch, after: Uint8Array | null): Promise<WholeBatch> =>
  byNewestView(reading, (state) => fetchBatch(reading, state, place, after));

/** Opens a body and uses what it holds; throws DAMAGED, by the object's name, when that is not what was written. */
export type UseBody = (body: ClosedBody, object: string) => Promise<void>;

/**
 * The body of the batch whose digest is `after`, still sealed and alone in its buffer, by the newest view of the log. A copy that `use` refuses has
 * the next one asked for.
 */
export async function useBodyNow(reading: Reading, place: WantedBatch, after: Uint8Array, use: UseBody): Promise<void> {
  await byNewestView(reading, (state) =>
    fetchCopy(reading, state, place, async (key, object, stored) => {
      const body = readClosedBody(key, place, object, inOwnBuffer(stored));
      if (body === null) return null;
      refuseOther(body.after, after, place, object);
      await use(body, object);
      return object;
    }),
  );
}

/** Views of the log that one batch is looked for by: it is copied before it is dropped, so the next one should do. */
const VIEWS_MAX = 4;

async function byNewestView<T>({ journal: { log } }: Reading, fetch: (state: JournalState) => Promise<Found<T>>): Promise<T> {
  let state = log.known();
  for (let views = 1; ; views++)
    try {
      return (await fetch(state)).what;
    } catch (error) {
      if (!isDamage(error) && !isSilence(error)) throw error;
      const now = await log.sync();
      if (now.n === state.n || views === VIEWS_MAX) throw error;
      state = now;
    }
}

/** Which batch an error says to be in no region, or in none as it was written; null: it says something else. */
export function lostBatchOf(error: unknown): Place | null {
  if (!isDamage(error)) return null;
  const { epoch, index } = error.details;
  return typeof epoch === 'number' && typeof index === 'number' ? { epoch, index } : null;
}

/** Why a batch cannot be had: somebody's silence before all, for it may be there. */
export function nowhere({ silent, refused }: Nowhere, at: Place, soundSeq?: number): HoldfastError {
  const details = { epoch: at.epoch, index: at.index, ...(soundSeq === undefined ? {} : { soundSeq }) };
  const what = `batch ${at.index} of epoch ${at.epoch}`;
  if (silent.length > 0) return unheard(what, silent, details);
  if (refused === null) return new HoldfastError('OBJECT_MISSING', `${what} is in no region`, details);
  return new HoldfastError(refused.code, `${what} is in no region as it was written: ${messageOf(refused)}`, details, refused);
}

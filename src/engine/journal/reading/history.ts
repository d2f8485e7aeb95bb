/**
 * The history of a journal, head by head: closed epochs up to their ends, then the open one as far as its own batches say that
 * it was acknowledged (docs/journal.md, section 5).
 *
 * Invariant: what comes out is one unbroken chain from where the reading began, each epoch ending with the digest that the log
 * says; whichever region a head came from. What a region has in another way than the chain wants it is told as damage and another
 * region's copy is taken; what no region has ends the reading with an error that names the last sound number.
 *
 * Heads are asked for ahead: 64 at a time where the end is known; where it is not, more and more, for what lies past the end
 * is asked for in vain.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { HISTORY_HEADS_AHEAD, HISTORY_ROWS_AHEAD } from '../../../domain/limits.ts';
import { lastOf, type BatchHead } from '../batch.ts';
import { follow, type ChainMark } from '../chain.ts';
import type { Epoch, JournalState } from '../state.ts';
import { headsOf, nowhere, toldBehind, type Found, type Nowhere } from './copies.ts';
import { beginningOf, epochAfter } from './marks.ts';
import { isDamage, type Reading } from './reading.ts';

/** A head that may be believed, and how much of it may be shown. */
export interface ReadHead {
  readonly head: BatchHead;
  readonly region: string;
  /** Where the chain stands after it. */
  readonly mark: ChainMark;
}

export interface HistoryEnd {
  /** After the last batch that was shown. */
  readonly mark: ChainMark;
  /** Members of the open epoch that were not heard: there may be more. */
  readonly silent: readonly string[];
  /** The log as it was seen last. */
  readonly state: JournalState;
}

/** Reads on from a mark. OBJECT_MISSING, DAMAGED or the like with `details.soundSeq` where history breaks off; STORE_UNREACHABLE where only silence is met. */
export async function* readHistory(reading: Reading, from: JournalState, begin: ChainMark): AsyncGenerator<ReadHead, HistoryEnd> {
  let state = from;
  let mark = begin;
  for (let epoch = state.epochs.get(mark.epoch); epoch !== undefined; epoch = epochAfter(state, mark.epoch)) {
    if (epoch.epoch !== mark.epoch) mark = beginningOf(epoch);
    if (epoch.end === null) {
      const end = yield* readOpen(reading, state, epoch, mark);
      ({ mark, state } = end);
      const closed = state.epochs.get(epoch.epoch);
      // It was closed meanwhile: on from here, in so far as this is not past its end already.
      if (closed === undefined || closed.end === null || closed.end.index + 1 < mark.index) return end;
      epoch = closed;
    }
    mark = yield* readClosed(reading, state, epoch, mark);
  }
  return { mark, silent: [], state };
}

async function* readClosed(reading: Reading, state: JournalState, epoch: Epoch, begin: ChainMark): AsyncGenerator<ReadHead, ChainMark> {
  const { end } = epoch;
  if (end === null) throw new HoldfastError('INTERNAL', 'the epoch is not closed', { epoch: epoch.epoch });
  let mark = begin;
  for await (const met of ahead(reading, state, epoch, { index: begin.index, through: end.index, window: HISTORY_HEADS_AHEAD })) {
    const next = await accepted(reading, met, mark);
    if (!('head' in next)) throw nowhere(next, mark, mark.next - 1);
    mark = next.mark;
    yield next;
  }
  if (mark.index === end.index + 1 && (mark.next !== end.seq + 1 || Buffer.from(mark.digest).toString('hex') !== end.digest))
    throw new HoldfastError('CHAIN_BROKEN', `epoch ${epoch.epoch} does not end as the log says`, {
      ...{ epoch: epoch.epoch, index: end.index, soundSeq: epoch.start - 1 },
    });
  return mark;
}

/**
 * The open epoch. Heads are held back until a later one, or they themselves, say that they are acknowledged; an owner has only a
 * few that are not. Without the promise of a pair the log is looked at again before anything is shown.
 * An owner puts a few at once, so one that is not there yet may have others behind it: it is missing when these say that it was there.
 */
async function* readOpen(reading: Reading, state: JournalState, epoch: Epoch, begin: ChainMark): AsyncGenerator<ReadHead, HistoryEnd> {
  let now = state;
  let mark = begin;
  let acknowledged = 0;
  /** A batch that was there before it was asked for the last time. */
  let known = -1;
  const held: ReadHead[] = [];
  for (let window = 1; ; window = Math.min(window * 2, HISTORY_HEADS_AHEAD)) {
    let stopped: Nowhere | null = null;
    for await (const met of ahead(reading, state, epoch, { index: mark.index, through: mark.index + window - 1, window })) {
      const next = await accepted(reading, met, mark);
      if (!('head' in next)) {
        stopped = next;
        break;
      }
      mark = next.mark;
      held.push(next);
    }
    const behind = stopped === null ? null : await toldBehind(reading, epoch, mark.index);
    acknowledged = Math.max(acknowledged, mark.acknowledged, behind?.acknowledged ?? 0);
    if (behind?.wasThere === true && known !== mark.index) {
      known = mark.index;
      continue;
    }
    if (epoch.mode === 'local') now = await reading.journal.log.sync();
    const closedAt = now.epochs.get(epoch.epoch)?.end ?? null;
    yield* shown(held, acknowledged, closedAt);
    if (stopped === null && closedAt === null) continue;
    const { silent = [] } = stopped ?? {};
    if (stopped !== null && behind?.wasThere === true && closedAt === null) throw nowhere(stopped, mark, mark.next - 1);
    return { mark: lastShown(held, mark), silent, state: now };
  }
}

/** Takes from `held` what may be shown: acknowledged, and not past the end that the epoch has meanwhile. */
function* shown(held: ReadHead[], acknowledged: number, end: Epoch['end']): Generator<ReadHead> {
  for (let first = held[0]; first !== undefined; first = held[0]) {
    const { head } = first;
    if (end !== null && head.index > end.index) return;
    // Batches are acknowledged whole.
    if (end === null && lastOf(head) > acknowledged) return;
    held.shift();
    yield first;
  }
}

/** The mark before the first head that was not shown. */
function lastShown(held: readonly ReadHead[], mark: ChainMark): ChainMark {
  const [first] = held;
  if (first === undefined) return mark;
  const { epoch, index, first: next, before } = first.head;
  return { epoch, index, next, digest: before, acknowledged: 0, labelUs: 0 };
}

interface Ahead {
  readonly index: number;
  readonly through: number;
  readonly window: number;
}

/** What was met of one batch: its first copy, and how to ask for the next. */
interface Met {
  readonly first: IteratorResult<Found<BatchHead>, Nowhere>;
  readonly copies: AsyncGenerator<Found<BatchHead>, Nowhere>;
}

/** First copies of heads, in order, `window` of them asked for at a time. */
async function* ahead(reading: Reading, state: JournalState, epoch: Epoch, { index, through, window }: Ahead): AsyncGenerator<Met> {
  const asked: Promise<Met>[] = [];
  let rows = 1;
  const ask = async (at: number): Promise<Met> => {
    const copies = headsOf(reading, state, epoch, at);
    return { first: await copies.next(), copies };
  };
  for (let next = index; next <= through || asked.length > 0;) {
    for (const most = Math.min(window, HISTORY_ROWS_AHEAD / rows); next <= through && asked.length < Math.max(1, most); next++) {
      const one = ask(next);
      // Of those behind one that fails nobody asks any more.
      one.catch(() => undefined);
      asked.push(one);
    }
    const met = await asked.shift();
    if (met === undefined) return;
    // Batches of one time are of one size, more or less.
    rows = met.first.done === true ? rows : Math.max(1, met.first.value.what.count);
    yield met;
  }
}

/** The first copy that follows the mark, or what was met instead. */
async function accepted(reading: Reading, { first, copies }: Met, mark: ChainMark): Promise<ReadHead | Nowhere> {
  let refused: HoldfastError | null = null;
  for (let one = first; ; one = await copies.next()) {
    if (one.done === true) return { ...one.value, refused: one.value.refused ?? refused };
    const { what: head, region, object } = one.value;
    try {
      return { head, region, mark: follow(mark, head) };
    } catch (error) {
      if (!isDamage(error)) throw error;
      reading.onDamage({ region, object, code: error.code, message: error.message });
      refused = error;
    }
  }
}

/**
 * Drives the reducer over some subtrees: what is due becomes frames, frames become exchanges, answers go back to the reducer.
 *
 *     says(short) ──pages are read──▶ outbox ──▶ exchange ──answers──▶ hear
 *     says(data) ──values are read──▶   │
 *
 * At most two subtrees are under way, so that the next one's pages are answered while the last one's data flows. What is
 * due and is being made ready, or is on its way, is `held` until its exchange has ended; then the reducer says whether it
 * still is due. So nothing is remembered of a message beside the reducer, and a part of an exchange that was not heard is
 * made anew. Memory: the outbox, the window of exchanges, and the slots of what is being read.
 *
 * However it ends, nothing of it is running when the call returns.
 */
import pLimit from 'p-limit';
import { HoldfastError } from '../../../domain/errors.ts';
import { SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import {
  PAGE_NAMES,
  type DataFrame,
  type MissingFrame,
  type RefusedFrame,
  type SessionFrame,
  type SessionMessageFrame,
} from '../frames.ts';
import type { Message, Reference, References } from '../messages.ts';
import { beginSubtree, dataDue, hear, says, sendAhead, unreadable, type Sender } from '../sender.ts';
import { ZEROS } from '../wire/content-reader.ts';
import { hearCommitted, hearRefused } from './answers.ts';
import type { Against, DueValue, ReadValue } from './content.ts';
import { frameBytes } from './frame-bytes.ts';
import { sayExchange, type ExchangeDeps } from './exchange.ts';
import { createOutbox, type Outbox, type ShortFrame } from './outbox.ts';
import type { Paired } from './pairing.ts';
import { createPatience, type Pace, type Patience } from './patience.ts';
import type { OpenedSession, SessionParts } from './session-parts.ts';
import { createWindow, type Window } from './window.ts';

const SUBTREES_AT_ONCE = 2;
/** Exchanges of data under way at the least: one is heard while the next one comes. */
const EXCHANGES_LEAST = 2;
/** Exchanges of short messages under way: pages and an inquiry of two subtrees. */
const SHORT_AT_ONCE = 4;
/** Leaves read at once. */
const PAGES_AT_ONCE = 8;
/** Values looked up and read together: at 256 KiB 1 GiB, in which packs are found whole. */
const READ_AT_ONCE = 4096;
/** Rows of a NAME_GONE: 14 KiB. */
const GONE_NAMES_MAX = 400;
/** Values in a row that were not what they were when they left. */
const FALSE_MAX = 8;
/** COMMITs that were withheld: each follows a restart of the receiver, or values that were reclaimed. */
const WITHHELD_MAX = 16;
/** Answers in a row that list nothing, nothing being under way, and do not close their subtree. */
const EMPTY_MAX = 16;

export interface ShipPlan {
  readonly opened: OpenedSession;
  readonly against: Against;
  readonly subtrees: readonly number[];
  /** Nothing of them is known at the receiver, so all pages are given at once. */
  readonly fresh: boolean;
  readonly afterRound: number;
  /** To the end: COMMIT when all is closed. Else a subtree is left when something is listed that this call has sent. */
  readonly toTheEnd: boolean;
}

/** A subtree that a round has left open. */
export interface OpenSubtree {
  readonly subtree: number;
  readonly outstanding: number;
  readonly names: readonly Reference[];
}

export interface ShipDeps extends ExchangeDeps {
  readonly parts: SessionParts;
  readonly pace: Pace;
}

interface Shipping extends ShipDeps {
  readonly plan: ShipPlan;
  readonly sender: Sender;
  readonly first: SessionFrame;
  readonly outbox: Outbox;
  readonly window: Window;
  /** For what the receiver refuses for reasons that pass. */
  readonly refusals: Patience;
  /** Keys of messages that are being made ready or are on their way; of data that was read, with its extent. */
  readonly held: Map<string, number | null>;
  /** By subtree, a bit for each extent whose value was sent. */
  readonly sent: Map<number, Uint8Array>;
  /** Pages that the receiver has noted. */
  readonly noted: Set<string>;
  readonly left: OpenSubtree[];
  readonly running: Set<Promise<void>>;
  readonly stop: AbortController;
  readonly signal: AbortSignal;
  /** Tells the loop that something has changed. */
  wake: () => void;
  begun: number;
  isBeginning: boolean;
  isReading: boolean;
  shortUnderWay: number;
  dataUnderWay: number;
  refusedInARow: number;
  falseInARow: number;
  emptyInARow: number;
  withheld: number;
}

/** Ships until the sender has ended, or all subtrees are closed or left. `sender` is open and has none of them yet. */
export async function shipSubtrees(deps: ShipDeps, sender: Sender, plan: ShipPlan): Promise<readonly OpenSubtree[]> {
  const shipping = newShipping(deps, sender, plan);
  const { signal, stop, outbox, running } = shipping;
  const onAbort = (): void => shipping.wake();
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      const changed = new Promise<void>((resolve) => (shipping.wake = resolve));
      signal.throwIfAborted();
      if (isOver(shipping)) return shipping.left;
      beginNext(shipping);
      makeShortReady(shipping);
      makeDataReady(shipping);
      sayWhatIsReady(shipping);
      await changed;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    outbox.close();
    stop.abort(new HoldfastError('JOB_CANCELLED', 'the call has ended'));
    await Promise.all(running);
  }
}

function newShipping(deps: ShipDeps, sender: Sender, plan: ShipPlan): Shipping {
  const { parts, pace } = deps;
  const { epoch, exchangeBytes, exchanges } = plan.opened;
  const stop = new AbortController();
  const first: SessionFrame = { kind: 'SESSION', epoch, snapshot: parts.snapshot, lineage: parts.lineage };
  return {
    ...deps,
    plan,
    sender,
    first,
    outbox: createOutbox(exchangeBytes - frameBytes(first)),
    window: createWindow({ exchangeBytes, least: EXCHANGES_LEAST, most: exchanges }, pace.nowMs),
    refusals: createPatience(patienceMsOf(parts), pace),
    held: new Map(),
    sent: new Map(),
    noted: new Set(),
    left: [],
    running: new Set(),
    stop,
    signal: parts.signal === undefined ? stop.signal : AbortSignal.any([parts.signal, stop.signal]),
    wake: () => undefined,
    ...{
      begun: 0,
      isBeginning: false,
      isReading: false,
      shortUnderWay: 0,
      dataUnderWay: 0,
      refusedInARow: 0,
      falseInARow: 0,
      emptyInARow: 0,
      withheld: 0,
    },
  };
}

/** A quarter of an hour: a receiver that is started anew, a link that is away. */
const PATIENCE_MS_DEFAULT = 900_000;
export const patienceMsOf = ({ patienceMs = PATIENCE_MS_DEFAULT }: SessionParts): number => patienceMs;

/** Runs beside the loop; what fails ends the call. */
function run(shipping: Shipping, work: () => Promise<void>): void {
  const running = work()
    .catch((error: unknown) => shipping.stop.abort(error))
    .finally(() => {
      shipping.running.delete(running);
      shipping.wake();
    });
  shipping.running.add(running);
}

const isBegun = ({ begun, plan, isBeginning }: Shipping): boolean => begun >= plan.subtrees.length && !isBeginning;

function isOver(shipping: Shipping): boolean {
  const { sender, plan, running } = shipping;
  if (sender.end !== null) return true;
  if (plan.toTheEnd || sender.giving !== null || !isBegun(shipping) || running.size > 0) return false;
  return [...sender.subtrees.values()].every(({ closed }) => closed);
}

/** Takes up the next subtree before the last one ends. */
function beginNext(shipping: Shipping): void {
  const { sender, plan, parts } = shipping;
  const subtree = plan.subtrees[shipping.begun];
  if (subtree === undefined || shipping.isBeginning || sender.giving !== null) return;
  let open = 0;
  for (const { closed } of sender.subtrees.values()) if (!closed) open++;
  if (open >= SUBTREES_AT_ONCE) return;
  shipping.isBeginning = true;
  run(shipping, async () => {
    const pages = await parts.content.pages(subtree, plan.against);
    beginSubtree(sender, subtree, { pages, fresh: plan.fresh, afterRound: plan.afterRound });
    shipping.begun++;
    shipping.isBeginning = false;
  });
}

// -- making ready ---------------------------------------------------------------------------------------------------

function keyOf(message: Message | SessionMessageFrame): string {
  switch (message.kind) {
    case 'REFERENCES':
      return `page ${message.subtree} ${message.page}`;
    case 'DATA':
      return message.name;
    case 'PUSH_INQUIRY':
      return `inquiry ${message.subtree}`;
    case 'OPEN':
    case 'COMMIT':
    case 'NAME_GONE':
    case 'ABORT':
      return message.kind;
  }
}

function makeShortReady(shipping: Shipping): void {
  const { sender, held, outbox } = shipping;
  const pages: References[] = [];
  for (const message of says(sender, 'short')) {
    const key = keyOf(message);
    if (held.has(key) || (message.kind === 'COMMIT' && !(shipping.plan.toTheEnd && isBegun(shipping)))) continue;
    held.set(key, null);
    if (message.kind === 'REFERENCES') pages.push(message);
    else outbox.addShort(shortFrame(shipping, message));
  }
  if (pages.length > 0) run(shipping, () => readPages(shipping, pages));
}

function shortFrame({ sender, parts }: Shipping, message: Message): ShortFrame {
  switch (message.kind) {
    case 'PUSH_INQUIRY':
      return { kind: 'PUSH_INQUIRY', underWay: message.underWay, subtree: message.subtree, round: message.round, pages: message.pages };
    case 'COMMIT':
      return { kind: 'COMMIT', root: parts.content.root };
    case 'NAME_GONE': {
      const gone = new Set(message.names);
      const names = [...sender.subtrees].flatMap(([subtree, { push }]) =>
        [...push].flatMap(([name, { at }]) => (gone.has(name) ? [{ subtree, at, name }] : [])),
      );
      return { kind: 'NAME_GONE', names: names.slice(0, GONE_NAMES_MAX) };
    }
    case 'ABORT':
      return { kind: 'ABORT', reason: sender.giving?.code ?? '' };
    case 'OPEN':
    case 'REFERENCES':
    case 'DATA':
      throw new HoldfastError('INTERNAL', `${message.kind} is no short message of a session`);
  }
}

/** Reads pages and puts them out in their order, all of them before the loop looks again: they go in few exchanges. */
async function readPages(shipping: Shipping, pages: readonly References[]): Promise<void> {
  const { parts, plan, sender, outbox, noted, signal } = shipping;
  const limit = pLimit(PAGES_AT_ONCE);
  const reads = pages.map((message) =>
    limit(async () => {
      signal.throwIfAborted();
      // A page that was noted and is asked for again is asked for because the base's is lost.
      return parts.content.rows(message.subtree, message.page, plan.against, !noted.has(keyOf(message)));
    }),
  );
  try {
    for (const [i, { subtree, page, turn }] of pages.entries()) {
      const { whole, rows } = (await reads[i]) ?? { whole: true, rows: [] };
      const names = rows.map(({ name }) => name).filter((name) => name !== ZEROS);
      if (plan.fresh && plan.opened.countsNothing && !noted.has(`page ${subtree} ${page}`)) sendAhead(sender, subtree, page, names);
      outbox.addShort({ kind: 'REFERENCES', whole, turn, subtree, page, rows });
    }
  } finally {
    await Promise.allSettled(reads);
  }
}

/** Reads what is due of data, a good deal at once: one more read is not begun before that has been sent. */
function makeDataReady(shipping: Shipping): void {
  const { sender, held, outbox, parts, signal } = shipping;
  if (shipping.isReading) return;
  const due: DueValue[] = [];
  for (const message of says(sender, 'data')) {
    if (message.kind !== 'DATA' || held.has(message.name)) continue;
    const place = placeOf(sender, message.name);
    if (place === null) continue;
    due.push(place);
    held.set(message.name, null);
    if (due.length === READ_AT_ONCE) break;
  }
  if (due.length === 0) return;
  shipping.isReading = true;
  run(shipping, async () => {
    const gone = await parts.content.read(
      due,
      async (values) => {
        for (const { name, extent } of values) held.set(name, extent);
        const added = outbox.addData(values);
        shipping.wake();
        await added;
      },
      signal,
    );
    for (const name of gone) held.delete(name);
    unreadable(sender, gone);
    shipping.isReading = false;
  });
}

function placeOf({ subtrees }: Sender, name: string): DueValue | null {
  for (const [subtree, { push, ahead }] of subtrees) {
    const at = push.get(name)?.at;
    if (at !== undefined) return { name, subtree, page: Math.floor(at / PAGE_NAMES), at };
    const page = ahead.get(name);
    if (page !== undefined) return { name, subtree, page, at: null };
  }
  return null;
}

// -- exchanges ------------------------------------------------------------------------------------------------------

function sayWhatIsReady(shipping: Shipping): void {
  const { outbox, window, plan } = shipping;
  const hasRoom = (): boolean => shipping.shortUnderWay + shipping.dataUnderWay < plan.opened.exchanges;
  while (outbox.hasShort && shipping.shortUnderWay < SHORT_AT_ONCE && hasRoom()) say(shipping, 'short', outbox.takeShort());
  const isReady = (): boolean =>
    outbox.dataBytes >= outbox.exchangeBytes || (outbox.dataBytes > 0 && (!shipping.isReading || shipping.dataUnderWay === 0));
  while (isReady() && shipping.dataUnderWay < window.size() && hasRoom()) {
    const frames = outbox.takeData((value) => dataFrame(shipping, value));
    if (frames.length > 0) say(shipping, 'data', frames);
  }
}

function dataFrame({ sender, held }: Shipping, { name, codec, body }: ReadValue): DataFrame | null {
  const due = dataDue(sender, name);
  if (due === null) held.delete(name);
  return due && { kind: 'DATA', asked: due.asked, turn: due.turn, name, codec, body };
}

function say(shipping: Shipping, kind: 'short' | 'data', frames: readonly SessionMessageFrame[]): void {
  const { window, first, signal, held, parts, tally } = shipping;
  const count = kind === 'short' ? 'shortUnderWay' : 'dataUnderWay';
  shipping[count]++;
  run(shipping, async () => {
    const flight = window.began();
    const said = await sayExchange(shipping, first, frames, signal);
    if (kind === 'data' && said.repeats === 0) window.answered(flight, said.bytes);
    await hearAnswers(shipping, said.pairs);
    for (const frame of frames) held.delete(keyOf(frame));
    shipping[count]--;
    parts.onProgress?.({ ...tally });
  });
}

// -- answers --------------------------------------------------------------------------------------------------------

async function hearAnswers(shipping: Shipping, pairs: readonly Paired[]): Promise<void> {
  const { tally } = shipping;
  for (const answer of new Set(pairs.map((pair) => pair.answer))) if (answer.kind === 'KEPT') tally.dropped += answer.dropped;
  for (const pair of pairs) {
    if (pair.answer.kind === 'REFUSED') return waitRefused(shipping, pair.answer);
    shipping.refusals.answered();
    shipping.refusedInARow = 0;
    hearPair(shipping, pair);
  }
}

function hearPair(shipping: Shipping, { said, answer }: Paired): void {
  const { sender, parts } = shipping;
  switch (answer.kind) {
    case 'NOTED':
      if (said?.kind === 'REFERENCES') noteGiven(shipping, keyOf(said), said.rows.filter(({ name }) => name !== ZEROS).length);
      return hear(sender, answer);
    case 'KEPT':
      if (said?.kind !== 'DATA') return;
      shipping.falseInARow = 0;
      noteSent(shipping, said.name);
      return hear(sender, { kind: 'KEPT', name: said.name, turn: answer.turn, accepted: true });
    case 'MISSING':
      return hearMissing(shipping, answer);
    case 'COMMITTED':
      return hearCommitted(sender, answer, parts);
    case 'WITHHELD':
      if (++shipping.withheld > WITHHELD_MAX)
        throw new HoldfastError('MISSING_EXTENTS', `the receiver has withheld the snapshot ${WITHHELD_MAX} times`, {
          subtrees: answer.subtrees.length,
        });
      return hear(sender, answer);
    case 'ENDED':
      return hear(sender, answer);
    case 'OPENED':
    case 'TAKEN':
    case 'REFUSED':
      throw new HoldfastError('INTERNAL', `${answer.kind} is no answer of an open session`);
  }
}

function noteGiven({ tally, noted, parts }: Shipping, key: string, names: number): void {
  tally.referenced += names;
  if (!noted.has(key)) tally.logicalBytes += names * parts.content.extentBytes;
  noted.add(key);
}

function noteSent({ tally, held, sent, parts }: Shipping, name: string): void {
  tally.sent++;
  const extent = held.get(name);
  if (typeof extent !== 'number') return;
  const subtree = Math.floor(extent / SUBTREE_EXTENTS);
  const bits = sent.get(subtree) ?? new Uint8Array(SUBTREE_EXTENTS / 8);
  sent.set(subtree, bits);
  if (!isSent(bits, extent)) tally.uniqueBytes += parts.content.extentBytes;
  const at = extent % SUBTREE_EXTENTS;
  bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
}

const isSent = (bits: Uint8Array | undefined, extent: number): boolean => {
  const at = extent % SUBTREE_EXTENTS;
  return ((bits?.[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
};

function hearMissing(shipping: Shipping, answer: MissingFrame): void {
  const { sender, sent, noted, tally, plan, left } = shipping;
  const { subtree, outstanding, names, pages } = answer;
  const wasUnderWay = sender.subtrees.get(subtree)?.inquiry?.underWay === true;
  const again = names.filter(({ at }) => isSent(sent.get(subtree), at)).length;
  tally.rounds++;
  tally.askedAgain += again;
  hear(sender, answer);
  const isEmpty = names.length + pages.length === 0;
  shipping.emptyInARow = isEmpty && outstanding > 0 && !wasUnderWay ? shipping.emptyInARow + 1 : 0;
  if (shipping.emptyInARow > EMPTY_MAX)
    throw new HoldfastError('MISSING_EXTENTS', `the receiver lacks ${outstanding} values and does not say which`, { subtree, outstanding });
  if (plan.toTheEnd || wasUnderWay || outstanding === 0) return;
  const isNew = again === 0 && !pages.some((page) => noted.has(`page ${subtree} ${page}`));
  if (isNew && !isEmpty) return;
  // What this call has sent has not arrived, or has not stayed: the next round's business.
  left.push({ subtree, outstanding, names });
  sender.subtrees.delete(subtree);
}

async function waitRefused(shipping: Shipping, refused: RefusedFrame): Promise<void> {
  const { sender, refusals, signal } = shipping;
  const error = hearRefused(sender, refused);
  if (error === null) return;
  if (error.code === 'NAME_FALSE' && ++shipping.falseInARow >= FALSE_MAX) throw error;
  await refusals.again(error, shipping.refusedInARow++, signal);
}

/**
 * The sender's side of a session: what it has to say now, and what an answer changes.
 *
 * `says` lists every message that is due; the driver keeps as many under way as its window allows and says again what was
 * not answered. Nothing else is remembered of a message, so losing one, or its answer, changes nothing. State is changed in
 * place (`cloneSender`). It is small: the pages of a subtree are given by number, their rows are read when they are sent.
 *
 *     opening ──OPENED──▶ shipping ──all closed──▶ committing ──COMMITTED──▶ ended
 *                            ◀──────WITHHELD──────────┘
 *
 * A subtree goes: pages, data ahead of any question, inquiry; what the answer lists, inquiry; ... until an answer lists
 * nothing. It ends without success only for a reason that it names: another sender, a name that cannot be read any more,
 * or STALLED_ROUNDS_MAX rounds in a row that listed again all that the round before had listed.
 */
import type { Answer, Data, Inquiry, Message, Missing, Name, Reference } from './messages.ts';

/** Rounds with nothing under way that brought nothing. The second may be the store of the receiver having a bad minute. */
export const STALLED_ROUNDS_MAX = 2;

export type SenderEnd =
  | { readonly kind: 'committed' }
  | {
      readonly kind: 'failed';
      readonly code: 'CLAIM_LOST' | 'NAME_GONE' | 'MISSING_EXTENTS' | 'ROOT_DIFFERS';
      readonly names: readonly Name[];
    };

export interface Asked {
  /** The position to read from. */
  readonly at: number;
  /** A receipt of an older turn is of an earlier push. */
  readonly turn: number;
}

export interface SenderSubtree {
  /** What differs from the base, and pages that were asked for beside that. */
  readonly pages: Set<number>;
  /** Pages that have to be given, with the turn in which they were asked for. */
  readonly give: Map<number, number>;
  /** Data to send ahead of any question, by the page that names it. */
  readonly ahead: Map<Name, number>;
  /** Names that were asked for and not answered yet, in the order of the lists. */
  readonly push: Map<Name, Asked>;
  /** Names that were asked for here, too, while another subtree's push of them was under way: one push fills every placeholder. */
  readonly awaits: Set<Name>;
  /** The newest inquiry; null: none is open. `kept`: what was heard to be kept meanwhile, so that its list may be older than that. */
  inquiry: { readonly underWay: boolean; readonly kept: Set<Name> } | null;
  round: number;
  /** What the last round with nothing under way listed, and those that went ahead since. */
  readonly listed: Set<string>;
  stalled: number;
  closed: boolean;
}

export interface Sender {
  readonly owner: string;
  readonly attempt: number;
  /** Whether another owner's open claim is taken over. */
  readonly takesOver: boolean;
  seen: number;
  /** 0: not opened yet. */
  epoch: number;
  /** Lists heard. */
  turn: number;
  readonly subtrees: Map<number, SenderSubtree>;
  /** Why it is giving up, before the receiver was told. */
  giving: Extract<SenderEnd, { readonly kind: 'failed' }> | null;
  end: SenderEnd | null;
}

export interface SenderPlan {
  readonly owner: string;
  readonly attempt: number;
  readonly takesOver: boolean;
  /** For every subtree of the volume, the pages that differ from the base. */
  readonly pages: ReadonlyMap<number, readonly number[]>;
}

export const newSender = ({ pages, ...by }: SenderPlan): Sender => ({
  ...by,
  seen: 0,
  epoch: 0,
  turn: 0,
  subtrees: new Map([...pages].map(([subtree, own]) => [subtree, newSubtree(own, 0)])),
  giving: null,
  end: null,
});

const newSubtree = (pages: readonly number[], round: number): SenderSubtree => ({
  pages: new Set(pages),
  give: new Map(),
  ahead: new Map(),
  push: new Map(),
  awaits: new Set(),
  inquiry: null,
  round,
  listed: new Set(),
  stalled: 0,
  closed: false,
});

/** A subtree of an open session that is begun later than the others, or by another call of the same attempt. */
export interface SubtreePlan {
  /** Those that differ from the base. */
  readonly pages: readonly number[];
  /** As OPENED says it; false: what the receiver has is not known, and it is asked first. */
  readonly fresh: boolean;
  /** Rounds of an earlier call with this epoch are at most so high. */
  readonly afterRound: number;
}

/** Takes up a subtree once the session is open: a driver has few of them under way at once. */
export function beginSubtree(sender: Sender, subtree: number, { pages, fresh, afterRound }: SubtreePlan): void {
  const own = newSubtree(pages, afterRound);
  sender.subtrees.set(subtree, own);
  startSubtree(sender, own, fresh);
}

export const cloneSender = (sender: Sender): Sender => ({
  ...sender,
  subtrees: new Map(
    [...sender.subtrees].map(([subtree, own]) => [
      subtree,
      {
        ...own,
        pages: new Set(own.pages),
        give: new Map(own.give),
        ahead: new Map(own.ahead),
        push: new Map(own.push),
        awaits: new Set(own.awaits),
        inquiry: own.inquiry && { ...own.inquiry, kept: new Set(own.inquiry.kept) },
        listed: new Set(own.listed),
      },
    ]),
  ),
});

// -- what is due ----------------------------------------------------------------------------------------------------

/** Which messages are looked for: data is listed by the ten thousand, and most times it is not what is looked for. */
export type SayKinds = 'all' | 'short' | 'data';

/** Every message that is due, in the order in which it is best said; a driver takes as many as its window has room for. */
export function* says(sender: Sender, kinds: SayKinds = 'all'): Generator<Message, void> {
  if (sender.end !== null) return;
  if (sender.epoch === 0 || sender.giving !== null) {
    if (kinds !== 'data') yield openingOrGivingUp(sender);
    return;
  }
  let isOpen = false;
  for (const [subtree, own] of sender.subtrees) {
    if (own.closed) continue;
    isOpen = true;
    yield* saysOf(sender, subtree, own, kinds);
  }
  if (!isOpen && kinds !== 'data') yield { kind: 'COMMIT', epoch: sender.epoch };
}

function openingOrGivingUp({ epoch, owner, attempt, seen, giving }: Sender): Message {
  if (epoch === 0) return { kind: 'OPEN', owner, attempt, seen };
  return giving?.code === 'NAME_GONE' ? { kind: 'NAME_GONE', epoch, names: giving.names } : { kind: 'ABORT', epoch };
}

function* saysOf({ epoch, turn }: Sender, subtree: number, own: SenderSubtree, kinds: SayKinds): Generator<Message, void> {
  if (kinds !== 'data') for (const page of own.give.keys()) yield { kind: 'REFERENCES', epoch, subtree, page, turn };
  if (kinds !== 'short') {
    for (const [name, page] of own.ahead) if (!own.give.has(page)) yield { kind: 'DATA', epoch, asked: false, name, turn };
    for (const name of own.push.keys()) yield { kind: 'DATA', epoch, asked: true, name, turn };
  }
  if (kinds !== 'data' && own.inquiry !== null) yield inquiryOf(epoch, subtree, own, own.inquiry.underWay);
}

/** The message that says this name's data now; null: it is not due (any more). */
export function dataDue({ epoch, turn, end, giving, subtrees }: Sender, name: Name): Data | null {
  if (end !== null || giving !== null) return null;
  let isAhead = false;
  for (const { push, ahead, give } of subtrees.values()) {
    if (push.has(name)) return { kind: 'DATA', epoch, asked: true, name, turn };
    const page = ahead.get(name);
    isAhead ||= page !== undefined && !give.has(page);
  }
  return isAhead ? { kind: 'DATA', epoch, asked: false, name, turn } : null;
}

const inquiryOf = (epoch: number, subtree: number, own: SenderSubtree, underWay: boolean): Inquiry => ({
  kind: 'PUSH_INQUIRY',
  epoch,
  subtree,
  round: own.round,
  underWay,
  pages: [...own.pages].sort((a, b) => a - b),
});

/** When nothing is due in a subtree that is not closed, it inquires. */
function inquireIfIdle(own: SenderSubtree): void {
  if (own.closed || own.inquiry !== null || own.give.size + own.ahead.size + own.push.size + own.awaits.size > 0) return;
  inquire(own, false);
}

function inquire(own: SenderSubtree, underWay: boolean): void {
  own.round++;
  own.inquiry = { underWay, kept: new Set() };
}

/** A push of these has come to an end, whichever: whoever has waited for it asks. */
function awaitNoMore(sender: Sender, names: Iterable<Name>): void {
  for (const own of sender.subtrees.values()) {
    for (const name of names) own.awaits.delete(name);
    if (sender.epoch !== 0) inquireIfIdle(own);
  }
}

// -- the driver's events --------------------------------------------------------------------------------------------

/**
 * Sends the data of a page without being asked, for the receiver has said that it holds nothing. Before the page is given.
 */
export function sendAhead(sender: Sender, subtree: number, page: number, names: readonly Name[]): void {
  const own = sender.subtrees.get(subtree);
  if (own?.give.has(page)) for (const name of names) if (!own.push.has(name) && !own.ahead.has(name)) own.ahead.set(name, page);
}

/** Values that cannot be read, or are not what their names say. Those that were asked for end the session. */
export function unreadable(sender: Sender, names: readonly Name[]): void {
  const gone = new Set<Name>();
  for (const own of sender.subtrees.values()) {
    for (const name of names) {
      own.ahead.delete(name);
      if (own.push.has(name)) gone.add(name);
    }
  }
  awaitNoMore(sender, names);
  if (gone.size > 0 && sender.end === null) sender.giving ??= { kind: 'failed', code: 'NAME_GONE', names: [...gone] };
}

// -- answers --------------------------------------------------------------------------------------------------------

export function hear(sender: Sender, answer: Answer): void {
  if (sender.end !== null) return;
  switch (answer.kind) {
    case 'OPENED':
      return hearOpened(sender, answer.epoch, answer.fresh);
    case 'TAKEN':
      if (sender.epoch !== 0) return;
      if (!sender.takesOver) sender.end = { kind: 'failed', code: 'CLAIM_LOST', names: [] };
      sender.seen = Math.max(sender.seen, answer.epoch);
      return;
    case 'NOTED':
    case 'KEPT':
      return hearReceipt(sender, answer);
    case 'MISSING':
      return hearMissing(sender, answer);
    case 'COMMITTED':
      sender.end = { kind: 'committed' };
      return;
    case 'WITHHELD':
      for (const subtree of answer.subtrees) reopenSubtree(sender, subtree);
      return;
    case 'ENDED':
      sender.end = sender.giving;
      return;
    case 'REFUSED':
      // A late copy of an older round, or data that was damaged on its way and is due again: nothing to do.
      if (answer.code === 'CLAIM_LOST') sender.end = sender.giving ?? { kind: 'failed', code: 'CLAIM_LOST', names: [] };
      if (answer.code === 'ROOT_DIFFERS') sender.giving ??= { kind: 'failed', code: 'ROOT_DIFFERS', names: [] };
      return;
  }
}

function hearOpened(sender: Sender, epoch: number, fresh: boolean): void {
  if (sender.epoch !== 0) return;
  sender.epoch = epoch;
  for (const own of sender.subtrees.values()) startSubtree(sender, own, fresh);
}

function startSubtree({ turn }: Sender, own: SenderSubtree, fresh: boolean): void {
  if (fresh) for (const page of own.pages) own.give.set(page, turn);
  inquireIfIdle(own);
}

function hearReceipt(sender: Sender, answer: Extract<Answer, { readonly kind: 'NOTED' | 'KEPT' }>): void {
  for (const [subtree, own] of sender.subtrees) {
    if (answer.kind === 'KEPT') {
      own.ahead.delete(answer.name);
      own.awaits.delete(answer.name);
      own.inquiry?.kept.add(answer.name);
      if ((own.push.get(answer.name)?.turn ?? Infinity) <= answer.turn) own.push.delete(answer.name);
    } else if (answer.subtree === subtree && (own.give.get(answer.page) ?? Infinity) <= answer.turn) own.give.delete(answer.page);
    if (sender.epoch !== 0) inquireIfIdle(own);
  }
}

function hearMissing(sender: Sender, answer: Missing): void {
  const own = sender.subtrees.get(answer.subtree);
  if (own === undefined || own.inquiry === null || own.closed || answer.round !== own.round) return;
  const { underWay, kept } = own.inquiry;
  own.inquiry = null;
  sender.turn++;
  if (answer.outstanding === 0) return closeSubtree(sender, own);
  const { pages, outstanding } = answer;
  const [names, awaited] = [[] as Reference[], [] as Name[]];
  for (const reference of answer.names) {
    if (isBroughtBy(sender, own, reference.name)) awaited.push(reference.name);
    else if (!kept.has(reference.name)) names.push(reference);
  }
  noteProgress(sender, own, { pages, names }, underWay);
  for (const page of pages) {
    own.pages.add(page);
    own.give.set(page, sender.turn);
  }
  for (const { at, name } of names) own.push.set(name, { at, turn: sender.turn });
  for (const name of awaited) own.awaits.add(name);
  // The list was capped: what follows is asked for while this is on its way.
  if (answer.names.length > 0 && outstanding > own.push.size + own.give.size + own.awaits.size) inquire(own, true);
  inquireIfIdle(own);
}

/** Whether another subtree's push of it is under way. */
function isBroughtBy(sender: Sender, own: SenderSubtree, name: Name): boolean {
  for (const other of sender.subtrees.values())
    if (other !== own && !other.closed && (other.push.has(name) || other.ahead.has(name))) return true;
  return false;
}

/** A round with nothing under way that lists all again that was listed before has brought nothing. */
function noteProgress(sender: Sender, own: SenderSubtree, { pages, names }: Pick<Missing, 'pages' | 'names'>, underWay: boolean): void {
  const items = [...pages.map((page) => `page ${page}`), ...names.map(({ name }) => name)];
  if (!underWay) {
    const now = new Set(items);
    const isStalled = own.listed.size > 0 && [...own.listed].every((item) => now.has(item));
    own.stalled = isStalled ? own.stalled + 1 : 0;
    own.listed.clear();
  }
  for (const item of items) own.listed.add(item);
  if (own.stalled >= STALLED_ROUNDS_MAX) sender.giving ??= { kind: 'failed', code: 'MISSING_EXTENTS', names: names.map(nameOf) };
}

const nameOf = ({ name }: Reference): Name => name;

function closeSubtree(sender: Sender, own: SenderSubtree): void {
  own.closed = true;
  own.stalled = 0;
  own.listed.clear();
  // What it has still to say is not said any more.
  awaitNoMore(sender, [...own.push.keys(), ...own.ahead.keys()]);
}

function reopenSubtree(sender: Sender, subtree: number): void {
  const own = sender.subtrees.get(subtree);
  if (own === undefined) return;
  own.closed = false;
  inquireIfIdle(own);
}

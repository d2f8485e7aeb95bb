/**
 * A session, as one call or as a workflow's activities. Both are the same few steps:
 *
 *     openSession     OPEN, until it is opened; its result is what the others go by
 *     runRound        some subtrees: names, values that are lacking, until each is closed or what was sent is asked for again
 *     confirmSession  COMMIT; MISSING_EXTENTS, which is retryable, while anything is outstanding
 *     abandonSession  ABORT
 *
 * `runSession` does all of it for all subtrees, to the end. Nothing survives between the calls but what OPENED has said: a
 * call that is tried again asks first what the receiver has, and any worker can make it. Whoever calls has pinned the
 * snapshot and renews the pin on progress.
 *
 * A call ends, always: committed, failed for a reason that the reducer names, or by throwing what cannot go on here. Thrown
 * errors that are retryable (the receiver is silent, the sender's store is) leave the session as it is: the next call, or
 * the next attempt, goes on from what the receiver has.
 */
import { sleep } from '../../../ground/stores/sleep.ts';
import { HoldfastError, isHoldfastError, type ErrorCode } from '../../../domain/errors.ts';
import type { AnswerFrame, OpenFrame, SessionMessageFrame } from '../frames.ts';
import type { Name } from '../messages.ts';
import { PROTOCOL_VERSION } from '../wire/bounds.ts';
import { hear, newSender, says, type Sender, type SenderEnd } from '../sender.ts';
import { hearCommitted, hearRefused } from './answers.ts';
import { sayExchange, type Said } from './exchange.ts';
import { newTally, type Figures } from './figures.ts';
import { createPatience, type Pace } from './patience.ts';
import { shipSubtrees } from './shipping.ts';
import { patienceMsOf, type OpenSubtree, type ShipDeps } from './shipping-state.ts';
import type { OpenedSession, SessionParts } from './session-parts.ts';

/** Other owners' claims in a row that a sender which takes over is told of. */
const TAKEN_MAX = 8;
/** Notes lost in one call: a receiver whose disk forgets goes on to. */
const FORGOTTEN_MAX = 3;
/** Names that an outcome says, of those that it counts. */
const NAMES_TOLD_MAX = 20;
/** Rounds of one call: a subtree has fewer, for each brings something. */
const ROUNDS_A_CALL = 2 ** 16;

const REAL_PACE: Pace = { nowMs: () => performance.now(), sleep, random: Math.random };

export type SessionOutcome =
  | { readonly kind: 'committed'; readonly root: string; readonly figures: Figures }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      /** Of the names that it failed for, the first few. */
      readonly names: readonly Name[];
      readonly nameCount: number;
      readonly figures: Figures;
    };

export type OpenResult =
  | { readonly kind: 'opened'; readonly session: OpenedSession; readonly figures: Figures }
  | { readonly kind: 'committed'; readonly root: string; readonly figures: Figures };

const depsOf = (parts: SessionParts): ShipDeps => {
  const pace = parts.pace ?? REAL_PACE;
  return { parts, pace, patience: createPatience(patienceMsOf(parts), pace), link: parts.link, tally: newTally() };
};

// -- the calls ------------------------------------------------------------------------------------------------------

/** Opens the session, or finds it open. CLAIM_LOST when somebody else has the lineage. */
export async function openSession(parts: SessionParts): Promise<OpenResult> {
  const deps = depsOf(parts);
  const opened = await open(deps);
  const figures = { ...deps.tally };
  if ('kind' in opened) {
    if (opened.kind === 'committed') return { kind: 'committed', root: parts.content.root, figures };
    throw failure(opened);
  }
  return { kind: 'opened', session: opened, figures };
}

export interface RoundPlan {
  readonly subtrees: readonly number[];
  /** Counts the calls over these subtrees, tries included, from 0: a later call is heard, and an earlier one no more. */
  readonly call: number;
}

export interface RoundResult {
  /** Pages and values that are outstanding in the subtrees that are open still; 0: all are closed. */
  readonly missing: number;
  readonly open: readonly number[];
  /** The first few of what is missing. */
  readonly names: readonly Name[];
  readonly figures: Figures;
}

/**
 * Ships subtrees until each is closed, or until the receiver asks again for what this call has sent. Two calls in a row
 * whose `missing` did not shrink are for the caller to end the session after. Throws what ends the session: CLAIM_LOST,
 * NAME_GONE with its names; ROUND_OVER when a later call is under way.
 */
export async function runRound(parts: SessionParts, session: OpenedSession, { subtrees, call }: RoundPlan): Promise<RoundResult> {
  const deps = depsOf(parts);
  // What is sent ahead, and without asking, is sent so by the first call alone: a later one asks what there is.
  const left = await whileOpen(deps, { ...session, fresh: session.fresh && call === 0 }, async (now) => {
    const sender = opened(parts, now);
    const open = await shipSubtrees(deps, sender, {
      ...{ opened: now, subtrees, fresh: now.fresh, toTheEnd: false },
      against: parts.content.against(now.base),
      afterRound: call * ROUNDS_A_CALL,
    });
    if (sender.end?.kind === 'failed') throw failure(sender.end);
    // Whatever says COMMITTED, it is the whole session that is.
    return sender.end?.kind === 'committed' ? [] : open;
  });
  return roundResult(left, { ...deps.tally });
}

const roundResult = (left: readonly OpenSubtree[], figures: Figures): RoundResult => ({
  missing: left.reduce((sum, { outstanding }) => sum + outstanding, 0),
  open: left.map(({ subtree }) => subtree),
  names: left.flatMap(({ names }) => names.map(({ name }) => name)).slice(0, NAMES_TOLD_MAX),
  figures,
});

/** Makes the snapshot visible. MISSING_EXTENTS, with the subtrees to go over again, while anything is outstanding. */
export async function confirmSession(
  parts: SessionParts,
  session: OpenedSession,
): Promise<{ readonly root: string; readonly figures: Figures }> {
  const deps = depsOf(parts);
  await whileOpen(deps, session, async (now) => {
    const sender = opened(parts, now);
    await saying(deps, sender, now.epoch, (answer) => {
      if (answer.kind !== 'WITHHELD') return;
      throw new HoldfastError('MISSING_EXTENTS', `the receiver lacks something in ${answer.subtrees.length} subtrees`, {
        subtrees: answer.subtrees,
      });
    });
    if (sender.end?.kind === 'failed') throw failure(sender.end);
  });
  return { root: parts.content.root, figures: { ...deps.tally } };
}

/** Ends the session without a snapshot; what was brought is let go by the receiver. */
export async function abandonSession(parts: SessionParts, session: OpenedSession): Promise<void> {
  const sender = opened(parts, session);
  sender.giving = { kind: 'failed', code: 'MISSING_EXTENTS', names: [] };
  await saying(depsOf(parts), sender, session.epoch, () => undefined);
}

/** The whole session in one call. */
export async function runSession(parts: SessionParts): Promise<SessionOutcome> {
  const deps = depsOf(parts);
  const session = await open(deps);
  if ('kind' in session) return outcome(session, deps);
  const end = await whileOpen(deps, session, async (now) => {
    const sender = opened(parts, now);
    await shipSubtrees(deps, sender, {
      ...{ opened: now, fresh: now.fresh, afterRound: 0, toTheEnd: true },
      subtrees: Array.from({ length: now.subtrees }, (_, subtree) => subtree),
      against: parts.content.against(now.base),
    });
    return sender.end;
  });
  return outcome(end, deps);
}

/**
 * Does some work of a session, and does it anew when the receiver has lost its notes meanwhile: opened again, by the same attempt, it
 * is the same session, of which nothing is known.
 */
async function whileOpen<T>(deps: ShipDeps, session: OpenedSession, work: (now: OpenedSession) => Promise<T>): Promise<T> {
  for (let now = session, times = 1; ; times++)
    try {
      return await work(now);
    } catch (error) {
      if (!isHoldfastError(error, 'SESSION_FORGOTTEN') || times > FORGOTTEN_MAX) throw error;
      const again = await open(deps);
      if ('kind' in again) throw again.kind === 'failed' ? failure(again) : error;
      now = { ...again, fresh: false };
    }
}

function outcome(end: SenderEnd | null, { parts, tally }: ShipDeps): SessionOutcome {
  const figures = { ...tally };
  if (end === null) throw new HoldfastError('INTERNAL', 'a session has no end');
  if (end.kind === 'committed') return { kind: 'committed', root: parts.content.root, figures };
  return { kind: 'failed', code: end.code, names: end.names.slice(0, NAMES_TOLD_MAX), nameCount: end.names.length, figures };
}

const FAILURES: Readonly<Record<Extract<SenderEnd, { kind: 'failed' }>['code'], string>> = {
  CLAIM_LOST: 'another sender has the lineage at the receiver',
  NAME_GONE: 'extents of the snapshot can no longer be read',
  MISSING_EXTENTS: 'the receiver asks again and again for what it was sent',
  ROOT_DIFFERS: 'what was named is not the snapshot that was meant',
};

const failure = ({ code, names }: Extract<SenderEnd, { kind: 'failed' }>): HoldfastError =>
  new HoldfastError(code, FAILURES[code], { count: names.length, names: names.slice(0, NAMES_TOLD_MAX) });

// -- one message at a time ------------------------------------------------------------------------------------------

/** A sender of a session that is open; it has no subtrees yet. */
function opened({ owner, attempt, takesOver }: SessionParts, { epoch, fresh }: OpenedSession): Sender {
  const sender = newSender({ owner, attempt, takesOver, pages: new Map() });
  hear(sender, { kind: 'OPENED', epoch, fresh });
  return sender;
}

async function open(deps: ShipDeps): Promise<OpenedSession | SenderEnd> {
  const { parts } = deps;
  const { owner, attempt, takesOver, content } = parts;
  const sender = newSender({ owner, attempt, takesOver, pages: new Map() });
  let session: OpenedSession | null = null;
  let taken = 0;
  await saying(deps, sender, null, (answer) => {
    if (answer.kind === 'TAKEN' && ++taken > TAKEN_MAX)
      throw new HoldfastError(
        'CLAIM_LOST',
        `the lineage is taken over by ${JSON.stringify(answer.owner)} each time that it is taken from another`,
      );
    if (answer.kind !== 'OPENED') return;
    const { epoch, fresh, countsNothing, base, exchangeBytes, exchanges } = answer;
    session = { epoch, fresh, countsNothing, base, exchangeBytes, exchanges, subtrees: content.subtrees };
  });
  const end = session ?? sender.end;
  if (end === null) throw new HoldfastError('INTERNAL', 'a session was neither opened nor refused');
  return end;
}

/** Says what the sender has to say, one message an exchange, until it has ended; without an epoch: until it is open. */
async function saying(deps: ShipDeps, sender: Sender, epoch: number | null, onAnswer: (answer: AnswerFrame) => void): Promise<void> {
  const { parts, pace, tally } = deps;
  const refusals = createPatience(patienceMsOf(parts), pace);
  const signal = parts.signal ?? new AbortController().signal;
  for (let refused = 0; sender.end === null && (epoch !== null || sender.epoch === 0);) {
    signal.throwIfAborted();
    const { pairs } = await sayNext(deps, sender, epoch, signal);
    for (const { answer } of pairs) {
      onAnswer(answer);
      const error = hearAnswer(parts, sender, answer);
      if (error === null) refusals.answered();
      else await refusals.again(error, refused++, signal);
    }
    parts.onProgress?.({ ...tally });
  }
}

/** Null: heard. An error: refused for a reason that passes. */
function hearAnswer(parts: SessionParts, sender: Sender, answer: AnswerFrame): HoldfastError | null {
  if (answer.kind === 'REFUSED') return hearRefused(sender, answer);
  if (answer.kind === 'COMMITTED') hearCommitted(sender, answer, parts);
  else if (answer.kind !== 'KEPT') hear(sender, answer);
  return null;
}

function sayNext(deps: ShipDeps, sender: Sender, epoch: number | null, signal: AbortSignal): Promise<Said> {
  const { parts } = deps;
  const { snapshot, lineage, content } = parts;
  const [message] = says(sender, 'short');
  if (epoch === null) return sayExchange(deps, openFrame(parts, sender.seen), [], signal);
  const frame: SessionMessageFrame =
    message?.kind === 'COMMIT' ? { kind: 'COMMIT', root: content.root } : { kind: 'ABORT', reason: sender.giving?.code ?? '' };
  return sayExchange(deps, { kind: 'SESSION', epoch, snapshot, lineage }, [frame], signal);
}

const openFrame = (parts: SessionParts, seen: number): OpenFrame => {
  const { content, snapshot, lineage, takenMs, consistency, label, owner, attempt, proof } = parts;
  const { sizeBytes, extentBytes, sealedBySender, bases } = content;
  return {
    ...{ kind: 'OPEN', version: PROTOCOL_VERSION, proof, sealedBySender, consistency, attempt, seen, takenMs, sizeBytes, extentBytes },
    ...{ snapshot, lineage, owner, label: label ?? '', bases },
  };
};

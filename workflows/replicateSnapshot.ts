/**
 * Brings a snapshot to a receiver that is somebody else's (system B): one session, plain. docs/replication.md section 2.
 *
 *     plan ─▶ open ─▶ rounds over each group of subtrees, until nothing of it is missing ─▶ confirm ─▶ close
 *              ▲            └──two in a row that did not shrink what is missing──▶ failed         │
 *              └──after a pause                  ▲──────── MISSING_EXTENTS: the subtrees that it names, three times
 *
 * A round is an activity that any worker takes up where the last one was; what it answers is what is still missing. Told to look
 * again while it runs (a newer snapshot was captured), it is followed by a session for the newest one.
 */
import { ApplicationFailure } from '@temporalio/common';
import {
  ActivityFailure,
  CancellationScope,
  continueAsNew,
  defineSignal,
  isCancellation,
  log,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { OpenedReplication, OpenSessionOf, ReplicationPlan, RoundOutcome } from '../activities/replication.ts';
import { ERROR_KINDS } from '../src/domain/errors.ts';
import type { ReplicateInput } from '../src/domain/job-inputs.ts';
import { LOOK_AGAIN_SIGNAL, QUEUE_DATA, type ReplicateResult } from '../src/domain/jobs.ts';
import {
  addFigures,
  afterRound,
  COMMITS_MAX,
  groupsOf,
  isStuck,
  NO_FIGURES,
  NOT_BEGUN,
  ROUND_TRIES_MAX,
  ROUNDS_MAX,
  type ReplicationFigures,
} from '../src/domain/replication.ts';
import { failureOf, openBook, runJob, type Book } from './book.ts';
import { takeOrders, type Orders } from './orders.ts';
import { bulk, confirming, rounds, short } from './queues.ts';
import { wakeDelete } from './shipping.ts';

const lookAgain = defineSignal(LOOK_AGAIN_SIGNAL);

export async function replicateSnapshot(input: ReplicateInput): Promise<ReplicateResult> {
  const { volume, receiver } = input;
  const opened = openBook({ kind: 'replicateSnapshot', title: `Replication of ${volume} to ${receiver}`, volume, store: receiver });
  const orders = takeOrders(opened);
  const news = { isThere: false };
  setHandler(lookAgain, () => {
    news.isThere = true;
  });
  const { snapshot: _, ...newest } = input;
  try {
    const result = await runJob(
      opened,
      input,
      (book) => replicate(input, book, orders),
      ({ snapshot, figures }) =>
        `${snapshot}: ${figures.referenced} extents named, ${figures.sent} sent, ${figures.wireBytes} bytes on the wire`,
    );
    if (!news.isThere) return result;
  } catch (error) {
    if (!news.isThere || isCancellation(error)) throw error;
    log.warn('a session has failed, and one for a newer snapshot follows', { code: failureOf(error).code });
  }
  return continueAsNew<typeof replicateSnapshot>(newest);
}

/** What a session that has failed for these reasons leaves is closed at the receiver; in all others it is the next one's, or is gone. */
const CLOSED_AFTER: ReadonlySet<string> = new Set(['MISSING_EXTENTS', 'ROOT_DIFFERS', 'FRAME_INVALID']);

async function replicate(input: ReplicateInput, book: Book, orders: Orders): Promise<ReplicateResult> {
  await orders.toGoOn();
  const plan = await short.planReplication(input);
  const { volume, snapshot, store, receiver } = plan;
  book.update({ phase: 'opening', snapshot, replication: NO_FIGURES });
  const course = createCourse(plan, book, orders);
  let failed: OpenSessionOf | null = null;
  try {
    const { root, base, takenMs } = await course.run();
    const figures = book.status.replication ?? NO_FIGURES;
    await short.noteReplicated(plan, takenMs, figures);
    return { volume, snapshot, store, receiver, root, base, figures };
  } catch (error) {
    if (!isCancellation(error) && CLOSED_AFTER.has(failureOf(error).code)) failed = course.session();
    throw error;
  } finally {
    await CancellationScope.nonCancellable(async () => {
      const released = await short.closeReplication(plan, failed);
      if (released !== null) await wakeDelete(store, released);
    });
  }
}

function createCourse(plan: ReplicationPlan, book: Book, orders: Orders) {
  /** Seconds rise from run to run, and tries come slower than seconds: attempts of one sender ascend. */
  let attempts = Math.floor(workflowInfo().startTime.getTime() / 1000);
  let session: OpenSessionOf | null = null;

  const note = (figures: ReplicationFigures): void => {
    const replication = addFigures(book.status.replication ?? NO_FIGURES, figures);
    book.update({ replication, readBytes: replication.uniqueBytes, sentBytes: replication.wireBytes });
  };

  /** Opens the session; again after a pause, for the receiver closes one that was silent for long. */
  const open = async (): Promise<OpenedReplication> => {
    const opened = await bulk(QUEUE_DATA).openReplication(plan, attempts);
    attempts = opened.attempt;
    note(opened.figures);
    session = opened.session === null ? null : { session: opened.session, attempt: opened.attempt };
    return opened;
  };

  /** One round; null: it was not to be had, and the next one has another number. */
  const round = async (subtrees: readonly number[], number: number): Promise<RoundOutcome | null> => {
    if (session === null) return null;
    const current = session;
    try {
      const outcome = await orders.untilPaused(() => rounds(QUEUE_DATA).replicateRound(plan, current, subtrees, number * ROUND_TRIES_MAX));
      if (outcome !== null) return outcome;
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { code, message } = failureOf(error);
      // Its tries are used up, the reason may pass.
      if (code === 'MISSING_EXTENTS' || !ERROR_KINDS[code].retryable) throw error;
      book.update({ phase: `trying again: ${message}` });
      return null;
    }
    await orders.toGoOn();
    await open();
    return null;
  };

  /** Goes over a group until nothing of it is missing. Answers how many rounds it took. */
  const shipGroup = async (group: readonly number[], from: number): Promise<number> => {
    let shrinking = NOT_BEGUN;
    let subtrees = group;
    for (let number = from; number < ROUNDS_MAX; number++) {
      await orders.toGoOn();
      const outcome = await round(subtrees, number);
      if (session === null) return number + 1 - from;
      if (outcome === null) continue;
      note(outcome.figures);
      book.update({ phase: 'replicating', doneUnits: book.status.doneUnits + subtrees.length - outcome.open.length });
      if (outcome.missing === 0) return number + 1 - from;
      shrinking = afterRound(shrinking, outcome.missing);
      if (isStuck(shrinking)) throw stuck(outcome);
      subtrees = outcome.open;
    }
    throw ApplicationFailure.nonRetryable(`no end after ${ROUNDS_MAX} rounds`, 'RECEIVER_UNREACHABLE');
  };

  /** Goes over subtrees, group by group. Answers the most rounds that one took: the next pass is numbered from there. */
  const shipAll = async (subtrees: readonly number[], from: number): Promise<number> => {
    let roundsMax = 0;
    for (const group of groupsOf(subtrees)) {
      roundsMax = Math.max(roundsMax, await shipGroup(group, from));
      if (session === null) break;
    }
    return roundsMax;
  };

  const confirm = async (): Promise<readonly number[] | null> => {
    if (session === null) return null;
    book.update({ phase: 'confirming' });
    try {
      note(await confirming(QUEUE_DATA).confirmReplication(plan, session));
      return null;
    } catch (error) {
      const missing = missingSubtrees(error);
      if (missing === null) throw error;
      return missing;
    }
  };

  return {
    session: () => session,
    async run(): Promise<Pick<ReplicateResult, 'root' | 'base'> & { readonly takenMs: number }> {
      const { root, takenMs, session: begun } = await open();
      // What was found committed says nothing of its base.
      const base = begun?.base?.snapshot ?? null;
      let due: readonly number[] = Array.from({ length: begun?.subtrees ?? 0 }, (_, i) => i);
      book.update({ phase: 'replicating', totalUnits: due.length });
      for (let commits = 1, from = 0; ; commits++) {
        from += await shipAll(due, from);
        await orders.toGoOn();
        const missing = await confirm();
        if (missing === null) return { root, base, takenMs };
        if (commits >= COMMITS_MAX)
          throw ApplicationFailure.nonRetryable(
            `the receiver has withheld the snapshot ${commits} times; it lacks something in subtrees ${shown(missing)}`,
            'MISSING_EXTENTS',
          );
        book.update({ phase: 'replicating what was lost', doneUnits: Math.max(0, book.status.totalUnits - missing.length) });
        due = missing;
      }
    },
  };
}

const SHOWN_MAX = 8;
const shown = (items: readonly (string | number)[]): string =>
  items.length <= SHOWN_MAX ? items.join(', ') : `${items.slice(0, SHOWN_MAX).join(', ')} and ${items.length - SHOWN_MAX} more`;

const stuck = ({ missing, names, open }: RoundOutcome): ApplicationFailure =>
  ApplicationFailure.nonRetryable(
    `the receiver lacks ${missing} extents or pages of subtrees ${shown(open)} still after they were sent again and again: ${shown(names) || 'pages of the map'}`,
    'MISSING_EXTENTS',
    { missing, names, subtrees: open },
  );

/** The subtrees that a withheld commit names; null: it failed for another reason. */
function missingSubtrees(error: unknown): readonly number[] | null {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  if (!(cause instanceof ApplicationFailure) || cause.type !== 'MISSING_EXTENTS') return null;
  const [details] = cause.details ?? [];
  const subtrees: unknown = typeof details === 'object' && details !== null && 'subtrees' in details ? details.subtrees : null;
  return Array.isArray(subtrees) && subtrees.length > 0 ? subtrees.filter((subtree) => typeof subtree === 'number') : null;
}

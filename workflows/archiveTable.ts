/**
 * Archives a table (system F): an entity that goes on for as long as the table is archived, and has nothing but its name.
 *
 *     archiveTopics   consumes, writes segments and batches        both are activities that last; a pause ends them, and so does
 *     keepTable       merges, snapshots, retention                 the end of this run, after which they go on where the log says
 *
 * What they know is in the archive's log, so a run may end at any moment: told to pause, changed in the catalog, or with a history that has grown long.
 * Who wants a snapshot now ends the keeper, and the next one begins with it. Archiving does not depend on the keeper: one that
 * fails is begun again after a while, and the page says why.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  defineUpdate,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { RunEnd } from '../activities/tables.ts';
import type { ArchiveTableInput } from '../src/domain/job-inputs.ts';
import { SNAPSHOT_NOW_UPDATE, type ArchiveTableResult } from '../src/domain/jobs.ts';
import { failureOf, openBook, runJob, type Book } from './book.ts';
import { takeOrders, type Orders } from './orders.ts';
import { lasting } from './queues.ts';

export const snapshotNowUpdate = defineUpdate<void>(SNAPSHOT_NOW_UPDATE);
export const snapshotNowSignal = defineSignal(SNAPSHOT_NOW_UPDATE);

/**
 * Between a keeper that failed and the next. CLAIM_LOST is no trouble of the store's: a keeper that was told to end may have claimed after the
 * one that follows it, for it hears of that with its next heartbeat.
 */
const keepAgainMs = (code: string): number => (code === 'CLAIM_LOST' ? 1000 : 60_000);

export function archiveTable(input: ArchiveTableInput): Promise<ArchiveTableResult> {
  const book = openBook({ kind: 'archiveTable', title: `Archive of the table ${input.table}`, volume: input.table, store: null });
  const orders = takeOrders(book);
  const wishes = takeWishes();
  return runJob(
    book,
    input,
    () => goOn(input, book, orders, wishes),
    () => 'the table is not in the catalog any more',
  );
}

/** Wishes for a snapshot; taken from the first moment, as orders are (orders.ts). */
interface Wishes {
  pending: boolean;
  /** So many so far. */
  made: number;
  /** The keeper that runs. */
  keeper: CancellationScope | null;
}

function takeWishes(): Wishes {
  const wishes: Wishes = { pending: false, made: 0, keeper: null };
  const wish = (): void => {
    wishes.pending = true;
    wishes.made++;
    wishes.keeper?.cancel();
  };
  setHandler(snapshotNowUpdate, wish);
  setHandler(snapshotNowSignal, wish);
  return wishes;
}

async function goOn(input: ArchiveTableInput, book: Book, orders: Orders, wishes: Wishes): Promise<ArchiveTableResult> {
  for (;;) {
    await orders.toGoOn();
    book.update({ state: 'running', phase: 'archiving' });
    const end = await orders.untilPaused(() => archiveAndKeep(input, book, wishes));
    if (end === 'removed') return { table: input.table };
    if (end !== null && workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished);
      // A wish that was taken is fulfilled first: the next run would not know of it.
      if (!wishes.pending) await continueAsNew<typeof archiveTable>(input);
    }
  }
}

/** Both, until one of them ends for good; then the other one is ended, too. */
async function archiveAndKeep(input: ArchiveTableInput, book: Book, wishes: Wishes): Promise<RunEnd> {
  const scope = new CancellationScope();
  return scope.run(async () => {
    const both = [lasting.archiveTopics(input), keepOn(input, book, wishes)];
    try {
      return await Promise.race(both);
    } finally {
      scope.cancel();
      await CancellationScope.nonCancellable(() => Promise.allSettled(both));
    }
  });
}

/** Keepers, one after another; ends when the history has grown long, or the table is gone. */
async function keepOn(input: ArchiveTableInput, book: Book, wishes: Wishes): Promise<RunEnd> {
  for (;;) {
    const requested = wishes.pending;
    wishes.pending = false;
    const keeper = new CancellationScope();
    wishes.keeper = keeper;
    try {
      if ((await keeper.run(() => lasting.keepTable(input, requested))) === 'removed') return 'removed';
    } catch (error) {
      // Ended by a wish; a pause and the end of this run are no matter of the keeper's.
      if (isCancellation(error) && !wishes.pending) throw error;
      if (!isCancellation(error)) {
        const { code, message } = failureOf(error);
        if (requested) wishes.pending = true;
        book.update({ phase: `archiving; merging and snapshots failed and are tried again: ${code}: ${message}` });
        wishes.keeper = null;
        const { made } = wishes;
        await condition(() => wishes.made > made, keepAgainMs(code));
        book.update({ phase: 'archiving' });
      }
    } finally {
      wishes.keeper = null;
    }
    if (workflowInfo().continueAsNewSuggested && !wishes.pending) return 'changed';
  }
}

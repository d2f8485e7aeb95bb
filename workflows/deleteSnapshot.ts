/**
 * Deletes a snapshot: hides it at once, and stays open until it is reclaimed (system A).
 *
 *     AVAILABLE ──hide──▶ DELETE_PENDING ──next commit, retire, purge, unpin──▶ RECLAIMING ──▶ GONE
 *                              └──undelete──▶ AVAILABLE
 *
 * It is woken by the commit that releases it, and looks by itself now and then: whoever reclaims it, it ends.
 */
import { ApplicationFailure } from '@temporalio/common';
import { allHandlersFinished, condition, continueAsNew, defineSignal, defineUpdate, setHandler, workflowInfo } from '@temporalio/workflow';
import type { DeleteJob } from '../activities/lifecycle.ts';
import type { DeleteInput } from '../src/domain/job-inputs.ts';
import { LOOK_AGAIN_SIGNAL, PURGE_UPDATE, UNDELETE_UPDATE, type DeleteResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { short } from './queues.ts';
import { wakeDelete } from './shipping.ts';

export const lookAgainSignal = defineSignal(LOOK_AGAIN_SIGNAL);
export const purgeUpdate = defineUpdate<void>(PURGE_UPDATE);
export const undeleteUpdate = defineUpdate<void>(UNDELETE_UPDATE);

const LOOK_EVERY_MS = 30_000;
const LOOK_EVERY_MAX_MS = 3_600_000;

export function deleteSnapshot(input: DeleteInput): Promise<DeleteResult> {
  const title = `Delete of ${input.snapshot} from ${input.store}`;
  const opened = openBook({ kind: 'deleteSnapshot', title, volume: input.volume, store: input.store });
  const wishes = takeWishes();
  return runJob(
    opened,
    input,
    (book) => remove(input, book, wishes),
    ({ snapshot, outcome, freedBytes }) =>
      freedBytes === null ? `${snapshot}: ${outcome}` : `${snapshot}: ${outcome}, ${freedBytes} bytes freed`,
  );
}

/** What a delete is told while it is open; taken from its first moment, as orders are (orders.ts). */
interface Wishes {
  asked: 'purge' | 'undelete' | null;
  look: boolean;
}

function takeWishes(): Wishes {
  const wishes: Wishes = { asked: null, look: false };
  setHandler(lookAgainSignal, () => {
    wishes.look = true;
  });
  setHandler(purgeUpdate, () => {
    wishes.asked = 'purge';
  });
  setHandler(undeleteUpdate, () => {
    wishes.asked = 'undelete';
  });
  return wishes;
}

async function remove(input: DeleteInput, book: Book, wishes: Wishes): Promise<DeleteResult> {
  const job = await short.planDelete(input);
  const { store, repository, snapshot, inspection } = job;
  const result = (outcome: DeleteResult['outcome'], freedBytes: number | null = null): DeleteResult => ({
    store,
    snapshot,
    outcome,
    freedBytes,
  });
  if (inspection.kind === 'gone') return result('gone');
  book.update({ phase: 'hiding', snapshot });
  // A run that goes on with another one's history has hidden it: if it is visible now, somebody has shown it again.
  const goesOn = workflowInfo().continuedFromExecutionRunId !== undefined;
  if (!goesOn && (!inspection.hidden || (job.purge && !inspection.purge)))
    await short.hideSnapshot(store, repository, inspection.seen, job.purge);
  let everyMs = LOOK_EVERY_MS;
  for (;;) {
    const wish = wishes.asked;
    if (wish !== null) {
      wishes.asked = null;
      if ((await fulfil(job, wish)) === 'undeleted') return result('undeleted');
    }
    wishes.look = false;
    const state = await short.lookAtDelete(store, repository, snapshot);
    if (state.kind === 'gone') return result('reclaimed');
    if (state.kind === 'visible') return result('undeleted');
    if (state.kind === 'due') {
      book.update({ state: 'running', phase: 'reclaiming' });
      const { reclaimed, freedBytes } = await short.reclaimDue(store, repository);
      for (const other of reclaimed) if (other !== snapshot) await wakeDelete(store, other);
      if (reclaimed.includes(snapshot)) return result('reclaimed', freedBytes);
    }
    book.update({
      state: 'waiting',
      phase: state.kind === 'pending' ? `hidden; waits: ${state.obstacle}` : 'hidden; another collector is at it',
    });
    const woken = await condition(() => wishes.look || wishes.asked !== null, state.kind === 'due' ? 1000 : everyMs);
    if (!woken) everyMs = Math.min(LOOK_EVERY_MAX_MS, everyMs * 2);
    if (workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished);
      // A wish that was taken is fulfilled first: the next run would not know of it.
      if (wishes.asked === null) await continueAsNew<typeof deleteSnapshot>(input);
    }
  }
}

async function fulfil({ store, repository, snapshot }: DeleteJob, wish: 'purge' | 'undelete'): Promise<'undeleted' | 'hidden'> {
  const inspection = await short.inspectSnapshot(store, repository, snapshot);
  if (inspection.kind === 'gone') {
    if (wish === 'undelete') throw ApplicationFailure.nonRetryable('it was reclaimed already', 'SNAPSHOT_NOT_FOUND');
    return 'hidden';
  }
  if (wish === 'purge') {
    await short.hideSnapshot(store, repository, inspection.seen, true);
    return 'hidden';
  }
  await short.undeleteSnapshot(store, repository, inspection.seen);
  return 'undeleted';
}

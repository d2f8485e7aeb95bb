/**
 * What an operator tells a job that ships: pause, resume, and which store to leave behind.
 *
 * Taken from the job's first moment, for an update that finds no handler is refused, and a job can be steered as soon as it can be
 * listed. Before its plan is made a pause holds the start, and a store that is to be left behind is not even claimed in.
 */
import { CancellationScope, condition, defineUpdate, isCancellation, setHandler } from '@temporalio/workflow';
import type { StoreName } from '../src/domain/ids.ts';
import { DETACH_UPDATE, PAUSE_UPDATE, RESUME_UPDATE } from '../src/domain/jobs.ts';
import type { Book } from './book.ts';

export const pauseUpdate = defineUpdate<void>(PAUSE_UPDATE);
export const resumeUpdate = defineUpdate<void>(RESUME_UPDATE);
export const detachUpdate = defineUpdate<void, [StoreName]>(DETACH_UPDATE);

export interface Orders {
  /** Stores to be left behind; names that are not the job's mean nothing. */
  readonly leaving: ReadonlySet<StoreName>;
  /** Waits while the job is paused. */
  toGoOn(): Promise<void>;
  /** Runs what a pause stops at once; null when one did. */
  untilPaused<T>(work: () => Promise<T>): Promise<T | null>;
}

/** To be called before the workflow waits for anything. */
export function takeOrders(book: Book): Orders {
  const leaving = new Set<StoreName>();
  const running = new Set<CancellationScope>();
  /** Stopped by a pause; by the time that one has ended it may be over. */
  const stopped = new Set<CancellationScope>();
  let paused = false;

  setHandler(pauseUpdate, () => {
    paused = true;
    book.update({ state: 'paused', phase: 'paused by its operator' });
    for (const scope of running) {
      stopped.add(scope);
      scope.cancel();
    }
  });
  setHandler(resumeUpdate, () => {
    paused = false;
    book.update({ state: 'running', phase: 'resumed', paused: null });
  });
  setHandler(detachUpdate, (store) => {
    leaving.add(store);
  });

  return {
    leaving,
    toGoOn: () => condition(() => !paused),
    async untilPaused(work) {
      const scope = new CancellationScope();
      running.add(scope);
      try {
        return await scope.run(work);
      } catch (error) {
        if (isCancellation(error) && stopped.has(scope)) return null;
        throw error;
      } finally {
        running.delete(scope);
        stopped.delete(scope);
      }
    },
  };
}

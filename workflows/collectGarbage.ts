/** Collects a repository: what is due is reclaimed, thin packs are rewritten, what crashes left is swept, a checkpoint is written when due. */
import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import type { CollectInput } from '../src/domain/job-inputs.ts';
import { QUEUE_DATA, type CollectResult } from '../src/domain/jobs.ts';
import { runJob } from './book.ts';
import { wakeDelete } from './shipping.ts';

const data = proxyActivities<Activities>({
  taskQueue: QUEUE_DATA,
  startToCloseTimeout: '6 hours',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '30 seconds' },
});

export const collectGarbage = (input: CollectInput): Promise<CollectResult> =>
  runJob(
    { kind: 'collectGarbage', title: `Collection of ${input.repository} in ${input.store}`, volume: input.repository, store: input.store },
    input,
    async (book) => {
      book.update({ phase: 'collecting' });
      const result = await data.collectGarbage(input);
      for (const snapshot of result.reclaimed) await wakeDelete(result.store, snapshot);
      return result;
    },
    ({ reclaimed, objectsDeleted, freedBytes }) =>
      `${reclaimed.length} snapshots reclaimed, ${objectsDeleted} objects deleted, ${freedBytes} bytes freed`,
  );

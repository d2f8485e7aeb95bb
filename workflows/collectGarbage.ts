/** Collects a repository: what is due is reclaimed, thin packs are rewritten, what crashes left is swept, a checkpoint is written when due. */
import type { CollectInput } from '../src/domain/job-inputs.ts';
import { QUEUE_DATA, type CollectResult } from '../src/domain/jobs.ts';
import { openBook, runJob } from './book.ts';
import { bulk } from './queues.ts';
import { wakeDelete } from './shipping.ts';

export const collectGarbage = (input: CollectInput): Promise<CollectResult> =>
  runJob(
    openBook({
      kind: 'collectGarbage',
      title: `Collection of ${input.repository} in ${input.store}`,
      volume: input.repository,
      store: input.store,
    }),
    input,
    async (book) => {
      book.update({ phase: 'collecting' });
      const result = await bulk(QUEUE_DATA).collectGarbage(input);
      for (const snapshot of result.reclaimed) await wakeDelete(result.store, snapshot);
      return result;
    },
    ({ reclaimed, objectsDeleted, freedBytes }) =>
      `${reclaimed.length} snapshots reclaimed, ${objectsDeleted} objects deleted, ${freedBytes} bytes freed`,
  );

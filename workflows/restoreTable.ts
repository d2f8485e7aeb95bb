/**
 * Restores a past state of a table as something new: a file, a topic, a table of PostgreSQL (system F). The live table is not looked at.
 *
 * Planned once, so that every try builds the same moment; what a try that died has left is its own, and the next one's to finish.
 */
import { CancellationScope } from '@temporalio/workflow';
import type { Prepared, RestoreTableJob } from '../activities/restoring-tables.ts';
import type { RestoreTableInput } from '../src/domain/job-inputs.ts';
import { hostQueue, QUEUE_DATA, type RestoreTableResult } from '../src/domain/jobs.ts';
import { outputName } from '../src/domain/output-name.ts';
import { openBook, runJob, type Book } from './book.ts';
import { brief, briefWithin, bulk, short } from './queues.ts';

/** What failed is tidied up for so long at the most: its host may be what failed. */
const TIDY_MS = 60_000;

export const restoreTable = (input: RestoreTableInput): Promise<RestoreTableResult> =>
  runJob(
    openBook({
      kind: 'restoreTable',
      title: `Restore of the table ${input.table} to ${outputName(input.output)}`,
      volume: input.table,
      store: null,
    }),
    input,
    (book) => restore(input, book),
    ({ rows, hash, output }) => `${rows} rows, hash ${hash}, at ${output}`,
  );

async function restore(input: RestoreTableInput, book: Book): Promise<RestoreTableResult> {
  const job = await short.planRestoreTable(input);
  const queue = job.host === null ? QUEUE_DATA : hostQueue(job.host);
  book.update({ phase: job.host === null ? 'waiting for a controller' : `waiting for host ${job.host}` });
  const prepared = await brief(queue).prepareRestoreTable(job);
  book.update({ phase: 'building' });
  let failed: Prepared | null = prepared;
  try {
    const result = await bulk(queue).writeRestoreTable(job);
    failed = null;
    book.update({ readBytes: result.readBytes });
    return result;
  } finally {
    await CancellationScope.nonCancellable(() => tidy(job, queue, failed));
  }
}

async function tidy(job: RestoreTableJob, queue: string, failed: Prepared | null): Promise<void> {
  if (failed === null) return brief(queue).endRestoreTable(job, null);
  // The failure is what the job ends with; what could not be taken away the next job to that target does.
  await briefWithin(queue, TIDY_MS)
    .endRestoreTable(job, failed)
    .catch(() => undefined);
}

/** Restores a snapshot into a file or device on a host: pinned while it is read, every extent proved against the root (system A). */
import { CancellationScope } from '@temporalio/workflow';
import type { RestoreInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type RestoreResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { brief, bulk, short } from './queues.ts';
import { wakeDelete } from './shipping.ts';

export const restoreVolume = (input: RestoreInput): Promise<RestoreResult> =>
  runJob(
    openBook({
      kind: 'restoreVolume',
      title: `Restore of ${input.volume} from ${input.store} to ${input.target}`,
      volume: input.volume,
      store: input.store,
    }),
    input,
    (book) => restore(input, book),
    ({ snapshot, target, writtenBytes }) => `${snapshot} is at ${target}, ${writtenBytes} bytes written`,
  );

async function restore(input: RestoreInput, book: Book): Promise<RestoreResult> {
  const job = await short.planRestore(input);
  const queue = hostQueue(job.host);
  book.update({ phase: `waiting for host ${job.host}` });
  const begun = await brief(queue).beginRestore(job);
  const { snapshot, subtrees, pin, fresh } = begun;
  book.update({ phase: 'restoring', snapshot: snapshot.id, totalUnits: subtrees });
  try {
    let readBytes = 0;
    let writtenBytes = 0;
    for (let subtree = 0; subtree < subtrees; subtree++) {
      const part = await bulk(queue).restorePart(job, snapshot.id, subtree, fresh);
      readBytes += part.readBytes;
      writtenBytes += part.writtenBytes;
      book.update({ doneUnits: subtree + 1, readBytes });
    }
    const released = await brief(queue).endRestore(job, snapshot.sizeBytes, pin);
    if (released !== null) await wakeDelete(job.store, released);
    const { volume, store, target } = job;
    return { volume, store, snapshot: snapshot.id, target, sizeBytes: snapshot.sizeBytes, readBytes, writtenBytes, root: snapshot.root };
  } catch (error) {
    await CancellationScope.nonCancellable(async () => {
      const released = await short.releasePin(job.store, job.repository, pin);
      if (released !== null) await wakeDelete(job.store, released);
    });
    throw error;
  }
}

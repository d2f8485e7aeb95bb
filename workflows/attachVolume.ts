/** Has a volume served by its host from now on: over NBD, tracked, to be frozen in a moment (docs/serving.md). */
import type { AttachInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type AttachResult } from '../src/domain/jobs.ts';
import { openBook, runJob } from './book.ts';
import { brief, short } from './queues.ts';

export function attachVolume(input: AttachInput): Promise<AttachResult> {
  const { volume } = input;
  return runJob(
    openBook({ kind: 'attachVolume', title: `Attach ${volume}`, volume, store: '' }),
    input,
    async (book) => {
      const record = await short.planAttach(input);
      book.update({ phase: `waiting for host ${record.node}` });
      const result = await brief(hostQueue(record.node)).attachVolume(record);
      book.update({ uris: result.uris });
      return result;
    },
    ({ uris }) => `${volume} is served at ${uris[0] ?? 'its host'}`,
  );
}

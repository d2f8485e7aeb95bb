/** Ends the serving of a disk; what its clients have flushed is in its file. */
import type { DetachInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type DetachResult } from '../src/domain/jobs.ts';
import { openBook, runJob } from './book.ts';
import { brief, short } from './queues.ts';

export function detachDisk(input: DetachInput): Promise<DetachResult> {
  const { disk } = input;
  return runJob(
    openBook({ kind: 'detachDisk', title: `Detach ${disk}`, volume: disk, store: '' }),
    input,
    async (book) => {
      const { host } = await short.planDetach(input);
      book.update({ phase: `waiting for host ${host}` });
      await brief(hostQueue(host)).detachDisk(input);
      return { disk, host };
    },
    ({ host }) => `${disk} is served by ${host} no more`,
  );
}

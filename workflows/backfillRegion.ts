/**
 * A region gets what it lacks of a journal's closed epochs (systems E and I): docs/journal.md, section 8. Nobody who writes waits for it; its
 * progress is of the bytes that are held once.
 */
import type { BackfillInput } from '../src/domain/job-inputs.ts';
import { QUEUE_DATA, type BackfillResult } from '../src/domain/jobs.ts';
import { openBook, runJob } from './book.ts';
import { bulk } from './queues.ts';

export function backfillRegion(input: BackfillInput): Promise<BackfillResult> {
  const { journal, region } = input;
  return runJob(
    openBook({ kind: 'backfillRegion', title: `Backfill of ${journal} in ${region}`, volume: journal, store: region }),
    input,
    async (book) => {
      book.update({ phase: `copying what ${region} lacks`, totalUnits: 1 });
      const filled = await bulk(QUEUE_DATA).fillRegion(input);
      book.update({ doneUnits: 1, sentBytes: filled.bytes });
      return { journal, region, ...filled };
    },
    ({ batches, bytes, atRiskBytes }) => `${batches} batches, ${bytes} bytes copied; ${atRiskBytes} bytes are held once`,
  );
}

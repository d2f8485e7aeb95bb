/** Verifies snapshots of a volume in a store: structure, a seeded sample, or every byte; cut into units that workers share. */
import type { VerifyInput } from '../src/domain/job-inputs.ts';
import { QUEUE_DATA, type Damage, type VerifyResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { bulk, short } from './queues.ts';

/** Damaged values in a result; each unit has its own bound, and a result must fit in a history. */
const DAMAGE_SHOWN = 200;

export const verifyStore = (input: VerifyInput): Promise<VerifyResult> =>
  runJob(
    openBook({ kind: 'verifyStore', title: `Verification of ${input.volume} in ${input.store}`, volume: input.volume, store: input.store }),
    input,
    (book) => verify(input, book),
    ({ valuesChecked, damaged, differing }) =>
      `${valuesChecked} values checked, ${damaged.length} damaged, ${differing.length} snapshots differ`,
  );

async function verify(input: VerifyInput, book: Book): Promise<VerifyResult> {
  const job = await short.planVerify(input);
  book.update({ phase: 'verifying', totalUnits: job.units.length });
  const queue = [...job.units];
  const damaged: Damage[] = [];
  let valuesChecked = 0;
  let readBytes = 0;
  const worker = async (): Promise<void> => {
    for (let unit = queue.shift(); unit !== undefined; unit = queue.shift()) {
      const part = await bulk(QUEUE_DATA).verifyPart(job, unit);
      valuesChecked += part.values;
      readBytes += part.readBytes;
      damaged.push(...part.damaged.slice(0, DAMAGE_SHOWN - damaged.length));
      book.update({ doneUnits: book.status.doneUnits + 1, readBytes });
    }
  };
  await Promise.all(Array.from({ length: Math.min(job.parallel, job.units.length) }, worker));
  const differing = job.against === null ? [] : await short.compareStores(job, job.against);
  return { volume: job.volume, store: job.store, snapshots: job.snapshots, valuesChecked, readBytes, damaged, differing };
}

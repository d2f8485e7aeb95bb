/**
 * Instant restore: a snapshot is a disk at once, and its bytes come behind it (docs/serving.md).
 *
 * The disk server does the work and holds the pin; this job says what shall be, watches, and ends when the disk stands
 * alone. Cancelled, it stops watching: the disk is in use, and goes on.
 */
import type { HydrateInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type HydrateResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { brief, bulk, short } from './queues.ts';

export function hydrateDisk(input: HydrateInput): Promise<HydrateResult> {
  const { volume, store, target } = input;
  return runJob(
    openBook({ kind: 'hydrateDisk', title: `Instant restore of ${volume} from ${store} to ${target}`, volume, store }),
    input,
    (book) => hydrate(input, book),
    ({ disk, snapshot }) => `${disk} has all of ${snapshot} itself`,
  );
}

async function hydrate(input: HydrateInput, book: Book): Promise<HydrateResult> {
  const plan = await short.planHydrate(input);
  const queue = hostQueue(plan.host);
  book.update({ phase: `waiting for host ${plan.host}` });
  const begun = await brief(queue).beginHydration(plan);
  const { snapshot, disk, host, sizeBytes, uris } = begun;
  if (plan.promote) await short.promoteDisk(plan);
  book.update({ phase: 'served; its bytes come behind it', snapshot, uris, totalUnits: 1 });
  await bulk(queue).awaitHydration(disk);
  book.update({ doneUnits: 1 });
  const { volume, store, target, promote } = plan;
  return { volume, snapshot, store, disk, host, target, sizeBytes, uris, promoted: promote };
}

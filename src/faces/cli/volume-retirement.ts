/**
 * Retires a volume: the end of its lineage is a record in each of its repositories, then in the catalog. Every step may be made
 * again. No next snapshot can come, so what waited for one may go: deletes that are open are told to look again.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { RepositoryName, StoreName, VolumeName } from '../../domain/ids.ts';
import { LOOK_AGAIN_SIGNAL } from '../../domain/jobs.ts';
import { findVolume, lineageOfVolume } from '../../engine/catalog/catalog.ts';
import { placesOf } from './repositories.ts';
import type { Session } from './session.ts';

export async function retireVolume(session: Session, name: VolumeName): Promise<void> {
  const { catalog } = await session.home();
  const state = await catalog.sync();
  const volume = findVolume(state, name);
  const lineage = lineageOfVolume(volume);
  const told: StoreName[] = [];
  // Stores first: given again after a fault it goes on, and while the catalog has the volume nothing is forgotten.
  for (const { store, repository } of placesOf(state, { volume: name })) {
    const opened = await openExisting(session, store, repository);
    if (opened === null) continue;
    await opened.append((ledger) => (ledger.retired.has(lineage) ? null : { kind: 'RETIRE', lineage }));
    told.push(store);
  }
  await catalog.append((at) => (findVolume(at, name).retired ? null : { kind: 'VOLUME_RETIRE', name }));
  const woken = await wakeDeletes(session, name);
  session.print(
    { volume: name, lineage, stores: told, woken },
    () => `volume ${name} is retired in ${told.join(', ') || 'no store'}; its snapshots stay and can be restored\n`,
  );
}

async function openExisting(session: Session, store: StoreName, repository: RepositoryName) {
  return (await session.home()).reader(store, repository).catch((error: unknown) => {
    if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) return null;
    throw error;
  });
}

/** Deletes that waited for a next snapshot, which cannot come any more, may go on. Without Temporal a reclaim finds them. */
async function wakeDeletes(session: Session, name: VolumeName): Promise<number> {
  const state = await (await session.home()).catalog.sync();
  const waiting = [...state.jobs.values()].filter(
    (job) => job.job === 'deleteSnapshot' && job.ended === null && (job.input as { readonly volume?: string } | null)?.volume === name,
  );
  if (waiting.length === 0) return 0;
  try {
    const jobs = await session.jobs();
    for (const job of waiting) await jobs.signal(job.id, LOOK_AGAIN_SIGNAL);
    return waiting.length;
  } catch (error) {
    if (!isHoldfastError(error, 'TEMPORAL_UNREACHABLE', 'JOB_NOT_FOUND')) throw error;
    session.say('pending deletes were not told; `holdfast reclaim` carries them out');
    return 0;
  }
}

/**
 * `holdfast snapshot delete` and `undelete`. A delete hides at once; its bytes go when nothing needs them, and until then it can
 * be taken back. The command leaves when the snapshot is hidden and waits; the job stays.
 */
import type { Command } from 'commander';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { snapshotId, storeName, volumeName, volumeOf, type SnapshotId, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import { JOB_IDS, PURGE_UPDATE, UNDELETE_UPDATE, type JobInputs } from '../../../domain/jobs.ts';
import type { DeletePlan } from '../../../systems/lifecycle/deletion.ts';
import { required, storeNames } from '../arguments.ts';
import { formatBytes } from '../quantities.ts';
import type { Session } from '../session.ts';

interface PlaceOptions {
  readonly volume?: VolumeName;
  readonly store?: StoreName;
}

interface DeleteOptions {
  readonly volume?: VolumeName;
  readonly store?: readonly StoreName[];
  readonly purge?: boolean;
  readonly dryRun?: boolean;
  readonly wait?: boolean;
  readonly detach?: boolean;
}

type PlacedPlan = DeletePlan & { readonly store: StoreName };

async function printPlans(session: Session, id: SnapshotId, stores: readonly StoreName[], options: DeleteOptions): Promise<void> {
  const { findPlaces } = await import('../snapshot-lines.ts');
  const { planDelete } = await import('../../../systems/lifecycle/deletion.ts');
  const plans: PlacedPlan[] = [];
  for (const store of stores)
    for (const { whole } of await findPlaces(session, id, { store, volume: options.volume }))
      plans.push({ store, ...(await planDelete(await whole(), id, options.purge === true)) });
  session.print(plans, () =>
    plans
      .map(({ store, waitsFor, freedBytes, values }) => {
        const when = waitsFor === null ? 'at once' : `when nothing stands against it any more (now: ${waitsFor})`;
        return `${id} in ${store}: ${formatBytes(freedBytes)} in ${values} values would be freed ${when}\n`;
      })
      .join(''),
  );
}

async function remove(session: Session, id: SnapshotId, options: DeleteOptions): Promise<void> {
  const stores = required(options.store, '--store', 'the store to delete it from; may be given again');
  if (options.dryRun === true) return printPlans(session, id, stores, options);
  const { runJobs, startJob } = await import('../run-job.ts');
  const inputs: JobInputs['deleteSnapshot'][] = [];
  for (const store of stores) {
    const volume = options.volume ?? (await volumeAt(session, id, store));
    inputs.push({ volume, store, snapshot: id, ...(options.purge === true ? { purge: true } : {}) });
  }
  if (options.purge === true) {
    // A delete that waits already is told to wait no longer.
    const jobs = await session.jobs();
    for (const input of inputs)
      if ((await startJob(session, 'deleteSnapshot', input)).joined) await jobs.update(JOB_IDS.deleteSnapshot(input), PURGE_UPDATE);
  }
  await runJobs(session, 'deleteSnapshot', inputs, {
    ...(options.detach === undefined ? {} : { detach: options.detach }),
    ...(options.wait === true ? {} : { until: (progress) => progress.state === 'waiting' }),
    left: (progress, started) => [
      `${id} is ${progress.phase}`,
      `  it keeps its bytes until then; \`holdfast snapshot undelete ${id}\` brings it back`,
      `  watch it: holdfast job wait ${started.id}`,
    ],
  });
}

async function volumeAt(session: Session, id: SnapshotId, store: StoreName): Promise<VolumeName> {
  const { findPlaces } = await import('../snapshot-lines.ts');
  const [place] = await findPlaces(session, id, { store });
  const snapshot = place?.opened.ledger().snapshots.get(id);
  if (!snapshot) throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id} in ${store}`, { snapshot: id, store });
  return volumeOf(snapshot.lineage);
}

/** Through the delete that is open, which then ends; where none is, or no Temporal, in the log itself. */
async function undelete(session: Session, id: SnapshotId, options: PlaceOptions): Promise<void> {
  const { findPlaces } = await import('../snapshot-lines.ts');
  const { unhideSnapshot } = await import('../../../engine/repository/pins.ts');
  const shown: StoreName[] = [];
  for (const { store, opened } of await findPlaces(session, id, options)) {
    const snapshot = opened.ledger().snapshots.get(id);
    if (!snapshot?.hidden) continue;
    const job = JOB_IDS.deleteSnapshot({ volume: volumeOf(snapshot.lineage), store, snapshot: id });
    try {
      const jobs = await session.jobs();
      await jobs.update(job, UNDELETE_UPDATE);
      await jobs.result(job);
    } catch (error) {
      if (!isHoldfastError(error, 'JOB_NOT_FOUND', 'TEMPORAL_UNREACHABLE')) throw error;
    }
    const now = (await opened.sync()).snapshots.get(id);
    if (now?.hidden !== false) await unhideSnapshot(opened, id, now?.version ?? snapshot.version);
    shown.push(store);
  }
  session.print({ snapshot: id, stores: shown }, () =>
    shown.length === 0 ? `${id} was not hidden\n` : `${id} is available again in ${shown.join(', ')}\n`,
  );
}

export function addDeleteCommands(snapshot: Command, session: Session): void {
  snapshot
    .command('delete')
    .description('hide a snapshot at once and free its bytes as soon as nothing needs them')
    .argument('<snapshot>', 'its id', snapshotId)
    .option('-s, --store <name>', 'where; may be given again', storeNames)
    .option('--volume <name>', 'of the volume', volumeName)
    .option('--purge', 'do not keep it as the base of the next one, which is then shipped in full')
    .option('--dry-run', 'only say what would be freed, and when')
    .option('--wait', 'stay until its bytes are freed, not only until it is hidden')
    .option('-d, --detach', 'start it and leave')
    .addHelpText(
      'after',
      '\nThe newest snapshot of a living volume is hidden at once and reclaimed after the next one; --purge does not wait.',
    )
    .action((id: SnapshotId, options: DeleteOptions) => remove(session, id, options));
  snapshot
    .command('undelete')
    .description('bring back a snapshot that was not reclaimed yet')
    .argument('<snapshot>', 'its id', snapshotId)
    .option('--volume <name>', 'of the volume', volumeName)
    .option('-s, --store <name>', 'only in this one', storeName)
    .action((id: SnapshotId, options: PlaceOptions) => undelete(session, id, options));
}

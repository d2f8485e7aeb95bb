/** Activities of deletes, restores, verifications and collections (system A): parse, call the system, translate errors. */
import { activityInfo } from '@temporalio/activity';
import {
  collectInput,
  deleteInput,
  parseInput,
  restoreInput,
  verifyInput,
  type CollectInput,
  type DeleteInput,
  type RestoreInput,
  type VerifyInput,
} from '../src/domain/job-inputs.ts';
import { type CollectResult } from '../src/domain/jobs.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../src/domain/ids.ts';
import { findVolume } from '../src/engine/catalog/catalog.ts';
import { subtreeCount } from '../src/engine/repository/transfer-reader.ts';
import {
  collectGarbage,
  deleteState,
  hide,
  inspect,
  planDelete,
  reclaimDue,
  undelete,
  type DeletePlan,
  type DeleteState,
  type Inspection,
  type Seen,
} from '../src/systems/lifecycle/deletion.ts';
import {
  beginRestore,
  endRestore,
  releasePin,
  restorePin,
  restorePart,
  type BegunRestore,
  type RestoredPart,
  type RestoreMode,
} from '../src/systems/lifecycle/restoration.ts';
import { differingRoots, snapshotsToVerify, verifyPart, type Depth, type VerifiedPart } from '../src/systems/lifecycle/verification.ts';
import { HoldfastError } from '../src/domain/errors.ts';
import { translated } from './failure.ts';
import { ownerNow } from './owner.ts';
import { startPulse } from './pulse.ts';
import type { ActivityParts } from './shipping.ts';

export interface DeleteJob {
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly purge: boolean;
  readonly inspection: Inspection;
  readonly plan: DeletePlan | null;
}

export interface RestoreJob {
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId | null;
  readonly target: string;
  readonly host: string;
  readonly mode: RestoreMode;
}

export interface VerifyJob {
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly depth: Depth;
  readonly seed: number;
  readonly against: StoreName | null;
  readonly parallel: number;
  /** Snapshot and subtree: a unit of work for any worker. */
  readonly units: readonly { readonly snapshot: SnapshotId; readonly since: SnapshotId | null; readonly subtree: number }[];
  readonly snapshots: number;
}

/** Units of one verification; each is an activity, and a history holds some 10,000 of them. */
const UNITS_MAX = 8192;

export const createLifecycleActivities = ({ home, host, threads }: ActivityParts) =>
  translated({
    async planDelete(input: DeleteInput): Promise<DeleteJob> {
      const { volume, store, snapshot, purge = false } = parseInput(deleteInput, 'deleteSnapshot', input);
      const { repository: name } = findVolume(await home.catalog.sync(), volume);
      const repository = await home.repository(store, name);
      const inspection = await inspect(repository, snapshot);
      const plan = inspection.kind === 'live' ? await planDelete(repository, snapshot, purge) : null;
      return { store, repository: name, volume, snapshot, purge, inspection, plan };
    },

    async hideSnapshot(store: StoreName, repository: RepositoryName, seen: Seen, purge: boolean): Promise<void> {
      await hide(await home.reader(store, repository), seen, purge);
    },

    async undeleteSnapshot(store: StoreName, repository: RepositoryName, seen: Seen): Promise<void> {
      await undelete(await home.reader(store, repository), seen);
    },

    async inspectSnapshot(store: StoreName, repository: RepositoryName, snapshot: SnapshotId): Promise<Inspection> {
      return inspect(await home.reader(store, repository), snapshot);
    },

    /** What a pending delete waits for. */
    async lookAtDelete(store: StoreName, name: RepositoryName, snapshot: SnapshotId): Promise<DeleteState> {
      const repository = await home.reader(store, name);
      return deleteState(repository.ledger().snapshots.get(snapshot), repository);
    },

    async reclaimDue(store: StoreName, name: RepositoryName): Promise<CollectResult> {
      const result = await reclaimDue(await home.repository(store, name), ownerNow());
      return summary(store, name, result);
    },

    async collectGarbage(input: CollectInput): Promise<CollectResult> {
      const { store, repository: name } = parseInput(collectInput, 'collectGarbage', input);
      const result = await collectGarbage(await home.repository(store, name), ownerNow());
      return summary(store, name, result);
    },

    async planRestore(input: RestoreInput): Promise<RestoreJob> {
      const { volume, store, snapshot = null, target, host, mode = 'create' } = parseInput(restoreInput, 'restoreVolume', input);
      const record = findVolume(await home.catalog.sync(), volume);
      return { volume, store, repository: record.repository, snapshot, target, host: host ?? record.node, mode };
    },

    async beginRestore(job: RestoreJob): Promise<BegunRestore> {
      const disk = await host.disks.servedFrom(job.target);
      if (disk !== null) throw new HoldfastError('DISK_IN_USE', `${job.target} is served as ${disk.name}`, { disk: disk.name });
      const repository = await home.reader(job.store, job.repository);
      const { attempt } = activityInfo();
      return beginRestore(repository, { ...job, owner: ownerNow(), again: attempt > 1 });
    },

    async restorePart(job: RestoreJob, snapshot: SnapshotId, subtree: number, fresh: boolean): Promise<RestoredPart> {
      const pulse = startPulse(subtree);
      const repository = await home.reader(job.store, job.repository);
      const compare = !fresh || activityInfo().attempt > 1;
      return await restorePart(repository, job.store, snapshot, job.target, subtree, compare, {
        pin: restorePin(ownerNow()),
        threads,
        ...pulse,
      });
    },

    async endRestore(job: RestoreJob, sizeBytes: number, pin: string): Promise<SnapshotId | null> {
      return endRestore(await home.reader(job.store, job.repository), job.target, sizeBytes, pin);
    },

    async releasePin(store: StoreName, repository: RepositoryName, pin: string): Promise<SnapshotId | null> {
      return releasePin(await home.reader(store, repository), pin);
    },

    async planVerify(input: VerifyInput): Promise<VerifyJob> {
      const {
        volume,
        store,
        snapshot = null,
        depth = 'sample',
        seed = 1,
        against = null,
        parallel = 2,
      } = parseInput(verifyInput, 'verifyStore', input);
      const { repository } = findVolume(await home.catalog.sync(), volume);
      const snapshots = snapshotsToVerify(await home.reader(store, repository), volume, snapshot);
      if (snapshot !== null && snapshots.length === 0)
        throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${snapshot}`, { snapshot });
      const units = snapshots.flatMap(({ id, lineage, sizeBytes, extentBytes }, i) => {
        const before = snapshots[i - 1];
        const since = before?.lineage === lineage ? before.id : null;
        return Array.from({ length: subtreeCount(sizeBytes, extentBytes) }, (_, subtree) => ({ snapshot: id, since, subtree }));
      });
      if (units.length > UNITS_MAX)
        throw new HoldfastError('ARGUMENT_INVALID', 'too much for one verification', {
          field: 'snapshot',
          expected: 'one snapshot at a time',
        });
      return { volume, store, repository, depth, seed, against, parallel, units, snapshots: snapshots.length };
    },

    async verifyPart(job: VerifyJob, unit: VerifyJob['units'][number]): Promise<VerifiedPart> {
      const pulse = startPulse(unit.subtree);
      const repository = await home.repository(job.store, job.repository);
      const snapshot = repository.ledger().snapshots.get(unit.snapshot);
      if (!snapshot) return { values: 0, readBytes: 0, damaged: [] };
      const since = unit.since === null ? null : (repository.ledger().snapshots.get(unit.since) ?? null);
      return await verifyPart(repository, job.store, snapshot, unit.subtree, {
        depth: job.depth,
        seed: job.seed,
        since,
        threads,
        ...pulse,
      });
    },

    async compareStores(job: VerifyJob, against: StoreName): Promise<readonly SnapshotId[]> {
      const [ours, theirs] = [await home.reader(job.store, job.repository), await home.reader(against, job.repository)];
      return differingRoots(ours, theirs, job.volume);
    },
  });

const summary = (store: StoreName, repository: RepositoryName, result: Awaited<ReturnType<typeof collectGarbage>>): CollectResult => ({
  store,
  repository,
  reclaimed: result.reclaimed,
  packsRewritten: result.packsRewritten,
  objectsDeleted: result.objectsDeleted,
  freedBytes: Math.max(0, result.bytesBefore - result.bytesAfter),
});

/** Verifies snapshots straight in a store, in this process: the same parts that the job's activities verify. */
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import type { Damage, VerifyResult } from '../../domain/jobs.ts';
import { subtreeCount } from '../../engine/repository/transfer-reader.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { snapshotsToVerify, verifyPart, type Depth } from '../../systems/lifecycle/verification.ts';
import type { RescueProgress } from './rescue-restore.ts';

export interface RescueVerify {
  readonly volume: VolumeName;
  /** Null: all that users see. */
  readonly snapshot: SnapshotId | null;
  readonly depth: Depth;
  readonly seed: number;
  readonly threads: Threads;
  readonly onProgress: (progress: RescueProgress) => void;
}

export async function rescueVerify(store: StoreName, repository: Repository, request: RescueVerify): Promise<VerifyResult> {
  const { volume, depth, seed, threads, onProgress } = request;
  const snapshots = snapshotsToVerify(repository, volume, request.snapshot);
  if (snapshots.length === 0)
    throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${request.snapshot ?? ''} of ${volume}`, { volume });
  const units = snapshots.flatMap((snapshot) =>
    Array.from({ length: subtreeCount(snapshot.sizeBytes, snapshot.extentBytes) }, (_, subtree) => ({ snapshot, subtree })),
  );
  const damaged: Damage[] = [];
  let valuesChecked = 0;
  let readBytes = 0;
  for (const [done, { snapshot, subtree }] of units.entries()) {
    onProgress({
      phase: `verifying ${snapshot.id}`,
      doneUnits: done,
      totalUnits: units.length,
      unitBytes: 0,
      unitTotalBytes: 0,
      readBytes,
    });
    const part = await verifyPart(repository, store, snapshot, subtree, { depth, seed, threads });
    valuesChecked += part.values;
    readBytes += part.readBytes;
    damaged.push(...part.damaged);
  }
  return { volume, store, snapshots: snapshots.length, valuesChecked, readBytes, damaged, differing: [] };
}

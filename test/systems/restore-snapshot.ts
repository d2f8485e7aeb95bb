/** A restore from its beginning to its end, as the workflow does it, in one call. */
import type { SnapshotId, VolumeName } from '../../src/domain/ids.ts';
import type { RepositoryReader } from '../../src/engine/repository/reader.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { beginRestore, endRestore, restorePart, type RestoreMode } from '../../src/systems/lifecycle/restoration.ts';

export interface WholeRestore {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId | null;
  readonly target: string;
  readonly mode?: RestoreMode;
  readonly owner?: string;
  readonly again?: boolean;
}

export async function restoreSnapshot(
  repository: RepositoryReader,
  threads: Threads,
  { volume, snapshot, target, mode = 'create', owner = 'test', again = false }: WholeRestore,
): Promise<SnapshotId> {
  const begun = await beginRestore(repository, { volume, snapshot, target, mode, owner, again });
  for (let subtree = 0; subtree < begun.subtrees; subtree++)
    await restorePart(repository, 'test', begun.snapshot.id, target, subtree, !begun.fresh, { pin: begun.pin, threads });
  await endRestore(repository, target, begun.snapshot.sizeBytes, begun.pin);
  return begun.snapshot.id;
}

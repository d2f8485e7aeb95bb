/**
 * Restore (system A): a snapshot back into a file or device, from its repository alone.
 *
 *     beginRestore   choose and pin the snapshot, prepare the target
 *     restorePart    a subtree at a time; every extent is checked against the map, the map against the root, and the target
 *                    is read again and held against the map
 *     endRestore     make it durable, lift the pin
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import { liftPin, pinnedBy, pinSnapshot, renewPin, unpin } from '../../engine/repository/pins.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import { findSnapshot, newestVisible, subtreeCount, transferReader, valuesOf } from '../../engine/repository/transfer-reader.ts';
import type { OnProgress } from '../../engine/transfer/progress.ts';
import { openRestoreTarget, type ExistingTarget } from '../../engine/transfer/restore-target.ts';
import { proveSubtree, restoreSubtree, type RestoreResult } from '../../engine/transfer/restore.ts';
import type { Threads } from '../../ground/threads/threads.ts';

export type RestoreMode = 'create' | 'overwrite' | 'differences';

export interface BegunRestore {
  readonly snapshot: Snapshot;
  readonly subtrees: number;
  readonly pin: string;
  /** Nothing but zeros there when it began, so parts need not look at what they overwrite. */
  readonly fresh: boolean;
}

export interface RestoreRequest {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId | null;
  readonly target: string;
  readonly mode: RestoreMode;
  /** Names the pin: the same for all attempts of one restore. */
  readonly owner: string;
  /** An earlier attempt of this restore may have prepared the target already. */
  readonly again: boolean;
}

const EXISTING: Readonly<Record<RestoreMode, ExistingTarget>> = { create: 'refuse', overwrite: 'replace', differences: 'keep' };
/** Another try of the same restore: the file may be its own, but for `create` only while it is as the try before left it, without data. */
const EXISTING_AGAIN: Readonly<Record<RestoreMode, ExistingTarget>> = { create: 'blank', overwrite: 'keep', differences: 'keep' };

/** The pin of a restore: the same for all its attempts. */
export const restorePin = (owner: string): string => `restore.${owner}`;

export async function beginRestore(repository: RepositoryReader, request: RestoreRequest): Promise<BegunRestore> {
  await repository.sync();
  const { volume, target, mode, again } = request;
  const pin = restorePin(request.owner);
  const snapshot =
    pinnedBy(repository, pin) ??
    (request.snapshot === null ? newestVisible(repository, volume) : findSnapshot(repository, volume, request.snapshot));
  await pinSnapshot(repository, pin, snapshot.id, repository.environment.nowMs() + PIN_MS_DEFAULT, `restored to ${target}`.slice(0, 200));
  try {
    await using opened = await openRestoreTarget(target, {
      sizeBytes: snapshot.sizeBytes,
      existing: (again ? EXISTING_AGAIN : EXISTING)[mode],
    });
    return { snapshot, subtrees: subtreeCount(snapshot.sizeBytes, snapshot.extentBytes), pin, fresh: opened.fresh && !again };
  } catch (error) {
    await unpin(repository, pin);
    throw error;
  }
}

export interface PartOptions {
  /** Renewed while parts go on; null where nothing could be pinned. */
  readonly pin: string | null;
  readonly threads: Threads;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface RestoredPart {
  readonly subtree: number;
  readonly extents: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** Restores one subtree. Again after a crash: what the first try wrote is compared, not fetched. */
export async function restorePart(
  repository: RepositoryReader,
  store: string,
  snapshotId: SnapshotId,
  target: string,
  subtree: number,
  compare: boolean,
  options: PartOptions,
): Promise<RestoredPart> {
  await repository.sync();
  if (options.pin !== null) await renewPin(repository, options.pin, repository.environment.nowMs());
  const snapshot = repository.ledger().snapshots.get(snapshotId);
  if (!snapshot) throw new HoldfastError('SNAPSHOT_GONE', `snapshot ${snapshotId} was reclaimed`, { snapshot: snapshotId });
  await using opened = await openRestoreTarget(target, { sizeBytes: snapshot.sizeBytes, existing: 'keep' });
  const { extentBytes } = snapshot;
  const write = (fresh: boolean): Promise<RestoreResult> =>
    restoreSubtree({
      values: valuesOf(repository, snapshot, subtree),
      reader: transferReader(repository, store),
      target: fresh ? { ...opened, fresh, clear: (o, n) => opened.clear(o, n), sync: () => opened.sync() } : opened,
      ...{ extentBytes, subtree, write: 'differences', ...options },
    });
  // What a reader of the target will see, held against the map: the last word on the root (docs/guarantees.md).
  const prove = () => proveSubtree({ values: valuesOf(repository, snapshot, subtree), target: opened, extentBytes, subtree, ...options });
  const result = await write(!compare);
  try {
    await prove();
  } catch (error) {
    if (!isHoldfastError(error, 'PROOF_FAILED')) throw error;
    // A try that was taken for dead may have cut the target under this one. What differs is written once more; twice is damage.
    await write(false);
    await prove();
  }
  return { subtree, extents: result.extents, readBytes: result.gotBytes, writtenBytes: result.writtenBytes };
}

/** Makes the target durable and lifts the pin; answers the snapshot if it is hidden and may now be due. */
export async function endRestore(repository: RepositoryReader, target: string, sizeBytes: number, pin: string): Promise<SnapshotId | null> {
  await using opened = await openRestoreTarget(target, { sizeBytes, existing: 'keep' });
  await opened.sync();
  return liftPin(repository, pin);
}

export const releasePin = (repository: RepositoryReader, pin: string): Promise<SnapshotId | null> => liftPin(repository, pin);

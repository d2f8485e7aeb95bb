/**
 * Restores a volume straight from a store, in this process.
 *
 * The snapshot is pinned while it is read, so that a collector elsewhere lets it be. A store that may only be read (a copy on
 * a read-only medium, credentials for reading) cannot be pinned in; then it is read without, and that is said.
 */
import { resolve } from 'node:path';
import { isHoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import type { RestoreResult } from '../../domain/jobs.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import { pinSnapshot, unpin } from '../../engine/repository/pins.ts';
import { findSnapshot, newestVisible, subtreeCount } from '../../engine/repository/transfer-reader.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import { openRestoreTarget } from '../../engine/transfer/restore-target.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { restorePart, type RestoreMode } from '../../systems/lifecycle/restoration.ts';
import type { StoreName } from '../../domain/ids.ts';

export interface RescueRestore {
  readonly volume: VolumeName;
  /** Null: the newest that users see. One that is named may be hidden: until it is reclaimed it can be had back. */
  readonly snapshot: SnapshotId | null;
  readonly target: string;
  readonly mode: RestoreMode;
  readonly threads: Threads;
  readonly onProgress: (progress: RescueProgress) => void;
  readonly say: (line: string) => void;
}

export interface RescueProgress {
  readonly phase: string;
  readonly doneUnits: number;
  readonly totalUnits: number;
  readonly unitBytes: number;
  readonly unitTotalBytes: number;
  readonly readBytes: number;
}

const EXISTING = { create: 'refuse', overwrite: 'replace', differences: 'keep' } as const;
const READ_ONLY = ['STORE_DENIED', 'STORE_FULL', 'STORE_UNREACHABLE'] as const;

/** The pin's name, or null where the store takes none. */
async function tryPin(repository: RepositoryReader, snapshot: SnapshotId, say: (line: string) => void): Promise<string | null> {
  const pin = `rescue.${repository.environment.random(8).toString('hex')}`;
  try {
    await pinSnapshot(repository, pin, snapshot, repository.environment.nowMs() + PIN_MS_DEFAULT, 'rescued');
    return pin;
  } catch (error) {
    if (!isHoldfastError(error, ...READ_ONLY)) throw error;
    say(`the store takes no pin (${error.code}); make sure that nobody deletes the snapshot while it is read`);
    return null;
  }
}

export async function rescueRestore(store: StoreName, repository: RepositoryReader, request: RescueRestore): Promise<RestoreResult> {
  const { volume, mode, threads, onProgress, say } = request;
  const target = resolve(request.target);
  const snapshot = request.snapshot === null ? newestVisible(repository, volume) : findSnapshot(repository, volume, request.snapshot, true);
  const { sizeBytes, extentBytes } = snapshot;
  const subtrees = subtreeCount(sizeBytes, extentBytes);
  const pin = await tryPin(repository, snapshot.id, say);
  try {
    let fresh: boolean;
    {
      await using prepared = await openRestoreTarget(target, { sizeBytes, existing: EXISTING[mode] });
      ({ fresh } = prepared);
    }
    let readBytes = 0;
    let writtenBytes = 0;
    for (let subtree = 0; subtree < subtrees; subtree++) {
      let unitBytes = 0;
      const unitTotalBytes = Math.ceil(sizeBytes / subtrees);
      const part = await restorePart(repository, store, snapshot.id, target, subtree, !fresh, {
        pin,
        threads,
        progress(event) {
          if (event.kind !== 'written') return;
          unitBytes += event.bytes;
          onProgress({ phase: 'restoring', doneUnits: subtree, totalUnits: subtrees, unitBytes, unitTotalBytes, readBytes });
        },
      });
      readBytes += part.readBytes;
      writtenBytes += part.writtenBytes;
    }
    await using written = await openRestoreTarget(target, { sizeBytes, existing: 'keep' });
    await written.sync();
    return { volume, store, snapshot: snapshot.id, target, sizeBytes, readBytes, writtenBytes, root: snapshot.root };
  } finally {
    if (pin !== null) await unpin(repository, pin);
  }
}

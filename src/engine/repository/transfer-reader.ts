/** A repository as the pipeline reads it, and snapshots as it asks for them. */
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import { volumeOf } from '../../domain/ids.ts';
import { SUBTREE_EXTENTS } from '../../domain/limits.ts';
import { isAbsent } from '../map/node.ts';
import { diffMaps, mapRoot, walkMap, type ExtentRange } from '../map/walk.ts';
import type { PlacedValue, ValueReader } from '../transfer/contract.ts';
import type { Snapshot } from './ledger.ts';
import { readLocation } from './location.ts';
import { packNameOf } from './object-names.ts';
import { packKeyOf } from './pack.ts';
import type { RepositoryReader } from './reader.ts';

export function transferReader(repository: RepositoryReader, store: string): ValueReader {
  return {
    store,
    packOf(id) {
      const name = packNameOf(id);
      return { name, packKey: packKeyOf(repository.key, name) };
    },
    read: (name, range, signal) => repository.store.get(name, { range, ...(signal ? { signal } : {}) }),
    async locate(fingerprint) {
      await repository.relook();
      return repository.locate(fingerprint);
    },
  };
}

export const subtreeRange = (subtree: number): ExtentRange => ({ from: subtree * SUBTREE_EXTENTS, to: (subtree + 1) * SUBTREE_EXTENTS });

/** Subtrees that a volume of this size has. */
export const subtreeCount = (sizeBytes: number, extentBytes: number): number =>
  Math.max(1, Math.ceil(sizeBytes / (extentBytes * SUBTREE_EXTENTS)));

/** The extents of a snapshot that are not zeros, in one subtree; with `since`, those that differ from that snapshot's. */
export async function* valuesOf(
  repository: RepositoryReader,
  snapshot: Snapshot,
  subtree: number,
  since: Snapshot | null = null,
): AsyncGenerator<PlacedValue> {
  const root = mapRoot(snapshot.root, snapshot.rootLocation);
  const { readNode } = repository;
  if (since !== null) {
    for await (const change of diffMaps(mapRoot(since.root, since.rootLocation), root, readNode, readNode, subtreeRange(subtree)))
      if (change.level === 0 && !isAbsent(change.new))
        yield {
          extent: change.index,
          fingerprint: change.new,
          location: change.location === null ? null : readLocation(change.location, 0),
        };
    return;
  }
  for await (const value of walkMap(root, readNode, subtreeRange(subtree)))
    if (value.level === 0)
      yield {
        extent: value.index,
        fingerprint: value.fingerprint,
        location: value.location === null ? null : readLocation(value.location, 0),
      };
}

/** A live snapshot that users see; `hidden` ones only for operators. */
export function findSnapshot(repository: RepositoryReader, volume: VolumeName, id: SnapshotId, hidden = false): Snapshot {
  const snapshot = repository.ledger().snapshots.get(id);
  if (!snapshot || volumeOf(snapshot.lineage) !== volume || (snapshot.hidden && !hidden))
    throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id} of ${volume}`, { snapshot: id, volume });
  return snapshot;
}

/** The newest snapshot of a volume that users see, whatever its incarnation. */
export function newestVisible(repository: RepositoryReader, volume: VolumeName): Snapshot {
  const visible = [...repository.ledger().snapshots.values()].filter(
    (snapshot) => !snapshot.hidden && volumeOf(snapshot.lineage) === volume,
  );
  const newest = visible.sort((a, b) => a.seq - b.seq).at(-1);
  if (!newest) throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot of ${volume}`, { volume });
  return newest;
}

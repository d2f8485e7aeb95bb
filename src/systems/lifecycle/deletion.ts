/**
 * Deletion (system A): plan, hide, reclaim. One path for every delete; what is the newest of a living lineage waits as its base.
 *
 * The plan says what would be freed before anything is done: the runs that end if this snapshot went now, and the stored
 * bytes of values whose last run that is.
 */
import type { SnapshotId } from '../../domain/ids.ts';
import { reclaimObstacle, type ReclaimObstacle } from '../../domain/lifecycle.ts';
import { collect, type CollectResult } from '../../engine/repository/collector.ts';
import { factsOf, type Snapshot } from '../../engine/repository/ledger.ts';
import { hideSnapshot, lapsePins, unhideSnapshot } from '../../engine/repository/pins.ts';
import { reclaimBlocks } from '../../engine/repository/reclaim.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { HoldfastError } from '../../domain/errors.ts';

export interface DeletePlan {
  readonly snapshot: SnapshotId;
  /** What will stand against its reclaim once it is hidden; null: it goes at once. */
  readonly waitsFor: ReclaimObstacle | null;
  /** Stored bytes of values that only it holds. */
  readonly freedBytes: number;
  readonly values: number;
}

export async function planDelete(repository: Repository, id: SnapshotId, purge = false): Promise<DeletePlan> {
  const ledger = await repository.sync();
  const snapshot = ledger.snapshots.get(id);
  if (!snapshot) throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id}`, { snapshot: id });
  const waitsFor = reclaimObstacle({ ...factsOf(ledger, snapshot), hidden: true, purge: purge || snapshot.purge });
  const ended = new Map<string, number>();
  for await (const block of reclaimBlocks(repository, ledger, snapshot))
    for (const row of block.minus) {
      const key = row.fingerprint.toString('hex');
      ended.set(key, (ended.get(key) ?? 0) + row.runs);
    }
  let freedBytes = 0;
  let values = 0;
  for (const [key, runs] of ended) {
    const row = repository.table.get(Buffer.from(key, 'hex'));
    if (row === null || row.runs > runs) continue;
    freedBytes += row.location.length;
    values++;
  }
  return { snapshot: id, waitsFor, freedBytes, values };
}

/** What a delete was asked of: the snapshot as it was seen, so that a request delivered twice is known. */
export interface Seen {
  readonly snapshot: SnapshotId;
  readonly version: number;
}

export type Inspection =
  { readonly kind: 'live'; readonly seen: Seen; readonly hidden: boolean; readonly purge: boolean } | { readonly kind: 'gone' };

/** Looks a snapshot up for a delete. Gone: it was committed once and reclaimed. Never heard of: SNAPSHOT_NOT_FOUND. */
export async function inspect(repository: RepositoryReader, id: SnapshotId): Promise<Inspection> {
  const ledger = await repository.sync();
  const snapshot = ledger.snapshots.get(id);
  if (snapshot) return { kind: 'live', seen: { snapshot: id, version: snapshot.version }, hidden: snapshot.hidden, purge: snapshot.purge };
  if (ledger.used.has(id)) return { kind: 'gone' };
  throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id}`, { snapshot: id });
}

export const hide = (repository: RepositoryReader, seen: Seen, purge: boolean): Promise<void> =>
  hideSnapshot(repository, seen.snapshot, seen.version, purge);
export const undelete = (repository: RepositoryReader, seen: Seen): Promise<void> =>
  unhideSnapshot(repository, seen.snapshot, seen.version);

export type DeleteState =
  | { readonly kind: 'pending'; readonly obstacle: ReclaimObstacle }
  | { readonly kind: 'due' }
  | { readonly kind: 'visible' }
  | { readonly kind: 'gone' };

export function deleteState(snapshot: Snapshot | undefined, repository: RepositoryReader): DeleteState {
  if (!snapshot) return { kind: 'gone' };
  if (!snapshot.hidden) return { kind: 'visible' };
  const obstacle = reclaimObstacle(factsOf(repository.ledger(), snapshot));
  return obstacle === null ? { kind: 'due' } : { kind: 'pending', obstacle };
}

/** Reclaims whatever is due: after a hide, and after each commit. Costs what changed. */
export async function reclaimDue(repository: Repository, owner: string): Promise<CollectResult> {
  await lapsePins(repository, repository.environment.nowMs());
  return collect(repository, { owner, full: false });
}

/** The whole of it: lapsed pins, what is due, thin packs, litter of crashes, a checkpoint when one is due. */
export async function collectGarbage(repository: Repository, owner: string): Promise<CollectResult> {
  await lapsePins(repository, repository.environment.nowMs());
  return collect(repository, { owner, full: true });
}

/**
 * What is there: snapshots with their states, as users and as operators see them. Needs a repository and nothing else, so a
 * node, a controller and a rescue answer alike.
 */
import { factsOf, type Snapshot } from '../../engine/repository/ledger.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import { isVisible, reclaimObstacle, snapshotState, type SnapshotState } from '../../domain/lifecycle.ts';
import { volumeOf, type SnapshotId, type VolumeName } from '../../domain/ids.ts';

export interface SnapshotLine {
  readonly id: SnapshotId;
  readonly volume: VolumeName;
  readonly lineage: string;
  readonly state: SnapshotState;
  /** Why a hidden one is still there. */
  readonly obstacle: string | null;
  readonly label: string | null;
  readonly takenMs: number;
  readonly sizeBytes: number;
  readonly consistency: Snapshot['consistency'];
  readonly root: string | null;
}

export const lineOf = (repository: RepositoryReader, snapshot: Snapshot): SnapshotLine => {
  const facts = factsOf(repository.ledger(), snapshot);
  const obstacle = snapshot.hidden ? reclaimObstacle(facts) : null;
  const { id, lineage, label, takenMs, sizeBytes, consistency, root } = snapshot;
  return { id, volume: volumeOf(lineage), lineage, state: snapshotState(facts), obstacle, label, takenMs, sizeBytes, consistency, root };
};

export interface ListOptions {
  readonly volume?: VolumeName;
  /** Hidden ones and attempts under way, too. */
  readonly all?: boolean;
}

export function listSnapshots(repository: RepositoryReader, { volume, all = false }: ListOptions = {}): readonly SnapshotLine[] {
  const lines = [...repository.ledger().snapshots.values()].map((snapshot) => lineOf(repository, snapshot));
  return lines.filter((line) => (volume === undefined || line.volume === volume) && (all || isVisible(line.state)));
}

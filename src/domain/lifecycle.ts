/**
 * The life of a snapshot, as one pure state machine: CREATING -> AVAILABLE -> DELETE_PENDING -> RECLAIMING -> GONE.
 *
 *     CREATING ──▶ AVAILABLE ──▶ DELETE_PENDING ──▶ RECLAIMING ──▶ GONE
 *                      ◀── undelete ──┘
 *
 * The log knows four facts of a snapshot: its claim is open, it was committed, it is hidden, it was reclaimed. Everything
 * else follows. A hidden snapshot waits (DELETE_PENDING) while a reason stands against its reclaim: it is the newest of a
 * living lineage and hence the base of the next increment, an open attempt builds on it, or somebody reads it. Without a
 * reason it is due (RECLAIMING) and any collector takes it. The repository's reducer refuses a RECLAIM by the same
 * function that the workflows ask, so the two cannot disagree.
 */

const SNAPSHOT_STATES = ['CREATING', 'AVAILABLE', 'DELETE_PENDING', 'RECLAIMING', 'GONE'] as const;
export type SnapshotState = (typeof SNAPSHOT_STATES)[number];

export interface SnapshotFacts {
  readonly committed: boolean;
  readonly reclaimed: boolean;
  readonly hidden: boolean;
  /** Somebody reads it: a restore, a copy, a mount. */
  readonly pinned: boolean;
  /** An open claim of its lineage builds on it. */
  readonly baseOfAttempt: boolean;
  readonly newest: boolean;
  /** Its volume was retired: no next increment can come. */
  readonly retired: boolean;
  /** Its deletion gave up the base: the next ship is full. */
  readonly purge: boolean;
}

const RECLAIM_OBSTACLES = ['not hidden', 'pinned', 'base of an open attempt', 'newest of a living lineage'] as const;
export type ReclaimObstacle = (typeof RECLAIM_OBSTACLES)[number];

/** What stands against reclaiming a committed snapshot, or null when it is due. */
export function reclaimObstacle(facts: SnapshotFacts): ReclaimObstacle | null {
  if (!facts.hidden) return 'not hidden';
  if (facts.pinned) return 'pinned';
  if (facts.baseOfAttempt) return 'base of an open attempt';
  if (facts.newest && !facts.retired && !facts.purge) return 'newest of a living lineage';
  return null;
}

export function snapshotState(facts: SnapshotFacts): SnapshotState {
  if (facts.reclaimed) return 'GONE';
  if (!facts.committed) return 'CREATING';
  if (!facts.hidden) return 'AVAILABLE';
  return reclaimObstacle(facts) === null ? 'RECLAIMING' : 'DELETE_PENDING';
}

/** Users see AVAILABLE snapshots; operators see all that hold bytes. */
export const isVisible = (state: SnapshotState): boolean => state === 'AVAILABLE';

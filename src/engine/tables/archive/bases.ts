/**
 * What a base still remembers, and whether that is enough for what came since (docs/tables.md, section 6). Pure.
 *
 * A base forgets deletes below its floor. That is safe while no event of a key they took can come up from below it: neither because it is sent
 * again, nor because the key has moved and an older row of it stands in another partition. So where keys may have moved, floors
 * rise no more (PartitionState.floorMost), and what is sent again counts whichever partition it comes through.
 */
import type { SnapshotEntry } from './entries.ts';
import type { PartitionState, TableState } from './state.ts';

/** Whether nothing that came after a base, and nothing that moved, reaches below its floor. */
export function remembersEnough(state: TableState, partition: PartitionState, base: SnapshotEntry): boolean {
  const sentAgainFrom = state.moved?.sentAgainFrom ?? null;
  if (sentAgainFrom !== null && sentAgainFrom < base.floor) return false;
  return partition.parts.every((part) => part.from < base.offset || part.lateMin === null || part.lateMin >= base.floor);
}

/** The newest base that remembers enough; null: none does, and the parts reach back to offset 0; `gone`: they do not. */
export function newestBase(state: TableState, partition: PartitionState): SnapshotEntry | null | 'gone' {
  const base = partition.snapshots.findLast((one) => remembersEnough(state, partition, one));
  if (base !== undefined) return base;
  return (partition.parts[0]?.from ?? 0) > 0 ? 'gone' : null;
}

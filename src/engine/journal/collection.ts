/**
 * What may be deleted in a region of a journal, by anybody, from a view of the log of any age (docs/journal.md, section 7; J12).
 *
 * Once true it stays true: an end is final, `isNeeded` never comes back, and a snapshot that is too low to be recorded as a base
 * stays too low. Seals and log records are never deleted, nor is what an epoch wrote that this view does not know.
 */
import { isNeeded, keepOf } from './holdings.ts';
import type { JournalState } from './state.ts';

/** Of a batch or a copy of one; seals are not asked about, for they stay. */
export function mayDeleteBatch(state: JournalState, region: string, epoch: number, index: number): boolean {
  const known = state.epochs.get(epoch);
  if (known === undefined) return false;
  return (known.end !== null && index > known.end.index) || !isNeeded(state, region, epoch, index);
}

/** A snapshot in the region's repository that was made to be a base; its label says of which epoch and from which number. */
export interface BaseSnapshot {
  readonly id: string;
  readonly epoch: number;
  readonly from: number;
}

export function mayDeleteSnapshot(state: JournalState, region: string, snapshot: BaseSnapshot): boolean {
  const bases = state.bases.get(region) ?? [];
  const recorded = bases.findIndex(({ snapshots }) => snapshots.some(({ id }) => id === snapshot.id));
  const keep = keepOf(state, region);
  if (recorded >= 0) return keep !== undefined && recorded < bases.indexOf(keep);
  const highest = state.highest.get(region);
  if (highest === undefined) return false;
  return snapshot.epoch < highest.epoch || (snapshot.epoch === highest.epoch && snapshot.from <= highest.from);
}

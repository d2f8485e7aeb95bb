/**
 * What follows from a journal's state about who holds what: pure, asked of a state of any age (docs/journal.md, section 7).
 *
 * Invariant J12: `needed` only ever turns from yes to no as the log grows, region by region: bases rise, the floor rises, and
 * what an OPEN drops was above the floor. So whoever deletes what is not needed in an old view deletes nothing that is needed now.
 */
import type { BaseEntry } from './entries.ts';
import type { Epoch, JournalState } from './state.ts';

/** The base below which the region needs no journal: its newest that is finished by the floor. */
export const keepOf = (state: JournalState, region: string): BaseEntry | undefined =>
  state.bases.get(region)?.findLast(({ to }) => to <= state.floor);

/** What a replay in a region begins with. */
export type ReplayStart = { readonly kind: 'empty' } | { readonly kind: 'base'; readonly base: BaseEntry };

/**
 * What a replay to point `seq` begins with in this region, or null when it has nothing for that: J9, but for the batches
 * themselves. `gaps` are the numbers of the gaps that were read so far.
 */
export function replayStart(state: JournalState, region: string, seq: number, gaps: Iterable<number> = []): ReplayStart | null {
  if (seq < state.floor) return null;
  const cuts = [...gaps].filter((gap) => gap <= seq);
  const newestCut = Math.max(0, ...cuts);
  const base = state.bases.get(region)?.findLast(({ from, to }) => to <= seq && from >= newestCut);
  if (base !== undefined) return { kind: 'base', base };
  return newestCut === 0 && keepOf(state, region) === undefined ? { kind: 'empty' } : null;
}

/** Whether the region has to hold this batch for the sake of a point at or above the floor. */
export function isNeeded(state: JournalState, region: string, epoch: number, index: number): boolean {
  const keep = keepOf(state, region);
  return keep === undefined || epoch > keep.at.epoch || (epoch === keep.at.epoch && index > keep.at.index);
}

/** Whether the region holds all that is needed of a closed epoch, by a copy of it or by a base above it. */
export function holdsAll(state: JournalState, region: string, { epoch, end, full }: Epoch): boolean {
  return end !== null && (end.index < 0 || full.includes(region) || !isNeeded(state, region, epoch, end.index));
}

/** Whether the region lacks nothing of the closed epochs. Only such a one may get a base that the floor has not passed. */
export const isWhole = (state: JournalState, region: string): boolean =>
  [...state.epochs.values()].every((epoch) => epoch.end === null || holdsAll(state, region, epoch));

/** Closed epochs of which fewer than two regions hold all: what is lost with one more region, or lacks in the current members. */
export function atRisk(state: JournalState): readonly Epoch[] {
  const regions = new Set(state.bases.keys());
  for (const { members, full } of state.epochs.values())
    for (const region of [...full, ...members.map((one) => one.region)]) regions.add(region);
  const holders = (epoch: Epoch): number => [...regions].filter((region) => holdsAll(state, region, epoch)).length;
  return [...state.epochs.values()].filter((epoch) => epoch.end !== null && epoch.end.index >= 0 && holders(epoch) < 2);
}

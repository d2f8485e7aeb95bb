/**
 * What the state of a journal means, said a second time and on purpose: the oracle must not take the product's word for what a region
 * needs, or a safeguard that is taken out there would be taken out here, too. Straight from docs/journal.md, section 7.
 */
import type { BaseEntry } from '../../../src/engine/journal/entries.ts';
import type { JournalState } from '../../../src/engine/journal/state.ts';

/** The newest base of a region that is finished by the floor. */
export function keptBase(state: JournalState, region: string): BaseEntry | null {
  let kept: BaseEntry | null = null;
  for (const base of state.bases.get(region) ?? []) if (base.to <= state.floor) kept = base;
  return kept;
}

export function isNeededBy(state: JournalState, region: string, epoch: number, index: number): boolean {
  const kept = keptBase(state, region);
  return kept === null || epoch > kept.at.epoch || (epoch === kept.at.epoch && index > kept.at.index);
}

/** Null: no base, nor the beginning, serves this point. `from` 0 with no base: the empty volumes. */
export function startFor(
  state: JournalState,
  region: string,
  seq: number,
  gaps: readonly number[],
): { readonly from: number; readonly base: BaseEntry | null } | null {
  if (seq < state.floor) return null;
  const cut = Math.max(0, ...gaps.filter((gap) => gap <= seq));
  let best: BaseEntry | null = null;
  for (const base of state.bases.get(region) ?? []) if (base.to <= seq && base.from >= cut) best = base;
  if (best !== null) return { from: best.from, base: best };
  return cut === 0 && keptBase(state, region) === null ? { from: 0, base: null } : null;
}

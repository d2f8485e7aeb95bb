/**
 * Where a look at the points of a journal may begin: at each base that can be reached, and at the empty volume while some region
 * has dropped nothing.
 *
 * Invariant: points are possible from one of these on and from nowhere else (J9): `leadsTo` says of a number, with the newest gap
 * before it, whether one of them leads there.
 */
import type { ChainMark } from '../chain.ts';
import { keepOf } from '../holdings.ts';
import type { JournalState } from '../state.ts';
import { readHistory } from './history.ts';
import { beginningOf, comparePlaces, markAfter } from './marks.ts';
import { isDamage, regionsOf, type Reading } from './reading.ts';

export interface Beginning {
  /** A replay from here leaves out numbers up to `from`, and gives points from `to` on. */
  readonly from: number;
  readonly to: number;
  readonly mark: ChainMark;
}

/** Ascending by place. */
export function beginningsOf(reading: Reading, state: JournalState): readonly Beginning[] {
  const found: Beginning[] = [];
  for (const region of regionsOf(reading, state)) {
    const [first] = state.epochs.values();
    if (first !== undefined && keepOf(state, region) === undefined) found.push({ from: 0, to: 0, mark: beginningOf(first) });
    if (!reading.journal.regions.has(region)) continue;
    // Below the one that is kept nothing is kept: what leads from there to a point may be gone, and is not asked for.
    const bases = state.bases.get(region) ?? [];
    const kept = bases.findLastIndex(({ to }) => to <= state.floor);
    for (const base of bases.slice(Math.max(0, kept))) {
      const mark = markAfter(state, { kind: 'base', base });
      if (mark !== null) found.push({ from: base.from, to: base.to, mark });
    }
  }
  return found.sort((a, b) => comparePlaces(a.mark, b.mark) || a.from - b.from);
}

/** Whether a replay from one of them gives point `seq`, when order was lost at `cut` last; 0: never. */
export const leadsTo = (beginnings: readonly Beginning[], seq: number, cut: number): boolean =>
  beginnings.some(({ from, to }) => to <= seq && from >= cut);

/**
 * From where to read so that all is known of points from `seq` on: the newest that is finished by then and after which it is read,
 * else the first of all. From an unfinished one a gap before it would stay unseen, which cuts off what is older. (The point of an
 * exact base is not seen once the batch that held it is gone: it can be recovered, but whether it was a flush nobody knows.)
 */
export const beginningBy = (beginnings: readonly Beginning[], seq: number): Beginning | undefined =>
  beginnings.findLast(({ to, mark }) => to <= seq && mark.next <= seq) ?? beginnings[0];

/** Label of the first batch after a mark, in `Us`; null: nothing follows, or nothing that is to be had, and `onSilent` is told who was not heard. */
export async function firstLabel(
  reading: Reading,
  state: JournalState,
  mark: ChainMark,
  onSilent: (regions: readonly string[]) => void = () => undefined,
): Promise<number | null> {
  try {
    const first = await readHistory(reading, state, mark).next();
    if (first.done !== true) return first.value.head.labelUs;
    onSilent(first.value.silent);
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  return null;
}

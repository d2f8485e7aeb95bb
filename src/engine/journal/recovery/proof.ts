/**
 * What proves a recovery as a whole: a region's exact base of the same point, whose snapshots have roots. A recovery over another
 * base, or from another region, has to come to the same.
 */
import type { BaseSnapshots } from '../keeping/bases.ts';
import type { JournalState } from '../state.ts';
import type { Point } from './plan.ts';

export interface ExactBase {
  readonly region: string;
  readonly snapshots: BaseSnapshots;
}

/** Bases that are the point itself; none: what is recovered is proven batch by batch, and not as a whole. */
export const exactBasesAt = (state: JournalState, { epoch, seq }: Point): readonly ExactBase[] =>
  [...state.bases].flatMap(([region, bases]) =>
    bases.filter(({ from, to, at }) => from === seq && to === seq && at.epoch === epoch).map(({ snapshots }) => ({ region, snapshots })),
  );

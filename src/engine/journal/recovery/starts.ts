/**
 * What a recovery of a point may begin with: in each region its newest base that is finished by the point, or the empty volume (J9).
 */
import type { BaseEntry } from '../entries.ts';
import { keepOf, replayStart, type ReplayStart } from '../holdings.ts';
import { comparePlaces } from '../reading/marks.ts';
import { regionsOf, type Reading } from '../reading/reading.ts';
import type { Place } from '../sealed-object.ts';
import type { JournalState } from '../state.ts';

/** A beginning, and the region whose base it is. */
export interface StartIn {
  readonly region: string;
  readonly start: ReplayStart;
}

export interface StartsWanted {
  readonly seq: number;
  /** Numbers of the gaps that were read so far. */
  readonly gaps: ReadonlySet<number>;
  /** Ids of snapshots that are not to be had. */
  readonly unusable: ReadonlySet<string>;
  /** A batch that is not to be had: only a base that holds it already, or lies behind it, will do. */
  readonly beyond?: Place | null;
}

const usable = (base: BaseEntry, unusable: ReadonlySet<string>): boolean => !base.snapshots.some(({ id }) => unusable.has(id));

/** Preferred regions first, then those with the newest base: the least to replay. */
export function startsFor(reading: Reading, state: JournalState, { seq, gaps, unusable, beyond = null }: StartsWanted): readonly StartIn[] {
  const bases = new Map([...state.bases].map(([region, some]) => [region, some.filter((base) => usable(base, unusable))]));
  const known = { ...state, bases };
  const starts = regionsOf(reading, state).flatMap((region): StartIn[] => {
    const start = replayStart(known, region, seq, gaps);
    if (beyond !== null && (start?.kind !== 'base' || comparePlaces(start.base.at, beyond) < 0)) return [];
    // A base is only of use to who reaches its region; the batches may come from another.
    if (start?.kind === 'base' && !reading.journal.regions.has(region)) return [];
    // What was dropped below an unusable base is dropped all the same.
    if (start === null || (start.kind === 'empty' && keepOf(state, region) !== undefined)) return [];
    return [{ region, start }];
  });
  const rank = ({ region }: StartIn): number => {
    const preferred = reading.prefer.indexOf(region);
    return preferred < 0 ? reading.prefer.length : preferred;
  };
  return starts.sort((a, b) => rank(a) - rank(b) || byPlace(b.start, a.start));
}

export function byPlace(a: ReplayStart, b: ReplayStart): number {
  if (a.kind === 'empty' || b.kind === 'empty') return Number(a.kind !== 'empty') - Number(b.kind !== 'empty');
  return a.base.at.epoch - b.base.at.epoch || a.base.from - b.base.from;
}

/**
 * Which point is that of a time: the largest number with a label that is not later.
 *
 * Labels do not fall within an epoch, but another owner's clock may be behind. So the journal is taken apart at its bases and at
 * the beginnings of its epochs; the newest part that begins by the time is read, and only when it has no point the one before.
 */
import type { ChainMark } from '../chain.ts';
import type { JournalState } from '../state.ts';
import { HoldfastError } from '../../../domain/errors.ts';
import { beginningBy, beginningsOf, firstLabel, type Beginning } from './beginnings.ts';
import { beginningOf, comparePlaces } from './marks.ts';
import { walkPoints, type Hole, type RecoveryPoint } from './points.ts';
import type { Reading } from './reading.ts';

export interface PointAt {
  readonly point: RecoveryPoint;
  /** How long before the time that was asked for. */
  readonly beforeUs: number;
  /** Who did not answer, in words: a later point by then may be there. Null: nobody that matters. */
  readonly unheard: string | null;
}

/** Null: no point by then can be recovered. STORE_UNREACHABLE: there may be one, in a region that does not answer. */
export async function pointAt(reading: Reading, timeUs: number): Promise<PointAt | null> {
  const state = await reading.journal.log.sync();
  const beginnings = beginningsOf(reading, state);
  const parts = [...beginnings.map(({ mark }) => mark), ...[...state.epochs.values()].map(beginningOf)].sort(comparePlaces);
  let end: ChainMark | null = null;
  const missed: Missed = { silent: new Set(), hole: null };
  for (const part of parts.reverse()) {
    if (end !== null && comparePlaces(part, end) === 0) continue;
    const earlier = beginnings.filter(({ mark }) => comparePlaces(mark, part) <= 0);
    const begin = beginningBy(earlier, part.next);
    if (begin === undefined) return noneBut(reading, missed);
    const labelUs = await firstLabel(reading, state, part, (regions) => regions.forEach((region) => missed.silent.add(region)));
    if (labelUs !== null && labelUs <= timeUs) {
      const point = await lastBy(reading, state, { beginnings, begin, part, end }, timeUs, missed);
      if (point !== null) return { point, beforeUs: timeUs - point.labelUs, unheard: whyNot(missed) };
    }
    end = part;
  }
  return noneBut(reading, missed);
}

/** What was not heard on the way. */
interface Missed {
  readonly silent: Set<string>;
  /** Batches that only a silent region may have. */
  hole: Hole | null;
}

const whyNot = ({ silent, hole }: Missed): string | null =>
  silent.size > 0 ? `${[...silent].join(', ')} did not answer` : (hole?.message ?? null);

/** There is no point; or there may be one where nobody answered. */
function noneBut({ journal: { name } }: Reading, missed: Missed): null {
  const why = whyNot(missed);
  if (why === null) return null;
  throw new HoldfastError('STORE_UNREACHABLE', `a point of ${name} may be where it cannot be asked for: ${why}`, { journal: name });
}

interface Part {
  readonly beginnings: readonly Beginning[];
  readonly begin: Beginning;
  readonly part: ChainMark;
  /** Where the next part begins. */
  readonly end: ChainMark | null;
}

/** The last point of a part that is labelled by a time. */
async function lastBy(
  reading: Reading,
  state: JournalState,
  { beginnings, begin, part, end }: Part,
  timeUs: number,
  missed: Missed,
): Promise<RecoveryPoint | null> {
  let last: RecoveryPoint | null = null;
  for await (const met of walkPoints(reading, state, beginnings, begin)) {
    if (met.kind === 'point' && met.point.labelUs <= timeUs) last = met.point;
    if (met.kind === 'silent') met.regions.forEach((region) => missed.silent.add(region));
    if (met.kind === 'hole' && met.hole.code === 'STORE_UNREACHABLE') missed.hole = met.hole;
    if (met.kind !== 'batch') continue;
    if (met.labelUs > timeUs && comparePlaces(met, part) >= 0) break;
    if (end !== null && comparePlaces({ epoch: met.epoch, index: met.index + 1 }, end) >= 0) break;
  }
  return last;
}

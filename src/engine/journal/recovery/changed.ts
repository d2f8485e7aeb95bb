/**
 * What was written between two points: which places of which volume, without the data, from heads alone.
 *
 * Invariant: whoever has the volumes as they were at `after`, and takes of these places what they hold at `through`, has them as they were at
 * `through`; every number in between was seen, in one unbroken chain. Where order was lost in between there are changes without a
 * record, and where a batch is nowhere there are some that nobody can read; so that is told instead: then anything may differ.
 *
 * Memory is bounded as that of a plan is (plan.ts).
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { RECOVERY_BATCHES_MAX } from '../../../domain/limits.ts';
import { lastOf } from '../batch.ts';
import type { ChainMark } from '../chain.ts';
import { beginningsOf } from '../reading/beginnings.ts';
import { lostBatchOf } from '../reading/copies.ts';
import { readHistory } from '../reading/history.ts';
import { beginningOf, comparePlaces } from '../reading/marks.ts';
import { unheard, type Reading } from '../reading/reading.ts';
import type { JournalState } from '../state.ts';
import { planRecovery, type Point } from './plan.ts';
import { placeOf } from './replay.ts';
import { startsFor } from './starts.ts';
import { createStretchMap, firstAfter, ZEROS, type Stretches } from './stretches.ts';

export interface ChangedWanted {
  /** What is numbered up to here is not asked for. */
  readonly after: Point;
  readonly through: Point;
  /** Only these; without it all. */
  readonly volumes?: ReadonlySet<number>;
}

export interface Place {
  readonly offset: number;
  readonly length: number;
}

export type Changed =
  | {
      readonly kind: 'places';
      /** Ascending, none touching the next; of a volume that nobody wrote to none. */
      places(volume: number): Iterable<Place>;
      readonly records: number;
    }
  /** Order, or a batch, was lost here last, and a base came after it: `through` is a point, and what it differs by nobody knows. */
  | { readonly kind: 'unknown'; readonly gap: number };

const gone = ({ epoch, seq }: Point, why: string): HoldfastError =>
  new HoldfastError('POINT_GONE', `number ${seq} of epoch ${epoch}: ${why}`, { epoch, seq });

/**
 * POINT_GONE when one of the two is in no epoch, past its end, or below the floor, or when order was lost before `through` and no base came
 * after it; DAMAGED, OBJECT_MISSING or the like, with `details.soundSeq`, when a batch between them is in no region, and no base holds it that
 * leads to `through`; STORE_UNREACHABLE when it may be in one that is silent; RECOVERY_TOO_LARGE. Pin `after` before, or the floor may pass it.
 */
export async function changedSince(reading: Reading, wanted: ChangedWanted): Promise<Changed> {
  const { log } = reading.journal;
  for (let state = await log.sync(); ;) {
    const changed = await changedIn(reading, state, wanted)
      .catch((error: unknown) => acrossLoss(reading, state, wanted, error))
      .catch((error: unknown) => ({ error }));
    const now = await log.sync();
    if (!('error' in changed)) {
      refuseOutside(now, wanted);
      return changed;
    }
    // An old view may have looked for what is collected since: once more with the new one.
    if (now.n === state.n) throw changed.error;
    state = now;
  }
}

/** Two numbers that are not, or no more, of the journal's history, or are in the wrong order. */
function refuseOutside(state: JournalState, { after, through }: ChangedWanted): void {
  for (const point of [after, through]) {
    const epoch = state.epochs.get(point.epoch);
    if (epoch === undefined || point.seq < epoch.start - 1) throw gone(point, 'it never was');
    if (epoch.end !== null && point.seq > epoch.end.seq) throw gone(point, 'it lies past the end of its epoch');
  }
  if (after.seq < state.floor) throw gone(after, `the floor is ${state.floor}`);
  if (through.seq < after.seq || through.epoch < after.epoch) throw gone(through, `it does not come after ${after.seq}`);
}

async function changedIn(reading: Reading, state: JournalState, wanted: ChangedWanted): Promise<Changed> {
  refuseOutside(state, wanted);
  const { after, through, volumes } = wanted;
  const map = createStretchMap();
  let [records, heads, gap] = [0, 0, 0];
  const found = (): Changed => {
    if (gap === 0) return { kind: 'places', places: placesOf(map.finish()), records };
    const starts = startsFor(reading, state, { seq: through.seq, gaps: new Set([gap]), unusable: new Set() });
    if (starts.length === 0) throw gone(through, `order was lost at ${gap}`);
    return { kind: 'unknown', gap };
  };
  if (after.seq === through.seq) return found();
  const history = readHistory(reading, state, lastMarkBefore(reading, state, after));
  let step = await history.next();
  for (; step.done !== true; step = await history.next()) {
    const { head } = step.value;
    for (const { kind, seq, volume, offset, length } of head.rows) {
      if (seq <= after.seq || seq > through.seq) continue;
      records++;
      if (kind === 'gap') gap = Math.max(gap, seq);
      // As zeros of one batch: then what touches is one place.
      else if (kind !== 'flush' && volumes?.has(volume) !== false) map.add(volume, offset, length, 0, ZEROS);
    }
    if (lastOf(head) >= through.seq) return found();
    if (++heads > RECOVERY_BATCHES_MAX)
      throw new HoldfastError('RECOVERY_TOO_LARGE', `more than ${RECOVERY_BATCHES_MAX} batches lie between the two`, { batches: heads });
  }
  // A member that was not heard may have it.
  const { silent } = step.value;
  const { epoch, seq } = through;
  if (silent.length > 0) throw unheard(`number ${seq} of epoch ${epoch}`, silent, { epoch, seq });
  throw gone(through, 'it is not acknowledged, as far as the regions tell');
}

/** The same over a batch that is nowhere: not what it changed, but whether a base that holds it leads on from there. */
async function acrossLoss(reading: Reading, state: JournalState, { through }: ChangedWanted, error: unknown): Promise<Changed> {
  const beyond = lostBatchOf(error);
  if (beyond === null || !isHoldfastError(error)) throw error;
  if (startsFor(reading, state, { seq: through.seq, gaps: new Set(), unusable: new Set(), beyond }).length === 0) throw error;
  await planRecovery(reading, { point: through, beyond });
  return { kind: 'unknown', gap: Number(error.details['soundSeq']) + 1 };
}

/** From where the least is read that has all that follows a number. A later epoch begins above it, or right after it, where its own ends. */
function lastMarkBefore(reading: Reading, state: JournalState, { epoch, seq }: Point): ChainMark {
  const marks = [...beginningsOf(reading, state).map(({ mark }) => mark), ...[...state.epochs.values()].map(beginningOf)];
  const last = marks
    .filter(({ next }) => next <= seq + 1)
    .sort(comparePlaces)
    .at(-1);
  if (last === undefined) throw gone({ epoch, seq }, 'what follows it is kept nowhere');
  return last;
}

/** What is longer than a stretch can say is several in the map, and one here. */
const placesOf = (stretches: Stretches) =>
  function* (volume: number): Generator<Place> {
    let open: Place | null = null;
    for (let i = firstAfter(stretches, volume, 0); i < stretches.count && stretches.volumes[i] === volume; i++) {
      const { offset, length } = placeOf(stretches, i);
      if (open !== null && open.offset + open.length === offset) open = { offset: open.offset, length: open.length + length };
      else {
        if (open !== null) yield open;
        open = { offset, length };
      }
    }
    if (open !== null) yield open;
  };

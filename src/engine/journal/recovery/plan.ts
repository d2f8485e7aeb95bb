/**
 * The plan of a recovery: which base, and over it which stretch of which batch. Made of heads alone, without the data.
 *
 * Invariant: the base and the stretches over it are the volumes at the point, whatever was written after it and however often a
 * place was written before it: every number after the base up to the point was seen, in an unbroken chain, and no gap among them.
 * A region whose base does not lead there (a gap, a batch that no region has) is left for the next one.
 *
 * Memory: the stretches (stretches.ts), RECOVERY_BATCHES_MAX batches, and what the history reads ahead.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { RECOVERY_BATCHES_MAX } from '../../../domain/limits.ts';
import { lastOf, type BatchHead } from '../batch.ts';
import type { ReplayStart } from '../holdings.ts';
import { readHistory, type ReadHead } from '../reading/history.ts';
import { markAfter } from '../reading/marks.ts';
import { isDamage, unheard, type Reading } from '../reading/reading.ts';
import type { Place } from '../sealed-object.ts';
import type { Epoch, JournalState } from '../state.ts';
import { startsFor, type StartIn } from './starts.ts';
import { createStretchMap, ZEROS, type Stretches } from './stretches.ts';

/** A number and its epoch: in mode `local` a number can be given twice. */
export interface Point {
  readonly epoch: number;
  readonly seq: number;
}

export interface PlannedBatch {
  readonly epoch: number;
  readonly index: number;
  /** Number of its first record. */
  readonly first: number;
  readonly after: Uint8Array;
}

export interface RecoveryPlan {
  readonly point: Point;
  /** Label of the batch that holds the point, in `Us`; 0 when the point is that of its base. */
  readonly labelUs: number;
  /** The region whose base it is. */
  readonly region: string;
  readonly start: ReplayStart;
  readonly batches: readonly PlannedBatch[];
  readonly stretches: Stretches;
  readonly heads: number;
  readonly records: number;
}

export interface Wanted {
  readonly point: Point;
  /** Ids of snapshots of bases that are not to be had, as somebody has found. */
  readonly unusable?: ReadonlySet<string>;
  /** A batch whose data is not to be had, as somebody has found: it is planned over a base that holds it. */
  readonly beyond?: Place | null;
  /** Told of each base that it is tried over, before what follows it is read. The last one is the plan's. */
  readonly onStart?: (start: StartIn) => void;
}

const gone = ({ epoch, seq }: Point, why: string): HoldfastError =>
  new HoldfastError('POINT_GONE', `point ${seq} of epoch ${epoch}: ${why}`, { epoch, seq });

/**
 * POINT_GONE; DAMAGED, OBJECT_MISSING or the like, with `details.soundSeq`, when a batch that it needs is in no region;
 * STORE_UNREACHABLE when it may be in one that is silent; RECOVERY_TOO_LARGE. Pin the point before, or the floor may pass it.
 */
export async function planRecovery(reading: Reading, wanted: Wanted): Promise<RecoveryPlan> {
  const { log } = reading.journal;
  for (let state = await log.sync(); ;) {
    const plan = await planFrom(reading, state, wanted).catch((error: unknown) => ({ error }));
    const now = await log.sync();
    if (!('error' in plan)) {
      refuseOutside(now, wanted.point);
      return plan;
    }
    // An old view may have looked for what is collected since: once more with the new one.
    if (now.n === state.n) throw plan.error;
    state = now;
  }
}

/** A point that is in no epoch, past an end, or below the floor. */
function refuseOutside(state: JournalState, point: Point): void {
  const epoch = state.epochs.get(point.epoch);
  const { seq } = point;
  if (epoch === undefined || seq < epoch.start - 1) throw gone(point, 'it never was');
  if (epoch.end !== null && seq > epoch.end.seq) throw gone(point, 'it lies past the end of its epoch');
  if (seq < state.floor) throw gone(point, `the floor is ${state.floor}`);
}

async function planFrom(
  reading: Reading,
  state: JournalState,
  { point, unusable = new Set<string>(), beyond = null, onStart = () => undefined }: Wanted,
): Promise<RecoveryPlan> {
  refuseOutside(state, point);
  const gaps = new Set<number>();
  const tried = new Set<string>();
  let why: unknown = gone(point, 'no base leads there');
  for (;;) {
    // A gap that was met rules out others, too, so the list is made anew.
    const next = startsFor(reading, state, { seq: point.seq, gaps, unusable, beyond }).find(({ region }) => !tried.has(region));
    if (next === undefined) throw gaps.size > 0 && !isSilent(why) ? gone(point, `order was lost at ${Math.max(...gaps)}`) : why;
    tried.add(next.region);
    onStart(next);
    try {
      return await planOver(reading, state, point, next, gaps);
    } catch (error) {
      if (!isDamage(error) && !isHoldfastError(error, 'STORE_UNREACHABLE', 'POINT_GONE')) throw error;
      if (!isSilent(why)) why = error;
    }
  }
}

const isSilent = (error: unknown): boolean => isHoldfastError(error, 'STORE_UNREACHABLE');

/** Over one base. Adds to `gaps` those that it meets. */
async function planOver(
  reading: Reading,
  state: JournalState,
  point: Point,
  { region, start }: StartIn,
  gaps: Set<number>,
): Promise<RecoveryPlan> {
  const gathered = gather({ region, start });
  const { from } = gathered;
  const begin = markAfter(state, start);
  if (begin === null) throw gone(point, 'the journal has no epoch yet');
  if (begin.next > point.seq) return gathered.plan(point);
  const history = readHistory(reading, state, begin);
  let step = await history.next();
  for (; step.done !== true; step = await history.next()) {
    const { head } = step.value;
    gathered.add(head, point.seq);
    for (const gap of gathered.gaps) gaps.add(gap);
    if ([...gaps].some((gap) => gap > from && gap <= point.seq)) throw gone(point, 'order was lost before it');
    if (lastOf(head) >= point.seq) return gathered.plan(point);
  }
  // A member that was not heard may have it.
  const { silent } = step.value;
  if (silent.length > 0) throw unheard(`point ${point.seq} of epoch ${point.epoch}`, silent, { epoch: point.epoch, seq: point.seq });
  throw gone(point, 'it is not acknowledged, as far as the regions tell');
}

interface Gathered {
  /** What is numbered up to here is in the base. */
  readonly from: number;
  /** Gaps after it. */
  readonly gaps: readonly number[];
  /** Takes the next head, as far as a number. RECOVERY_TOO_LARGE. */
  add(head: BatchHead, through?: number): void;
  plan(point: Point): RecoveryPlan;
}

/** A plan over a base, as heads are taken one after another. */
function gather({ region, start }: StartIn): Gathered {
  const from = start.kind === 'base' ? start.base.from : 0;
  const map = createStretchMap();
  const batches: PlannedBatch[] = [];
  const gaps: number[] = [];
  let [labelUs, heads, records] = [0, 0, 0];
  return {
    ...{ from, gaps },
    add({ epoch, index, first, after, rows, labelUs: label }, through = Infinity) {
      heads++;
      labelUs = label;
      for (const { kind, seq, volume, offset, length, place } of rows) {
        if (seq <= from || seq > through) continue;
        records++;
        if (kind === 'gap') gaps.push(seq);
        else if (kind !== 'flush') map.add(volume, offset, length, batches.length, kind === 'zero' ? ZEROS : place);
      }
      if (batches.push({ epoch, index, first, after }) > RECOVERY_BATCHES_MAX)
        throw new HoldfastError('RECOVERY_TOO_LARGE', `more than ${RECOVERY_BATCHES_MAX} batches follow the base`, {
          batches: batches.length,
        });
    },
    plan: (point) => ({ ...{ point, labelUs, region, start, batches, heads, records }, stretches: map.finish() }),
  };
}

export interface PlannedFold {
  readonly plan: RecoveryPlan;
  /** What it ends with. */
  readonly last: BatchHead;
}

/**
 * A plan over the newest base of a region, up to the last head that `judge` takes, each head read once; `end`: no later one is wanted, nor what
 * comes after epoch `through`. Null: there is none, order was lost before it, or it is older than what the base was finished with. Errors as of
 * `planRecovery`.
 */
export async function planFold(
  reading: Reading,
  state: JournalState,
  region: string,
  through: Epoch,
  judge: (read: ReadHead) => 'take' | 'pass' | 'end',
): Promise<PlannedFold | null> {
  const base = state.bases.get(region)?.at(-1);
  const start: ReplayStart = base === undefined ? { kind: 'empty' } : { kind: 'base', base };
  const begin = markAfter(state, start);
  if (begin === null) return null;
  const gathered = gather({ region, start });
  /** Since the last that was taken: empty ones, or none. */
  const passed: BatchHead[] = [];
  let last: BatchHead | null = null;
  for await (const read of readHistory(reading, state, begin)) {
    const verdict = judge(read);
    if (verdict === 'end') break;
    passed.push(read.head);
    if (verdict === 'take') {
      for (const head of passed.splice(0)) gathered.add(head);
      last = read.head;
    }
    // What ends the gap comes from the live volume.
    if (gathered.gaps.length > 0) return null;
    if (read.head.epoch === through.epoch && read.head.index === through.end?.index) break;
  }
  if (last === null || lastOf(last) < (base?.to ?? 0) || lastOf(last) <= gathered.from) return null;
  return { plan: gathered.plan({ epoch: last.epoch, seq: lastOf(last) }), last };
}

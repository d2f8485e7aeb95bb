/**
 * The points of a journal that can be recovered: every flush to which a base leads without a gap (J9).
 *
 * Honest about what is missing: where a batch is in no region, or in one that is silent, the points behind it come back only with
 * a base above it, and the answer names the hole. One page at a time; memory is that of the page and of the heads read ahead.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { POINTS_PAGE_MAX } from '../../../domain/limits.ts';
import { beginningBy, beginningsOf, firstLabel, leadsTo, type Beginning } from './beginnings.ts';
import { readHistory, type ReadHead } from './history.ts';
import { comparePlaces } from './marks.ts';
import { isDamage, isSilence, type Reading } from './reading.ts';
import type { Place } from '../sealed-object.ts';
import type { JournalState } from '../state.ts';

export interface RecoveryPoint {
  readonly epoch: number;
  readonly seq: number;
  /** The owner's clock when its batch was formed, in `Us`: it labels, and decides nothing. */
  readonly labelUs: number;
}

/** Batches that are not to be had: no point lies behind `afterSeq` but by a base that lies behind the hole. */
export interface Hole {
  readonly epoch: number;
  readonly index: number;
  readonly afterSeq: number;
  readonly code: string;
  readonly message: string;
}

/** What is met on the way through a journal. */
export type Met =
  | { readonly kind: 'point'; readonly point: RecoveryPoint }
  | { readonly kind: 'gap'; readonly seq: number }
  | { readonly kind: 'hole'; readonly hole: Hole }
  /** Members of the open epoch that were not heard, at the end: there may be more. */
  | { readonly kind: 'silent'; readonly regions: readonly string[] }
  /** Read, and had no point in it, or had them all told. */
  | { readonly kind: 'batch'; readonly epoch: number; readonly index: number; readonly labelUs: number };

/** All that is met from `begin` on, which is one of `beginnings`. */
export async function* walkPoints(
  reading: Reading,
  state: JournalState,
  beginnings: readonly Beginning[],
  begin: Beginning,
): AsyncGenerator<Met> {
  let cut = 0;
  let usable = beginnings;
  for (let from: Beginning | undefined = begin; from !== undefined;) {
    const at: Beginning = from;
    let mark = at.mark;
    try {
      const history = readHistory(reading, state, at.mark);
      let next = await history.next();
      for (; next.done !== true; next = await history.next()) {
        const { head } = next.value;
        ({ mark } = next.value);
        for (const { kind, seq } of head.rows) {
          if (kind === 'gap') {
            cut = seq;
            yield { kind, seq };
          }
          if (kind === 'flush' && seq >= state.floor && leadsTo(usable, seq, cut)) yield { kind: 'point', point: pointOf(head, seq) };
        }
        yield { kind: 'batch', epoch: head.epoch, index: head.index, labelUs: head.labelUs };
      }
      if (next.value.silent.length > 0) yield { kind: 'silent', regions: next.value.silent };
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || (!isDamage(error) && !isSilence(error))) throw error;
      const hole = placeOf(error, mark);
      yield { kind: 'hole', hole: { ...hole, afterSeq: mark.next - 1, code: error.code, message: error.message } };
      // What lies before the hole leads nowhere behind it.
      usable = usable.filter((one) => comparePlaces(one.mark, hole) > 0);
      [from] = usable;
    }
  }
}

/** The batch that is not to be had: behind the last of an epoch that is the first of the next. */
const placeOf = ({ details: { epoch, index } }: HoldfastError, mark: Place): Place =>
  typeof epoch === 'number' && typeof index === 'number' ? { epoch, index } : { epoch: mark.epoch, index: mark.index };

const pointOf = ({ epoch, labelUs }: ReadHead['head'], seq: number): RecoveryPoint => ({ epoch, seq, labelUs });

export interface PointsWanted {
  /** Only points with a higher number: that of the last one of the page before. */
  readonly after?: number;
  /** Labels from ... up to, in `Us`. */
  readonly fromUs?: number;
  readonly untilUs?: number;
  /** At most POINTS_PAGE_MAX. */
  readonly limit?: number;
}

export interface PointPage {
  readonly points: readonly RecoveryPoint[];
  /** To ask with for the next page; null: this is the last. */
  readonly next: number | null;
  /** Where order was lost, and batches that are not to be had, among what was read for this page. */
  readonly gaps: readonly number[];
  readonly holes: readonly Hole[];
  /** Members of the open epoch that did not answer: points that only they hold are not listed. */
  readonly silent: readonly string[];
}

export async function listPoints(reading: Reading, wanted: PointsWanted = {}): Promise<PointPage> {
  const { after = 0, fromUs = 0, untilUs = Infinity } = wanted;
  const limit = Math.min(wanted.limit ?? POINTS_PAGE_MAX, POINTS_PAGE_MAX);
  const state = await reading.journal.log.sync();
  const beginnings = beginningsOf(reading, state);
  const points: RecoveryPoint[] = [];
  const gaps: number[] = [];
  const holes: Hole[] = [];
  let silent: readonly string[] = [];
  const least = Math.max(after + 1, state.floor);
  const begin = await beginningFor(reading, state, beginnings, { least, fromUs });
  if (begin !== undefined)
    for await (const met of walkPoints(reading, state, beginnings, begin)) {
      if (met.kind === 'gap') gaps.push(met.seq);
      if (met.kind === 'hole') holes.push(met.hole);
      if (met.kind === 'silent') silent = met.regions;
      if (met.kind !== 'point' || met.point.seq < least || met.point.labelUs < fromUs || met.point.labelUs > untilUs) continue;
      if (points.length === limit) return { points, next: points.at(-1)?.seq ?? null, gaps, holes, silent };
      points.push(met.point);
    }
  return { points, next: null, gaps, holes, silent };
}

/** The newest before all that is wanted: by number, and of a window of time by the label of what follows it. */
async function beginningFor(
  reading: Reading,
  state: JournalState,
  beginnings: readonly Beginning[],
  { least, fromUs }: { readonly least: number; readonly fromUs: number },
): Promise<Beginning | undefined> {
  const byNumber = beginningBy(beginnings, least);
  if (fromUs === 0) return byNumber;
  for (const one of beginnings.slice(beginnings.findLastIndex(({ to }) => to <= least) + 1).reverse()) {
    const labelUs = await firstLabel(reading, state, one.mark);
    if (labelUs !== null && labelUs < fromUs) return beginningBy(beginnings, one.mark.next);
  }
  return byNumber;
}

/**
 * The points that each region can recover by itself, worked out from its objects and the log alone (J9), and replayed: every one
 * must be what its writer's volumes held then. What could be read once must stay the same bytes for as long as it can be read.
 */
import { Violation } from '../violation.ts';
import { applied, sameContent, type Content, EMPTY_CONTENT } from './histories.ts';
import type { Born } from './oracle.ts';
import { isNeededBy, startFor } from './reference.ts';
import { readSnapshot } from './snapshots.ts';
import type { World } from './world.ts';

export interface ListedPoint {
  readonly epoch: number;
  readonly seq: number;
}

interface Way {
  readonly batches: readonly Born[];
  readonly gaps: readonly number[];
  /** Highest number of what the region does not claim to hold. */
  readonly missed: number;
  /** Numbers up to this may be shown. */
  readonly limit: number;
}

/** The history as one region can tell it. */
function wayOf({ oracle }: World, region: string): Way {
  const state = oracle.state();
  const batches: Born[] = [];
  let missed = 0;
  let limit = 0;
  for (const { epoch, end, full, members, start } of state.epochs.values()) {
    const claimed = end === null ? members.some((member) => member.region === region) : full.includes(region);
    limit = Math.max(limit, start - 1);
    for (let index = 0; end === null || index <= end.index; index++) {
      const batch = oracle.born(epoch, index);
      const there = !isNeededBy(state, region, epoch, index) || oracle.held(region, epoch, index) !== undefined;
      if (batch === undefined || (end === null && (!claimed || !there))) break;
      batches.push(batch);
      if (!claimed && batch.count > 0) missed = batch.last;
      // An open epoch is shown as far as its own batches say that it was acknowledged.
      if (end === null) limit = Math.max(limit, batch.acknowledged);
    }
  }
  const gaps = batches.flatMap(({ records }) => records.filter(({ kind }) => kind === 'gap').map(({ seq }) => seq));
  return { batches, gaps, missed, limit };
}

/** By the start that each needs: the base, or the empty volumes. */
type Listed = Map<string, { readonly from: number; readonly content: () => Content; readonly points: Set<number> }>;

function listedBy(world: World, region: string, { batches, gaps, missed, limit }: Way): Listed {
  const state = world.oracle.state();
  const listed: Listed = new Map();
  for (const { records } of batches)
    for (const { seq } of records) {
      if (seq > limit || seq < state.floor) continue;
      const start = startFor(state, region, seq, gaps);
      if (start === null || start.from < missed) continue;
      const { base } = start;
      const key = base === null ? '' : base.snapshots.map(({ id }) => id).join();
      const same = listed.get(key);
      if (same !== undefined) same.points.add(seq);
      else listed.set(key, { from: start.from, points: new Set([seq]), content: () => baseContent(world, region, base) });
    }
  return listed;
}

function baseContent({ regions }: World, region: string, base: NonNullable<ReturnType<typeof startFor>>['base']): Content {
  const known = regions.get(region);
  if (base === null || known === undefined) return EMPTY_CONTENT;
  const content = readSnapshot(known, base.snapshots);
  if (content === null) throw new Violation(`the base of ${region} at ${base.from} is missing, and points need it`);
  return content;
}

/** Numbers of the points that a region can recover now. */
export function listedIn(world: World, region: string): ReadonlySet<number> {
  if (world.oracle.isGone(region)) return new Set();
  return new Set([...listedBy(world, region, wayOf(world, region)).values()].flatMap(({ points }) => [...points]));
}

/** Replays the points of every region: all, or those of one start each. */
export function checkPoints(world: World, which: 'some' | 'all'): void {
  for (const region of world.regions.keys()) {
    if (world.oracle.isGone(region)) continue;
    const way = wayOf(world, region);
    const starts = [...listedBy(world, region, way).values()];
    for (const start of which === 'all' || starts.length === 0 ? starts : [world.random.pick(starts)]) {
      replayFrom(world, region, way, start.from, start.content(), start.points);
      world.count('points checked');
    }
  }
}

function replayFrom(world: World, region: string, { batches }: Way, from: number, base: Content, points: ReadonlySet<number>): void {
  const { oracle, histories } = world;
  const last = Math.max(...points);
  let content = base;
  for (const batch of batches) {
    if (batch.count === 0 || batch.last <= from) {
      if (batch.last === from && points.has(from)) compare(from, batch.moment);
      continue;
    }
    if (batch.first > last) return;
    if (oracle.held(region, batch.epoch, batch.index) === undefined)
      throw new Violation(`points of ${region} need batch ${batch.index} of epoch ${batch.epoch}, which is missing there`);
    for (const [i, record] of batch.records.entries()) {
      if (record.seq > from) content = applied(content, record);
      if (points.has(record.seq)) compare(record.seq, batch.moments[i] ?? 0);
    }
  }

  function compare(seq: number, moment: number): void {
    if (!sameContent(content, histories.contentOf(moment)))
      throw new Violation(`point ${seq} of ${region} is not what was written by then`);
  }
}

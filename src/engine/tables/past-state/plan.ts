/**
 * Which base and which parts of each partition a past state is folded from (docs/tables.md, section 6). Pure.
 *
 * Each partition is chosen for by itself; the cut is one for all. Of a time the log knows only that the cut is no higher than something, and which
 * bases cannot hide it; the fold then finds it exactly, and asks again with `below` should it lie before a base.
 */
import { remembersEnough } from '../archive/bases.ts';
import type { ArchivedPart, PartitionState, TableState } from '../archive/state.ts';
import type { SnapshotEntry } from '../archive/entries.ts';
import { parsePosition, type Position } from '../events/position.ts';

export type Target =
  /** All commits up to and including it. */
  | { readonly kind: 'time'; readonly us: number }
  /** All transactions of which nothing stands at it or beyond. */
  | { readonly kind: 'position'; readonly position: Position }
  /** Exclusive, and taken as it is: what another past state has named. */
  | { readonly kind: 'cut'; readonly cut: Position };

export interface PartitionPlan {
  readonly id: string;
  readonly number: number;
  /** Null: from its first offset. */
  readonly base: SnapshotEntry | null;
  /** Parts after the base that may hold something below the cut. */
  readonly parts: readonly ArchivedPart[];
}

export interface PastPlan {
  readonly target: Target;
  readonly partitions: readonly PartitionPlan[];
}

export interface PlanOptions {
  /** The cut is known not to lie above this, whatever the log's bounds say; bases must be below it. */
  readonly below?: Position;
  /** Fold from the first offset, whatever bases there are. */
  readonly withoutBases?: boolean;
  /** From the first offset where that is still there, else from the oldest base that serves: as far from the usual choice as can be, to check it. */
  readonly oldestBases?: boolean;
}

/** Null when no choice of bases serves: what came before the oldest one was dropped. */
export function planPastState(state: TableState, target: Target, options: PlanOptions = {}): PastPlan | null {
  const bounds = boundsOf(state, target, options.below ?? null);
  const partitions: PartitionPlan[] = [];
  for (const partition of state.partitions.values()) {
    const chosen = choose(state, partition, bounds, candidatesOf(partition, options));
    if (chosen === null) return null;
    partitions.push(chosen);
  }
  return { target, partitions };
}

interface Bounds {
  /** Bases must lie below this; null: wherever. */
  readonly below: Position | null;
  /** Bases must have shown no later stamp. */
  readonly stampUs: number | null;
  /** The cut lies at or below this; null: above all there is. */
  readonly most: Position | null;
}

/**
 * A base that has shown no stamp above T has swallowed no event that makes the cut, so the fold finds the cut over it. Whether it
 * also lies below the cut is seen then: it does, but for transactions that T falls into and clocks that stepped back.
 */
function boundsOf(state: TableState, target: Target, below: Position | null): Bounds {
  if (target.kind === 'cut') return { below: target.cut, stampUs: null, most: target.cut };
  const most = { value: null as Position | null };
  if (target.kind === 'position') {
    const at = target.position;
    for (const { parts, truncates } of state.partitions.values()) {
      for (const { positionMax } of parts)
        if (positionMax !== null && parsePosition(positionMax) >= at) lower(most, parsePosition(positionMax));
      for (const { position } of truncates) if (parsePosition(position) >= at) lower(most, parsePosition(position));
    }
    return { below: below ?? at, stampUs: null, most: most.value };
  }
  // An event with a stamp above T is at or below the highest position of its part.
  for (const partition of state.partitions.values()) {
    for (const part of partition.parts)
      if (part.stampMaxUs !== null && part.stampMaxUs > target.us && part.positionMax !== null)
        lower(most, parsePosition(part.positionMax));
    for (const truncate of partition.truncates) if (truncate.stampUs > target.us) lower(most, parsePosition(truncate.position));
  }
  return { below, stampUs: target.us, most: most.value };
}

function lower(at: { value: Position | null }, position: Position): void {
  if (at.value === null || position < at.value) at.value = position;
}

function candidatesOf({ snapshots, parts }: PartitionState, { withoutBases, oldestBases }: PlanOptions): readonly SnapshotEntry[] {
  if (withoutBases === true) return [];
  if (oldestBases === true) return (parts[0]?.from ?? 0) === 0 ? [] : snapshots;
  return snapshots.toReversed();
}

/** The first of the candidates that serves, else the first offset. */
function choose(state: TableState, partition: PartitionState, bounds: Bounds, candidates: readonly SnapshotEntry[]): PartitionPlan | null {
  const { id, number } = partition;
  for (const base of candidates) {
    if (bounds.below !== null && parsePosition(base.high) >= bounds.below) continue;
    if (bounds.stampUs !== null && base.stampUs !== null && base.stampUs > bounds.stampUs) continue;
    if (remembersEnough(state, partition, base)) return { id, number, base, parts: partsAfter(partition, base.offset, bounds.most) };
  }
  const first = partition.parts[0];
  if (first !== undefined && first.from > 0) return null;
  return { id, number, base: null, parts: partsAfter(partition, 0, bounds.most) };
}

/** Parts from an offset on that hold rows, at least one of which may lie below the cut. */
export const partsAfter = (partition: PartitionState, offset: number, most: Position | null): ArchivedPart[] =>
  partition.parts.filter(
    (part) =>
      part.from >= offset && part.rows > 0 && part.positionMin !== null && (most === null || parsePosition(part.positionMin) <= most),
  );

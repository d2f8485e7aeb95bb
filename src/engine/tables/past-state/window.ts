/**
 * When a past state can be had: EARLIEST and LATEST of a table, and which partition says so (docs/tables.md, section 4).
 */
import type { PartitionState, TableState } from '../archive/state.ts';

export interface PastWindow {
  /** Null: some partition is not whole, or has shown nothing yet. */
  readonly earliestUs: number | null;
  readonly latestUs: number | null;
  /** Partitions that hold back EARLIEST or LATEST. */
  readonly earliestBy: string | null;
  readonly latestBy: string | null;
}

/** Nothing with this stamp or a lower one is missing; others of the highest stamp may follow. */
export function throughOf(partition: PartitionState): number | null {
  const shown = partition.runningUs === null ? null : partition.runningUs - 1;
  if (shown === null || partition.heartbeatUs === null) return shown ?? partition.heartbeatUs;
  return Math.max(shown, partition.heartbeatUs);
}

export function windowOf(state: TableState): PastWindow {
  const partitions = [...state.partitions.values()];
  const latest = extreme(partitions, throughOf, (a, b) => a < b);
  const earliest = extreme(
    partitions,
    (partition) => partition.beginsUs,
    (a, b) => a > b,
  );
  return { earliestUs: earliest.us, earliestBy: earliest.by, latestUs: latest.us, latestBy: latest.by };
}

/** The partition whose value goes before all others'; one without a value goes before any. */
function extreme(
  partitions: readonly PartitionState[],
  valueOf: (partition: PartitionState) => number | null,
  before: (a: number, b: number) => boolean,
): { readonly us: number | null; readonly by: string | null } {
  let found: { us: number | null; by: string | null } = { us: null, by: null };
  for (const partition of partitions) {
    const us = valueOf(partition);
    if (us === null) return { us, by: partition.id };
    if (found.us === null || before(us, found.us)) found = { us, by: partition.id };
  }
  return found;
}

export type Asked = { readonly kind: 'ok' } | { readonly kind: 'outside'; readonly window: PastWindow; readonly nearestUs: number | null };

/** Whether a time lies in the window, and the nearest one that does. */
export function judgeTime(state: TableState, timeUs: number): Asked {
  const window = windowOf(state);
  const { earliestUs, latestUs } = window;
  if (earliestUs === null || latestUs === null || earliestUs > latestUs) return { kind: 'outside', window, nearestUs: null };
  if (timeUs < earliestUs) return { kind: 'outside', window, nearestUs: earliestUs };
  return timeUs > latestUs ? { kind: 'outside', window, nearestUs: latestUs } : { kind: 'ok' };
}

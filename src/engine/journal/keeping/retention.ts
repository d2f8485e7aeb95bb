/**
 * Retention: how far the floor may rise, and which pins have lapsed. A plan first, as data; then the entries, each worked out anew
 * on the log that it meets.
 *
 * Invariant: every point of the window stays. The floor rises to the newest base that was older than the window in every member of
 * the current epoch, never above a pin that stands (J11). The window is counted back from the newest base, not from a clock that
 * may be a day ahead: a journal that is silent, or that cannot be folded, keeps what it has.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import type { BaseEntry, PinEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { currentEpoch, type JournalState } from '../state.ts';
import type { Bases } from './bases.ts';

export interface RetentionPlan {
  /** Pins that have lapsed. */
  readonly unpin: readonly PinEntry[];
  /** Where the floor rises to; null: it stays. */
  readonly floor: number | null;
  /** Why it does not rise further. */
  readonly heldBy: 'window' | 'pin' | 'no base' | 'frozen';
}

export interface RetentionPolicy {
  readonly windowMs: number;
  /** Nothing is given up: while order is lost, or a failover is under way. Lapsed pins go all the same. */
  readonly frozen: boolean;
}

/** When the point of each base was, in ms, by the id of its first snapshot. One that is not known is not counted on. */
export type TakenMs = ReadonlyMap<string, number>;

export function planRetention(state: JournalState, taken: TakenMs, policy: RetentionPolicy, nowMs: number): RetentionPlan {
  const lapsed = [...state.pins.values()].filter(({ untilMs }) => untilMs <= nowMs);
  const pinned = [...state.pins.values()].filter(({ untilMs }) => untilMs > nowMs).map(({ seq }) => seq);
  const stays = (heldBy: RetentionPlan['heldBy']): RetentionPlan => ({ unpin: lapsed, floor: null, heldBy });
  if (policy.frozen) return stays('frozen');
  const takenOf = ({ snapshots }: BaseEntry): number => taken.get(snapshots[0]?.id ?? '') ?? Infinity;
  const finite = [...state.bases.values()].flat().map(takenOf).filter(Number.isFinite);
  const cutoffMs = Math.min(nowMs, Math.max(...finite, -Infinity)) - policy.windowMs;
  const members = currentEpoch(state)?.members ?? [];
  const lowest = (fits: (base: BaseEntry) => boolean): number =>
    Math.min(...members.map(({ region }) => state.bases.get(region)?.findLast(fits)?.to ?? 0));
  const byWindow = members.length === 0 ? 0 : lowest((base) => takenOf(base) <= cutoffMs);
  const floor = members.length === 0 ? 0 : lowest((base) => takenOf(base) <= cutoffMs && pinned.every((seq) => base.to <= seq));
  if (floor <= state.floor) return stays(byWindow === 0 ? 'no base' : byWindow > state.floor ? 'pin' : 'window');
  return { unpin: lapsed, floor, heldBy: floor < byWindow ? 'pin' : 'window' };
}

/** What the bases of these regions are dated, for a plan. */
export async function datesOf(regions: readonly Bases[], signal?: AbortSignal): Promise<TakenMs> {
  const listed = await Promise.all(regions.map((bases) => bases.list(signal)));
  return new Map(listed.flat().map(({ id, takenMs }) => [id, takenMs]));
}

/** Lapses pins and raises the floor as the plan says that holds when it is put. What has become of it meanwhile is no error. */
export async function applyRetention({ log, environment }: Journal, taken: TakenMs, policy: RetentionPolicy): Promise<RetentionPlan> {
  const plan = planRetention(await log.sync(), taken, policy, environment.nowMs());
  for (const { pin } of plan.unpin)
    await log.append((state) => {
      const now = planRetention(state, taken, policy, environment.nowMs());
      return now.unpin.some((one) => one.pin === pin) ? { kind: 'UNPIN', pin } : null;
    });
  if (plan.floor === null) return plan;
  try {
    await log.append((state) => {
      const { floor } = planRetention(state, taken, policy, environment.nowMs());
      return floor === null ? null : { kind: 'FLOOR', seq: floor };
    });
  } catch (error) {
    // Pinned by an entry of the same record: the next pass finds it.
    if (!isHoldfastError(error, 'RECORD_REFUSED')) throw error;
  }
  return plan;
}

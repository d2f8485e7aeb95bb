/**
 * Heartbeats of idle partitions: the word that one was read to its end after the source was known to be past a stamp, so that LATEST does not wait for
 * an event that may never come (docs/tables.md, section 4).
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { HEARTBEAT_EVERY_MS } from '../../../domain/limits.ts';
import type { TableArchive } from '../../../engine/tables/archive/archive.ts';
import { throughOf } from '../../../engine/tables/past-state/window.ts';
import type { SourceClock } from './source-clock.ts';

/** Where a fetch has met the end of a partition's log, and when the fetch was begun. */
interface AtEnd {
  readonly end: { readonly offset: number; readonly begunMs: number } | null;
}

export interface Heartbeats {
  /** Says what can be said, if it is time and nothing is being said. Rejects with what an earlier one failed with. */
  tick(partitions: ReadonlyMap<string, AtEnd>, nowMs: number): Promise<void>;
  end(): Promise<void>;
}

export interface HeartbeatParts {
  readonly archive: TableArchive;
  readonly epoch: number;
  readonly clock: SourceClock;
  readonly onBeat: () => void;
}

export function createHeartbeats({ archive, epoch, clock, onBeat }: HeartbeatParts): Heartbeats {
  let saidMs = -Infinity;
  let saying: Promise<void> | null = null;
  let failure: { readonly error: unknown } | null = null;

  /** What no event says by itself: the partition is archived to the end that was met, and its own stamps are lower. */
  const due = (partitions: ReadonlyMap<string, AtEnd>): { partition: string; next: number; throughUs: number }[] =>
    [...partitions].flatMap(([id, { end }]) => {
      const settledUs = end === null ? null : clock.settled(end.begunMs);
      const state = archive.known().partitions.get(id);
      if (end === null || settledUs === null || state === undefined || state.next !== end.offset) return [];
      // Others of that stamp may follow.
      const throughUs = settledUs - 1;
      return throughUs > (throughOf(state) ?? -1) ? [{ partition: id, next: end.offset, throughUs }] : [];
    });

  const say = async (parts: ReturnType<typeof due>): Promise<void> => {
    const n = await archive.append((state) => {
      const still = parts.filter(({ partition, next }) => state.partitions.get(partition)?.next === next);
      return still.length === 0 ? null : { kind: 'HEARTBEAT', epoch, parts: still };
    });
    if (n !== null) onBeat();
  };

  return {
    async tick(partitions, nowMs) {
      if (failure !== null) throw failure.error;
      if (saying !== null || nowMs - saidMs < HEARTBEAT_EVERY_MS) return;
      const parts = due(partitions);
      if (parts.length === 0) return;
      saidMs = nowMs;
      saying = say(parts)
        .catch((error: unknown) => void (failure = { error }))
        .finally(() => (saying = null));
    },
    async end() {
      await saying;
      if (failure !== null && !isHoldfastError(failure.error)) throw failure.error;
    },
  };
}

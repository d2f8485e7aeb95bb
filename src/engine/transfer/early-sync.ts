/**
 * Makes a target durable while it is still being written, a part at a time and one sync at a time.
 *
 * A restore ends with a sync. Left to itself the system begins to write late, with a tenth of the memory dirty, and that
 * sync then waits for gigabytes; so what was written goes to the disk while the next ranges are opened. A sync that fails
 * ends the restore: the system tells of a lost write once, and the sync at the end may not hear of it again.
 */
import { MIB } from '../../domain/limits.ts';
import type { RestoreTarget } from './restore-target.ts';

/** At 1 GiB/s to disk a quarter of a second, and the most that the sync at the end has to wait for if the disk keeps up. */
const SYNC_EVERY_BYTES = 256 * MIB;

export interface EarlySync {
  /** Takes note of bytes that were written, and starts a sync when they are many and none is under way. */
  wrote(bytes: number): void;
  /** Resolves when no sync is under way. */
  ended(): Promise<void>;
}

export function syncEarly(target: Pick<RestoreTarget, 'sync'>, onFailure: (error: unknown) => void): EarlySync {
  let unsyncedBytes = 0;
  let running: Promise<void> | null = null;
  return {
    wrote(bytes) {
      unsyncedBytes += bytes;
      if (unsyncedBytes < SYNC_EVERY_BYTES || running !== null) return;
      unsyncedBytes = 0;
      running = target
        .sync()
        .catch(onFailure)
        .finally(() => {
          running = null;
        });
    },
    async ended() {
      await running;
    },
  };
}

/**
 * A line of so many bytes a second. Bandwidth is booked, not metered: each transfer takes the next free stretch and waits until
 * that begins, so transfers start in the order in which they came and the rate holds over any few seconds.
 */
import { sleep, type Sleep } from './sleep.ts';

export interface Line {
  /** Waits until the line is free, and takes it for this many bytes. */
  book(bytes: number, signal: AbortSignal | undefined): Promise<void>;
  /** What is known only when it has come: it delays the next one. */
  charge(bytes: number): void;
}

/** Idle time that may be caught up on: short, so that a limit is one. */
const CATCH_UP_MS = 250;

/** `now`: milliseconds that only go forward. */
export function createLine(bytesPerSecond: number, now: () => number = () => performance.now(), pause: Sleep = sleep): Line {
  let freeAtMs = now();
  const charge = (bytes: number): void => {
    freeAtMs = Math.max(freeAtMs, now() - CATCH_UP_MS) + (bytes / bytesPerSecond) * 1000;
  };
  return {
    charge,
    async book(bytes, signal) {
      const waitMs = freeAtMs - now();
      charge(bytes);
      if (waitMs <= 0) return;
      try {
        await pause(waitMs, signal);
      } catch (error) {
        // Not used: the ones behind keep their turn, the next comer gets the time back.
        freeAtMs -= (bytes / bytesPerSecond) * 1000;
        throw error;
      }
    },
  };
}

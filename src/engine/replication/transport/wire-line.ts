/** A line of so many bytes a second, taken turn by turn: what several exchanges of a link send together. Null: no bound. */
import { setTimeout as pause } from 'node:timers/promises';

export interface WireLine {
  /** Waits for the turn of so many bytes. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
}

/** What was not used is kept for so long: a line that was idle may begin with a burst of it. */
const IDLE_KEPT_MS = 100;

export function createWireLine(bytesPerSecond: number | null): WireLine {
  if (bytesPerSecond === null) return { take: () => Promise.resolve() };
  let freeAtMs = performance.now();
  return {
    async take(bytes, signal) {
      const nowMs = performance.now();
      const turnMs = Math.max(freeAtMs, nowMs - IDLE_KEPT_MS);
      freeAtMs = turnMs + (1000 * bytes) / bytesPerSecond;
      if (turnMs > nowMs) await pause(turnMs - nowMs, undefined, { signal });
    },
  };
}

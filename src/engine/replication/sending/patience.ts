/**
 * What is not answered is said again: after how long, and until when.
 *
 * Waits grow exponentially up to WAIT_MS_MOST, half of each is chance, so that many exchanges, or many senders, do not come
 * back at once. A link that has been silent for `patienceMs` ends the call with what it last said, which is retryable:
 * whoever called tries again later, and goes on from what the receiver has.
 */
import type { HoldfastError } from '../../../domain/errors.ts';
import type { Sleep } from '../../../ground/stores/sleep.ts';

const WAIT_MS_LEAST = 200;
const WAIT_MS_MOST = 10_000;

/** The clock and the chance of a session; a test has its own. */
export interface Pace {
  nowMs(): number;
  readonly sleep: Sleep;
  /** From 0 up to 1. */
  random(): number;
}

export interface Patience {
  /** The receiver has answered something. */
  answered(): void;
  /** Waits before something is said again, `times` after the first; throws the error when there is no patience left. */
  again(error: HoldfastError, times: number, signal: AbortSignal): Promise<void>;
}

export function createPatience(patienceMs: number, { nowMs, sleep, random }: Pace): Patience {
  let answeredMs = nowMs();
  return {
    answered() {
      answeredMs = nowMs();
    },
    async again(error, times, signal) {
      if (nowMs() - answeredMs >= patienceMs) throw error;
      const mostMs = Math.min(WAIT_MS_MOST, WAIT_MS_LEAST * 2 ** Math.min(times, 16));
      await sleep((mostMs * (1 + random())) / 2, signal);
    },
  };
}

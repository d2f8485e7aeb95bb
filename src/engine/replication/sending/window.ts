/**
 * How many exchanges of data are under way: twice bandwidth x delay, so that the link is never idle while answers come back.
 *
 * Both are measured. The delay is the least time that a full exchange has taken, whatever of it is the link's and whatever
 * the receiver's: with a window as small as the least one nobody waits in a queue. The bandwidth is the best of what came
 * through lately, from the beginning of an exchange to its answer. As long as the window is what limits, the rate follows
 * it, twice the product is twice the window, and it doubles; once the link is full, the rate stays, and so does the window.
 */

/** Exchanges that are remembered: a few round trips of the largest window. */
const RATES_KEPT = 32;

export interface ExchangeInFlight {
  readonly startMs: number;
  /** Bytes that had come through when it began. */
  readonly deliveredBytes: number;
}

export interface Window {
  /** Exchanges of data that may be under way. */
  size(): number;
  began(): ExchangeInFlight;
  /** An exchange of so many bytes was answered, at its first saying. */
  answered(exchange: ExchangeInFlight, bytes: number): void;
}

export interface WindowBounds {
  readonly exchangeBytes: number;
  readonly least: number;
  readonly most: number;
}

export function createWindow({ exchangeBytes, least, most }: WindowBounds, nowMs: () => number): Window {
  const rates: number[] = [];
  let delayMs = Infinity;
  let deliveredBytes = 0;
  return {
    size() {
      if (rates.length === 0) return Math.min(least, most);
      const product = Math.max(...rates) * delayMs;
      return Math.min(most, Math.max(least, Math.ceil((2 * product) / exchangeBytes)));
    },
    began: () => ({ startMs: nowMs(), deliveredBytes }),
    answered(exchange, bytes) {
      deliveredBytes += bytes;
      // What is short says little of the bandwidth.
      if (bytes < exchangeBytes / 2) return;
      const tookMs = Math.max(1, nowMs() - exchange.startMs);
      delayMs = Math.min(delayMs, tookMs);
      rates.push((deliveredBytes - exchange.deliveredBytes) / tookMs);
      if (rates.length > RATES_KEPT) rates.shift();
    },
  };
}

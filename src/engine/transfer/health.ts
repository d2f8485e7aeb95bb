/**
 * The gate between a transfer and the state of its stores.
 *
 * The pipeline reports how each put ended and asks before each batch whether to go on. What that means (thresholds,
 * pausing the whole job, resuming, detaching one store) is decided by whoever implements the port; returning late pauses,
 * throwing ends the transfer.
 */
export interface PutOutcome {
  readonly ok: boolean;
  readonly seconds: number;
  readonly bytes: number;
}

export interface Health {
  report(store: string, outcome: PutOutcome): void;
  /** Resolves when the next batch may be read. */
  proceed(signal: AbortSignal): Promise<void>;
}

export const ALWAYS_WELL: Health = { report: () => undefined, proceed: () => Promise.resolve() };

/**
 * The quick gate: the worker's own look at its stores, put by put.
 *
 * A decision of less than a second is made here, not in a workflow: when a store falls below its first threshold the
 * transfer ends at the next batch with StorePaused, everything confirmed so far stays adopted, and the workflow probes
 * until all stores are over the second one.
 */
import { HEALTHY, observe, pauseReason, type HealthThresholds, type StoreHealth } from '../../domain/health.ts';
import type { Health } from '../../engine/transfer/health.ts';

/** Ends a transfer for the sake of one store; not an error of the job. */
export class StorePaused extends Error {
  readonly store: string;
  readonly reason: string;
  constructor(store: string, reason: string) {
    super(`${store}: ${reason}`);
    this.store = store;
    this.reason = reason;
  }
}

export function createGate(thresholds?: HealthThresholds): Health {
  const stores = new Map<string, StoreHealth>();
  let paused: StorePaused | null = null;
  return {
    report(store, outcome) {
      const health = observe(stores.get(store) ?? HEALTHY, outcome);
      stores.set(store, health);
      const reason = pauseReason(health, thresholds);
      if (reason !== null) paused ??= new StorePaused(store, reason);
    },
    proceed: () => (paused === null ? Promise.resolve() : Promise.reject(paused)),
  };
}

/**
 * Counts what is asked of a store and what comes of it: as metrics for whoever watches, as totals for results.
 *
 * Wrapped around the store itself, below retries and limits: each attempt counts, the time is the store's own, and the bytes
 * are those that went over the line.
 */
import { Counter, Histogram, type Registry } from 'prom-client';
import { isHoldfastError } from '../../domain/errors.ts';
import { interceptStore, receivedBytes, type StoreOperation } from './intercept.ts';
import type { ObjectStore } from './object-store.ts';

export interface OperationTotals {
  readonly calls: number;
  readonly errors: number;
  readonly bytes: number;
  readonly seconds: number;
}

export interface StoreTotals {
  readonly operations: Readonly<Record<StoreOperation, OperationTotals>>;
  readonly retries: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface MeasuredStore extends ObjectStore {
  totals(): StoreTotals;
}

/** From a millisecond (a miss in a local folder) to half a minute (a pack over a slow line). */
const SECONDS_BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

/** The metrics of all stores of a process; made once for its registry. */
export const createStoreMetrics = (registry: Registry) => ({
  calls: new Counter({
    name: 'holdfast_store_calls_total',
    help: 'Calls of object stores, by outcome: ok, aborted, or the code of the error',
    labelNames: ['store', 'operation', 'outcome'],
    registers: [registry],
  }),
  bytes: new Counter({
    name: 'holdfast_store_bytes_total',
    help: 'Bytes put to and got from object stores',
    labelNames: ['store', 'operation'],
    registers: [registry],
  }),
  seconds: new Histogram({
    name: 'holdfast_store_call_seconds',
    help: 'Duration of calls of object stores, each attempt by itself',
    labelNames: ['store', 'operation'],
    buckets: SECONDS_BUCKETS,
    registers: [registry],
  }),
  retries: new Counter({
    name: 'holdfast_store_retries_total',
    help: 'Attempts after the first',
    labelNames: ['store'],
    registers: [registry],
  }),
});
export type StoreMetrics = ReturnType<typeof createStoreMetrics>;

export interface MeasureOptions {
  /** The label under which the store appears. */
  readonly name: string;
  readonly metrics?: StoreMetrics | undefined;
  /** Milliseconds that only go forward. */
  readonly now?: () => number;
}

export interface StoreMeter {
  measure(store: ObjectStore): MeasuredStore;
  retried(): void;
  totals(): StoreTotals;
}

export function createStoreMeter({ name, metrics, now = () => performance.now() }: MeasureOptions): StoreMeter {
  const none = (): Record<keyof OperationTotals, number> => ({ calls: 0, errors: 0, bytes: 0, seconds: 0 });
  const operations = { put: none(), get: none(), head: none(), list: none(), delete: none() };
  let retries = 0;

  const count = (operation: StoreOperation, startedMs: number, bytes: number, outcome: string): void => {
    const seconds = (now() - startedMs) / 1000;
    const totals = operations[operation];
    totals.calls += 1;
    totals.bytes += bytes;
    totals.seconds += seconds;
    if (outcome !== 'ok') totals.errors += 1;
    metrics?.calls.inc({ store: name, operation, outcome });
    metrics?.seconds.observe({ store: name, operation }, seconds);
    if (bytes > 0) metrics?.bytes.inc({ store: name, operation }, bytes);
  };

  const totals = (): StoreTotals => {
    const { put, get, head, list, delete: remove } = operations;
    return {
      operations: { put: { ...put }, get: { ...get }, head: { ...head }, list: { ...list }, delete: { ...remove } },
      retries,
      bytesSent: put.bytes,
      bytesReceived: get.bytes,
    };
  };

  const measure = (store: ObjectStore): MeasuredStore => ({
    ...interceptStore(store, async ({ operation, sentBytes, signal }, run) => {
      const startedMs = now();
      try {
        const answer = await run();
        count(operation, startedMs, sentBytes + receivedBytes(answer), 'ok');
        return answer;
      } catch (error) {
        const outcome = isHoldfastError(error) ? error.code : signal?.aborted === true ? 'aborted' : 'INTERNAL';
        // Whether a failed put was sent in part or whole is not known; it is counted as if it was.
        count(operation, startedMs, sentBytes, outcome);
        throw error;
      }
    }),
    totals,
  });

  return {
    measure,
    totals,
    retried: () => {
      retries += 1;
      metrics?.retries.inc({ store: name });
    },
  };
}

/** A store that counts for itself alone. */
export const withMeasure = (store: ObjectStore, options: MeasureOptions): MeasuredStore => createStoreMeter(options).measure(store);

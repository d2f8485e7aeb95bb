/**
 * The weather between a test's workers and its stores: packs that crawl, so that a job is long enough to be met in its middle.
 *
 * Real trouble is made in the folders themselves (moved away, damaged); this only slows down. Logs and changes are let through,
 * so that what a test does beside the job takes its usual time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../src/domain/errors.ts';
import type { OpenedStore } from '../../src/ground/stores/open-store.ts';
import { interceptStore, type StoreOperation } from '../../src/ground/stores/intercept.ts';
import { parseClaimObject } from '../../src/engine/repository/object-names.ts';

export interface Weather {
  readonly decorate: (store: OpenedStore, name: string) => OpenedStore;
  /** From now on each put or get of a pack takes so much longer; 0: fair again. */
  slow(store: string, operation: 'put' | 'get', ms: number): void;
  /** From now on it takes no pack, as a disk that is full; everything small still fits, a probe as well. */
  full(store: string): void;
  fair(): void;
}

const isPack = (name: string): boolean => parseClaimObject(name.slice(name.indexOf('/a/') + 1))?.kind === 'pack';

export function createWeather(): Weather {
  const delays = new Map<string, number>();
  const filled = new Set<string>();
  const keyOf = (store: string, operation: StoreOperation): string => `${operation} ${store}`;
  return {
    decorate: (store, name) => ({
      ...store,
      ...interceptStore(store, async (call, run) => {
        const ms = isPack(call.name) ? delays.get(keyOf(name, call.operation)) : undefined;
        if (ms !== undefined && ms > 0) await sleep(ms, undefined, call.signal ? { signal: call.signal } : {});
        if (call.operation === 'put' && filled.has(name) && isPack(call.name))
          throw new HoldfastError('STORE_FULL', `put of ${call.name}: no space left`, { object: call.name });
        return run();
      }),
    }),
    slow: (store, operation, ms) => void delays.set(keyOf(store, operation), ms),
    full: (store) => void filled.add(store),
    fair: () => {
      delays.clear();
      filled.clear();
    },
  };
}

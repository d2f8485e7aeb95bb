/**
 * A store that reads the next batches while a chain is walked: an hour of batches is 3,600 heads, one after another.
 *
 * Only what was found is used: a place that was empty may have been filled since, and is asked again.
 */
import { CHAIN_READ_AHEAD } from '../../../domain/limits.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { batchName, parseBatchName } from '../object-names.ts';

export function readingAhead(store: ObjectStore): ObjectStore {
  const ahead = new Map<string, Promise<Buffer | null>>();
  /** As many as were found already: a short chain is asked for little in vain. */
  let window = 0;
  return {
    ...store,
    async get(name, options) {
      const place = parseBatchName(name);
      const early = ahead.get(name);
      ahead.delete(name);
      const found = (await early) ?? (await store.get(name, options));
      if (place === null || found === null) return found;
      window = Math.min(window + 1, CHAIN_READ_AHEAD);
      for (let i = 1; i <= window; i++) {
        const next = batchName(place.epoch, place.index + i);
        // How it fails is found out when it is asked for.
        if (!ahead.has(next))
          ahead.set(
            next,
            store.get(next, options).catch(() => null),
          );
      }
      return found;
    },
  };
}

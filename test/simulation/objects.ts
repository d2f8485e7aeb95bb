/** What a simulated store holds: objects by name, names in byte order, and the contract's calls as instant effects. */
import type { ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/ground/stores/object-store.ts';

/** Sees every change right after it took effect. */
export interface ObjectsObserver {
  put(name: string, bytes: Buffer): void;
  deleted(name: string): void;
}

export interface Objects {
  readonly byName: ReadonlyMap<string, Buffer>;
  /** Puts and deletes so far that changed something. */
  changes(): number;
  put(name: string, bytes: Buffer, options: PutOptions): 'created' | 'exists';
  get(name: string, range?: { readonly offset: number; readonly length: number }): Buffer | null;
  list(prefix: string, options: ListOptions): readonly ObjectInfo[];
  delete(names: readonly string[]): void;
  /** Damage: other bytes under a name, or none. Nobody is told. */
  harm(name: string, bytes: Buffer | null): void;
  /** The same objects without a scheduler or faults: for oracles and the end of a run. */
  readonly instant: ObjectStore;
}

export function createObjects(observer: ObjectsObserver): Objects {
  const byName = new Map<string, Buffer>();
  const names: string[] = [];
  let changes = 0;

  /** The first place in `names` that is not less. */
  const place = (name: string): number => {
    let [low, high] = [0, names.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((names[middle] ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  const objects: Omit<Objects, 'instant'> = {
    byName,
    changes: () => changes,
    put(name, bytes, { ifAbsent = false }) {
      const before = byName.get(name);
      if (before && ifAbsent) return 'exists';
      if (!before) names.splice(place(name), 0, name);
      byName.set(name, bytes);
      changes++;
      observer.put(name, bytes);
      return 'created';
    },
    get(name, range) {
      const bytes = byName.get(name);
      if (!bytes) return null;
      return range ? bytes.subarray(range.offset, range.offset + range.length) : bytes;
    },
    list(prefix, { after = '', limit = 1000 }) {
      const page: ObjectInfo[] = [];
      for (let i = place(after > prefix ? `${after}\0` : prefix); i < names.length && page.length < limit; i++) {
        const name = names[i] ?? '';
        if (!name.startsWith(prefix)) break;
        page.push({ name, sizeBytes: byName.get(name)?.length ?? 0 });
      }
      return page;
    },
    delete(doomed) {
      for (const name of doomed) {
        if (!byName.delete(name)) continue;
        names.splice(place(name), 1);
        changes++;
        observer.deleted(name);
      }
    },
    harm(name, bytes) {
      if (bytes !== null) byName.set(name, bytes);
      else if (byName.delete(name)) names.splice(place(name), 1);
    },
  };

  const instant: ObjectStore = {
    put: async (name, bytes, options = {}) => objects.put(name, Buffer.from(bytes), options),
    get: async (name, options = {}) => objects.get(name, options.range),
    head: async (name) => (byName.has(name) ? { name, sizeBytes: byName.get(name)?.length ?? 0 } : null),
    list: async (prefix, options = {}) => objects.list(prefix, options),
    delete: async (doomed) => objects.delete(doomed),
    describe: () => ({ url: 'simulation:', conditionalPut: true, retention: false }),
  };
  return { ...objects, instant };
}

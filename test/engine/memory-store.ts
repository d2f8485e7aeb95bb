/** A store in memory that keeps the contract exactly: for tests of what stands above it. */
import type { ObjectStore } from '../../src/ground/stores/object-store.ts';

export interface MemoryStore extends ObjectStore {
  readonly objects: Map<string, Buffer>;
}

export function createMemoryStore(): MemoryStore {
  const objects = new Map<string, Buffer>();
  return {
    objects,
    async put(name, bytes, options = {}) {
      if (options.ifAbsent && objects.has(name)) return 'exists';
      objects.set(name, Buffer.from(bytes));
      return 'created';
    },
    async get(name, options = {}) {
      const bytes = objects.get(name);
      if (!bytes) return null;
      const { range } = options;
      return Buffer.from(range ? bytes.subarray(range.offset, range.offset + range.length) : bytes);
    },
    async head(name) {
      const bytes = objects.get(name);
      return bytes ? { name, sizeBytes: bytes.length } : null;
    },
    async list(prefix, { after = '', limit = 1000 } = {}) {
      const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).sort();
      return names.slice(0, limit).map((name) => ({ name, sizeBytes: objects.get(name)?.length ?? 0 }));
    },
    async delete(names) {
      for (const name of names) objects.delete(name);
    },
    describe: () => ({ url: 'memory:', conditionalPut: true, retention: false }),
  };
}

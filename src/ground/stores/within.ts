/** A store seen from a prefix: names inside it are relative, and nothing outside it can be reached. */
import type { ObjectStore } from './object-store.ts';

export function within(store: ObjectStore, prefix: string): ObjectStore {
  const inner = (name: string): string => name.slice(prefix.length);
  return {
    put: (name, bytes, options) => store.put(prefix + name, bytes, options),
    get: (name, options) => store.get(prefix + name, options),
    async head(name, options) {
      const info = await store.head(prefix + name, options);
      return info && { ...info, name: inner(info.name) };
    },
    async list(under, options = {}) {
      const { after, ...rest } = options;
      const page = await store.list(prefix + under, { ...rest, ...(after === undefined ? {} : { after: prefix + after }) });
      return page.map((info) => ({ ...info, name: inner(info.name) }));
    },
    delete: (names, options) =>
      store.delete(
        names.map((name) => prefix + name),
        options,
      ),
    describe: () => store.describe(),
  };
}

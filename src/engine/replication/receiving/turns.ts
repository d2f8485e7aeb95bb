/** Work that must not meet other work under the same key half-way: one after the other, in the order of the calls. */
export interface Turns<Key> {
  run<T>(key: Key, work: () => Promise<T>): Promise<T>;
}

/** Remembers the keys of what is under way, and no others: peers choose them. */
export function createTurns<Key>(): Turns<Key> {
  const tails = new Map<Key, Promise<unknown>>();
  return {
    run(key, work) {
      const turn = (tails.get(key) ?? Promise.resolve()).then(work);
      const tail = turn
        .catch(() => undefined)
        .finally(() => {
          if (tails.get(key) === tail) tails.delete(key);
        });
      tails.set(key, tail);
      return turn;
    },
  };
}

/**
 * Work on one thing after another, some of it under way ahead: results come in the order of the things.
 *
 * The first failure is thrown in its turn; what is under way behind it ends unheard.
 */
export async function* inOrder<T, R>(
  things: Iterable<T> | AsyncIterable<T>,
  ahead: number,
  work: (thing: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  for await (const thing of things) {
    const one = work(thing);
    one.catch(() => undefined);
    underWay.push(one);
    const first = underWay.length < ahead ? undefined : underWay.shift();
    if (first !== undefined) yield await first;
  }
  for (const one of underWay) yield await one;
}

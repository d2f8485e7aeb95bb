/**
 * Waits for all of some work, and throws the first error when none of it goes on. For work that writes into one buffer: with
 * `Promise.all` the buffer would be somebody else's while what did not fail still writes there.
 */
export async function allEnded(work: readonly Promise<unknown>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason;
}

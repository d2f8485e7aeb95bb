/**
 * A counted permit: at most `count` holders at a time, served in the order in which they asked.
 *
 * Waiting ends early when the signal given to `take` is aborted; a permit is never lost that way. This is what bounds
 * every window of the pipeline: slots, lanes, pack buffers, puts and gets in flight.
 */
export class Permits {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const granted = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const abort = (): void => {
        this.#queue.splice(this.#queue.indexOf(granted), 1);
        reject(signal?.reason as Error);
      };
      this.#queue.push(granted);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  give(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

/** Gives up what is silent: work of which nothing was heard for so long. */
import { HoldfastError } from '../../domain/errors.ts';

export class Silence implements Disposable {
  /** Aborted when it is given up, or when `signal` is. */
  readonly signal: AbortSignal;
  readonly #given = new AbortController();
  readonly #broken = Promise.withResolvers<never>();
  readonly #timer: NodeJS.Timeout;

  /** `what`: as the error names it. */
  constructor(what: string, ms: number, signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#given.signal]);
    this.#broken.promise.catch(() => undefined);
    this.#timer = setTimeout(() => {
      this.#given.abort();
      this.#broken.reject(new HoldfastError('STORE_UNREACHABLE', `${what}: nothing was heard for ${ms / 1000} s`));
    }, ms);
  }

  heard(): void {
    if (!this.#given.signal.aborted) this.#timer.refresh();
  }

  /** The outcome of the work, or STORE_UNREACHABLE; it may be under way still, and who hears of that is nobody. */
  bound<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#broken.promise]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** The way to a volume's origin: opened when it is first needed, tried again when that failed, closed once. */
import type { Clock } from '../clock.ts';
import type { OpenedOrigin, Origin } from './origin.ts';

/** Whoever asks again sooner gets the failure that there was. */
export const ORIGIN_RETRY_MS = 1000;

export class OriginLink implements AsyncDisposable {
  readonly #origin: Origin;
  readonly #clock: Clock;
  readonly #onFailure: (error: unknown) => void;
  #opened: Promise<OpenedOrigin> | null = null;
  #closed = false;
  #failure: { readonly error: unknown; readonly atMs: number } | null = null;

  constructor(origin: Origin, clock: Clock, onFailure: (error: unknown) => void) {
    this.#origin = origin;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  get(): Promise<OpenedOrigin> {
    if (this.#closed) return Promise.reject(new Error('the origin is needed no more'));
    if (this.#opened !== null) return this.#opened;
    const failure = this.#failure;
    if (failure !== null && this.#clock.nowMs() < failure.atMs + ORIGIN_RETRY_MS) return Promise.reject(asError(failure.error));
    this.#opened = this.#origin.open().catch((error: unknown) => {
      this.#opened = null;
      this.#failure = { error, atMs: this.#clock.nowMs() };
      this.#onFailure(error);
      throw error;
    });
    return this.#opened;
  }

  /** Once and for all. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const opened = await this.#opened?.catch(() => null);
    this.#opened = null;
    await opened?.[Symbol.asyncDispose]();
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error('the origin cannot be opened', { cause: error }));

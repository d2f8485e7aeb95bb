/**
 * The way to a volume's origin: opened when it is first needed, tried again when that failed, opened anew when it fails later,
 * for its store may have got another address or other credentials meanwhile.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import type { Clock } from '../clock.ts';
import type { OpenedOrigin, Origin } from './origin.ts';

/** Whoever asks again sooner gets the failure that there was. */
const ORIGIN_RETRY_MS = 1000;

export class OriginLink implements AsyncDisposable {
  readonly #origin: Origin;
  readonly #clock: Clock;
  readonly #onFailure: (error: unknown) => void;
  #opened: Promise<OpenedOrigin> | null = null;
  #current: OpenedOrigin | null = null;
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
    this.#opened = this.#open();
    return this.#opened;
  }

  async #open(): Promise<OpenedOrigin> {
    try {
      this.#current = await this.#origin.open();
      return this.#current;
    } catch (error) {
      this.#opened = null;
      this.#failure = { error, atMs: this.#clock.nowMs() };
      this.#onFailure(error);
      throw error;
    }
  }

  /** Gives up one whose store has failed: whoever asks next opens it anew. */
  async forget(failed: OpenedOrigin): Promise<void> {
    if (this.#current !== failed) return;
    this.#current = null;
    this.#opened = null;
    await failed[Symbol.asyncDispose]();
  }

  /** Once and for all. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const opened = await this.#opened?.catch(() => null);
    this.#opened = null;
    this.#current = null;
    await opened?.[Symbol.asyncDispose]();
  }
}

/** What another look at the same store may mend, and what a new way to it may. */
export const isOfTheStore = (error: unknown): boolean => isHoldfastError(error, 'STORE_UNREACHABLE', 'STORE_DENIED');

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error('the origin cannot be opened', { cause: error }));

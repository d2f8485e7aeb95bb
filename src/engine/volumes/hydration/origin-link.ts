/**
 * The way to a volume's origin: opened when it is first needed, tried again when that failed, opened anew when it fails later,
 * for its store may have got another address or other credentials meanwhile, and when it says itself that it is outdated.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { RECOVERY_PLANS_MAX } from '../../../domain/limits.ts';
import type { Clock } from '../clock.ts';
import { OriginOutdated, type OpenedOrigin, type Origin } from './origin.ts';

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

  /** One whose store fails is given up: whoever asks next opens it anew. One that is outdated is opened anew at once, and asked again. */
  async use<T>(work: (opened: OpenedOrigin) => Promise<T>): Promise<T> {
    for (let plans = 1; ; plans++) {
      const opened = await this.get();
      try {
        return await work(opened);
      } catch (error) {
        if (isOfTheStore(error)) await this.#forget(opened);
        if (!(error instanceof OriginOutdated) || plans === RECOVERY_PLANS_MAX) throw error;
      }
    }
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

  async #forget(failed: OpenedOrigin): Promise<void> {
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
const isOfTheStore = (error: unknown): boolean => isHoldfastError(error, 'STORE_UNREACHABLE', 'STORE_DENIED');

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error('the origin cannot be opened', { cause: error }));

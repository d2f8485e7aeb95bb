/**
 * Whether a replica may answer: it has seen within its trust that its own mark is the newest of the store behind (docs/replica.md, section 5).
 *
 * Invariants. The time counts from before the look, by the clock that says more: one stands still while the host sleeps, the other can be set. Once
 * fenced, for ever.
 */
import { HoldfastError, isHoldfastError, messageOf } from '../../../domain/errors.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { fenced, newestMark } from './mark.ts';

export interface TrustOptions {
  readonly store: ObjectStore;
  readonly epoch: number;
  readonly trustMs: number;
  /** Longest time between two looks. */
  readonly lookMs: number;
  readonly onFenced: (error: HoldfastError) => void;
}

export class Trust implements AsyncDisposable {
  readonly #options: TrustOptions;
  #seen = clocks();
  #fenced: HoldfastError | null = null;
  #lastError: string | null = null;
  #looking: Promise<void> | null = null;
  readonly #timer: NodeJS.Timeout;

  /** The mark was put, or seen, just now: by the caller, who took the time before. */
  constructor(options: TrustOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#look().catch(() => undefined), options.lookMs).unref();
  }

  /** How long it is trusted on; 0: it is not. */
  get leftMs(): number {
    return this.#fenced === null ? Math.max(0, this.#options.trustMs - since(this.#seen)) : 0;
  }

  get isFenced(): boolean {
    return this.#fenced !== null;
  }

  /** REPLICA_FENCED, STORE_UNREACHABLE. */
  check(): void {
    if (this.#fenced !== null) throw this.#fenced;
    if (this.leftMs > 0) return;
    void this.#look().catch(() => undefined);
    throw new HoldfastError(
      'STORE_UNREACHABLE',
      `the replica has not seen its mark in the store behind for ${Math.round(since(this.#seen) / 1000)} s: ${this.#lastError ?? 'it was stopped'}`,
      { trustMs: this.#options.trustMs },
    );
  }

  /** Looks, unless somebody has within this time. Rejects as `check`, or as the store does. */
  async confirm(withinMs: number): Promise<void> {
    if (this.#fenced === null && since(this.#seen) > withinMs) await this.#look();
    this.check();
  }

  fence(error: HoldfastError): void {
    if (this.#fenced !== null) return;
    this.#fenced = error;
    this.#options.onFenced(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking?.catch(() => undefined);
  }

  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce().finally(() => (this.#looking = null));
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const begun = clocks();
    const { store, epoch } = this.#options;
    try {
      const newest = await newestMark(store, epoch);
      if (newest?.epoch === epoch) {
        this.#seen = begun;
        this.#lastError = null;
        return;
      }
      const [host, other] = [newest?.host ?? 'nobody', newest?.epoch ?? 0];
      throw fenced(`another replica stands before the store: ${host}, since epoch ${other}`, { host, epoch: other });
    } catch (error) {
      this.#lastError = messageOf(error);
      if (isHoldfastError(error, 'REPLICA_FENCED')) this.fence(error);
      throw error;
    }
  }
}

interface Clocks {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

const clocks = (): Clocks => ({ monotonicMs: performance.now(), wallMs: Date.now() });
const since = ({ monotonicMs, wallMs }: Clocks): number => Math.max(performance.now() - monotonicMs, Date.now() - wallMs, 0);

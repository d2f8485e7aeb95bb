/**
 * One member of an epoch: its batches are put there in any order, a few at once, and confirmed in order.
 *
 * Invariants (docs/journal.md, J2, J3). A batch is confirmed when the put created it, or when what is there is the same to the byte: an
 * answer may have been lost. Anything else in its place, a seal before all, means that the chain is not the owner's any more: nothing more is put and
 * nothing more is confirmed. What counts is the prefix. An unclear answer is tried again, for ever: giving a member up is the owner's.
 */
import { messageOf, HoldfastError } from '../../../domain/errors.ts';
import { BATCHES_IN_FLIGHT } from '../../../domain/limits.ts';
import type { Environment } from '../../repository/environment.ts';
import type { Region } from '../journal.ts';
import { batchName } from '../object-names.ts';
import { waitAfter } from '../takeover/patience.ts';

export interface LaneBatch {
  readonly index: number;
  readonly stored: Buffer;
}

export interface LaneOptions {
  readonly region: Region;
  readonly epoch: number;
  readonly environment: Environment;
  /** Only goes forward. */
  readonly nowMs: () => number;
  /** The prefix has grown, or a try has failed. Never in the turn of a call. */
  readonly onChange: () => void;
  /** Somebody else's object stands in a batch's place. */
  readonly onStranger: () => void;
}

interface Shipping {
  readonly batch: LaneBatch;
  attemptsFailed: number;
}

export class Lane {
  readonly region: Region;
  readonly #options: LaneOptions;
  readonly #abort = new AbortController();
  #waiting: LaneBatch[] = [];
  readonly #inFlight = new Map<number, Shipping>();
  readonly #running = new Set<Promise<void>>();
  /** Confirmed above the prefix. */
  readonly #ahead = new Set<number>();
  #confirmed = 0;
  #lastError: string | null = null;
  #failedAtMs: number | null = null;
  /** Since when no try has failed; null: the newest has. */
  #healthySinceMs: number | null;

  constructor(options: LaneOptions) {
    this.region = options.region;
    this.#options = options;
    this.#healthySinceMs = options.nowMs();
  }

  /** So many batches, from the first on, are there. */
  get confirmed(): number {
    return this.#confirmed;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Tries in a row that the unluckiest batch has failed. */
  get failures(): number {
    return Math.max(0, ...[...this.#inFlight.values()].map(({ attemptsFailed }) => attemptsFailed));
  }

  /** When the newest try failed that did; null: none has. */
  get failedAtMs(): number | null {
    return this.#failedAtMs;
  }

  get healthySinceMs(): number | null {
    return this.#healthySinceMs;
  }

  get lastError(): string | null {
    return this.#lastError;
  }

  /** Batches are offered in order, from 0 on. */
  offer(batch: LaneBatch): void {
    this.#waiting.push(batch);
    this.#fill();
  }

  /** Puts nothing more, and confirms nothing more. Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#abort.abort(new HoldfastError('JOURNAL_FENCED', 'the epoch is over'));
    this.#waiting = [];
    await Promise.all(this.#running);
  }

  get #stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  #fill(): void {
    while (!this.#stopped && this.#inFlight.size < BATCHES_IN_FLIGHT) {
      const batch = this.#waiting.shift();
      if (batch === undefined) return;
      const shipping = { batch, attemptsFailed: 0 };
      this.#inFlight.set(batch.index, shipping);
      const running = this.#ship(shipping);
      this.#running.add(running);
      void running.finally(() => this.#running.delete(running));
    }
  }

  async #ship(shipping: Shipping): Promise<void> {
    const { onChange, onStranger, environment } = this.#options;
    const { index } = shipping.batch;
    while (!this.#stopped)
      try {
        const what = await this.#put(shipping.batch);
        if (this.#stopped) return;
        if (what === 'stranger') {
          this.#abort.abort(new HoldfastError('JOURNAL_FENCED', 'somebody else has put into the epoch'));
          return onStranger();
        }
        this.#healthySinceMs ??= this.#options.nowMs();
        this.#inFlight.delete(index);
        this.#ahead.add(index);
        while (this.#ahead.delete(this.#confirmed)) this.#confirmed++;
        this.#fill();
        return onChange();
      } catch (error) {
        if (this.#stopped) return;
        shipping.attemptsFailed++;
        this.#failedAtMs = this.#options.nowMs();
        this.#healthySinceMs = null;
        this.#lastError = error instanceof HoldfastError ? error.code : messageOf(error);
        onChange();
        await waitAfter(environment, shipping.attemptsFailed);
      }
  }

  async #put({ index, stored }: LaneBatch): Promise<'ours' | 'stranger'> {
    const { epoch } = this.#options;
    const { store } = this.region;
    const name = batchName(epoch, index);
    const { signal } = this.#abort;
    if ((await store.put(name, stored, { ifAbsent: true, signal })) === 'created') return 'ours';
    const there = await store.get(name, { signal });
    if (there === null) throw new HoldfastError('STORE_UNREACHABLE', `${name} was taken, and is gone`, { name });
    return there.equals(stored) ? 'ours' : 'stranger';
  }
}

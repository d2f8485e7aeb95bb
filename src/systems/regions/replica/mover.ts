/**
 * Moves entries to the store behind, in order as far as anybody could have seen it, and reads each back (docs/replica.md, P3 and P4).
 *
 * Invariants. An entry is put when the store has said of every entry that it has it that had been answered when its request began, and it is the oldest of
 * its names; so the store never has something without what its writer knew to be there. It counts as moved when the store gave back its length and digest. Nothing is
 * given up: what fails is tried again, for ever. A name that holds what no entry of ours has put is somebody else's: that fences.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError, isHoldfastError, messageOf } from '../../../domain/errors.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import type { Sleep } from '../../../ground/stores/sleep.ts';
import { LOOK_AHEAD, LOOK_BEFORE_MOVE_MS, RETRY_MS_MAX, RETRY_MS_MIN } from './limits.ts';
import type { ReplicaLog } from './log.ts';
import { fenced } from './mark.ts';
import type { Trust } from './trust.ts';
import type { Waiting, WaitingEntry } from './waiting.ts';

export interface MoverOptions {
  readonly store: ObjectStore;
  readonly log: ReplicaLog;
  readonly waiting: Waiting;
  readonly trust: Trust;
  readonly lanes: number;
  readonly bytes: number;
  readonly sleep: Sleep;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** An entry is marked as moved. */
  readonly onMoved: (entry: WaitingEntry) => void;
}

export interface MoverStatus {
  readonly underWay: number;
  /** Tries that failed since the start. */
  readonly errors: number;
  /** Of the newest try that failed, until an entry is moved again; null: nothing fails. */
  readonly lastError: string | null;
}

export class Mover implements AsyncDisposable {
  readonly #options: MoverOptions;
  readonly #stop = new AbortController();
  readonly #underWay = new Map<WaitingEntry, Promise<void>>();
  #bytes = 0;
  #errors = 0;
  #lastError: string | null = null;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  get status(): MoverStatus {
    return { underWay: this.#underWay.size, errors: this.#errors, lastError: this.#lastError };
  }

  /** Looks for what may be moved now. Whenever something came, or went. */
  wake(): void {
    const { waiting, lanes, bytes, trust } = this.#options;
    if (this.#stop.signal.aborted || trust.isFenced) return;
    let looked = 0;
    let thereThrough: number | null = null;
    for (const entry of waiting.entries) {
      if (entry.isMoved) continue;
      if (!entry.isThere) thereThrough ??= entry.number - 1;
      if (this.#underWay.size >= lanes || ++looked > LOOK_AHEAD) return;
      const fits = this.#bytes === 0 || this.#bytes + entry.sizeBytes <= bytes;
      if (!fits) return;
      if (!this.#underWay.has(entry) && entry.after <= (thereThrough ?? Infinity) && waiting.isOldest(entry)) this.#start(entry);
    }
  }

  /** Begins nothing more; resolves when nothing is under way. What was, is begun again at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new HoldfastError('STORE_UNREACHABLE', 'the replica stops'));
    await Promise.all(this.#underWay.values());
  }

  #start(entry: WaitingEntry): void {
    this.#bytes += entry.sizeBytes;
    const moving = this.#move(entry).finally(() => {
      this.#underWay.delete(entry);
      this.#bytes -= entry.sizeBytes;
      this.wake();
    });
    this.#underWay.set(entry, moving);
  }

  async #move(entry: WaitingEntry): Promise<void> {
    const { signal } = this.#stop;
    const { trust, onMoved, sleep, random } = this.#options;
    for (let tries = 1; !signal.aborted && !trust.isFenced; tries++) {
      try {
        await trust.confirm(LOOK_BEFORE_MOVE_MS);
        await (entry.kind === 'delete' ? this.#delete(entry) : this.#put(entry));
        entry.isThere = entry.isMoved = true;
        this.#lastError = null;
        return onMoved(entry);
      } catch (error) {
        if (signal.aborted) return;
        // What it lets go first has gone; what comes now waits again.
        entry.isThere = false;
        this.#errors++;
        this.#lastError = messageOf(error);
        if (isHoldfastError(error, 'REPLICA_FENCED')) return trust.fence(error);
      }
      const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (tries - 1)) * (0.5 + random() / 2);
      await sleep(waitMs, signal).catch(() => undefined);
    }
  }

  async #delete({ names }: WaitingEntry): Promise<void> {
    await this.#options.store.delete(names, { signal: this.#stop.signal });
  }

  async #put(entry: WaitingEntry): Promise<void> {
    const { store, log } = this.#options;
    const { signal } = this.#stop;
    const [name = ''] = entry.names;
    const body = await log.body(entry);
    const answer = await store.put(name, body, { ifAbsent: entry.kind === 'create', signal });
    // What comes after it need not wait for its reading back.
    if (answer === 'created') {
      entry.isThere = entry.isOurs = true;
      this.wake();
    }
    const there = await store.get(name, { signal });
    const digest = there === null ? null : blake3(there);
    if (there?.byteLength === entry.sizeBytes && digest?.equals(entry.digest) === true) return;
    if (there === null) throw new HoldfastError('STORE_UNREACHABLE', `${name} was put, and is not there`, { name });
    if (entry.isOurs) throw new HoldfastError('DAMAGED', `${name} was put, and the store gives back other bytes`, { name });
    // An entry that was moved before the last start, and was not known to be, finds what one behind it has left.
    if (this.#options.waiting.later(name, entry).some((other) => digest?.equals(other.digest) === true)) return;
    throw fenced(`${name} was put into the store behind by somebody else; what was answered for it stays here`, { name });
  }
}

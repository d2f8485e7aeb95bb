/**
 * A replica: what is put is durable here when it is answered, and moved to the store behind it afterwards (docs/replica.md).
 *
 *     put ──▶ a turn of the name ──▶ log, synced ──▶ answered
 *                                      └──▶ mover ──▶ store behind, read back ──▶ index ──▶ segment removed
 *
 * What is there is what the index says, with what waits laid over it. Both change in one turn of the event loop, so no reader sees a name go
 * missing on its way from the one to the other.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../../domain/errors.ts';
import { pageLength } from '../../../ground/stores/object-name.ts';
import type { ByteRange, ListOptions, ObjectInfo, ObjectStore } from '../../../ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../ground/stores/replica-wire.ts';
import { sleep } from '../../../ground/stores/sleep.ts';
import type { ReplicaLimits } from './limits.ts';
import { overlaid } from './listing.ts';
import type { ReplicaLog } from './log.ts';
import { releaseMark, type MarkDeps } from './mark.ts';
import { Mover } from './mover.ts';
import type { KnownObject, NameIndex } from './names.ts';
import { openParts, roomOf, type Parts, type ReplicaOptions } from './opening.ts';
import type { Held, Room } from './room.ts';
import type { Trust } from './trust.ts';
import { Turns } from './turns.ts';
import { foldersOf, type Waiting, type WaitingEntry } from './waiting.ts';

export interface ReplicaPut {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** BLAKE3 of the bytes, which the caller has checked. */
  readonly digest: Buffer;
  readonly ifAbsent: boolean;
  /** What was answered when the request began; see `cause`. */
  readonly cause: number;
}

export interface ReplicaStatus {
  readonly epoch: number;
  readonly state: 'serving' | 'not trusted' | 'fenced' | 'disk failed';
  readonly trustedForMs: number;
  readonly waiting: { readonly entries: number; readonly bytes: number; readonly oldestMs: number };
  /** Puts that wait for room, and since when. */
  readonly pressure: { readonly puts: number; readonly ms: number };
  /** Since the start. */
  readonly moved: { readonly entries: number; readonly bytes: number };
  readonly underWay: number;
  readonly errors: number;
  readonly lastError: string | null;
}

export class Replica implements AsyncDisposable {
  readonly limits: ReplicaLimits;
  readonly epoch: number;
  readonly #store: ObjectStore;
  readonly #index: NameIndex;
  readonly #log: ReplicaLog;
  readonly #waiting: Waiting;
  readonly #trust: Trust;
  readonly #mover: Mover;
  readonly #room: Room;
  readonly #turns = new Turns();
  readonly #marks: MarkDeps;
  readonly #held: AsyncDisposableStack;
  #moved = { entries: 0, bytes: 0 };
  #freeing: Promise<void> | null = null;
  #idle: (() => void)[] = [];

  /** Takes the store's mark, lists it if it is new here, and begins to move. REPLICA_RUNS, REPLICA_FENCED, DAMAGED, STORE_UNREACHABLE. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    await using stack = new AsyncDisposableStack();
    const parts = await openParts(options, stack);
    return new Replica(parts, stack.move());
  }

  private constructor(parts: Parts, held: AsyncDisposableStack) {
    const { limits, epoch, store, index, log, waiting, room, trust, marks, pause } = parts;
    this.limits = limits;
    this.epoch = epoch;
    this.#store = store;
    this.#index = index;
    this.#log = log;
    this.#waiting = waiting;
    this.#room = room;
    this.#trust = trust;
    this.#marks = marks;
    this.#held = held;
    this.#mover = held.use(
      new Mover({
        ...{ store, log, waiting, trust, lanes: limits.lanes, bytes: limits.movingBytes, sleep: pause, random: Math.random },
        onMoved: (entry) => this.#onMoved(entry),
      }),
    );
    this.#mover.wake();
  }

  /** What a request that begins now comes after. */
  get cause(): number {
    return this.#log.durable;
  }

  /** Room among what waits, before a body is taken in. False: none came free in time, which is back-pressure. */
  reserve(held: Held, signal: AbortSignal): Promise<boolean> {
    return this.#room.take(held, this.limits.roomMs, signal);
  }

  /** Of what was reserved and not used. */
  giveBack(held: Held): void {
    this.#room.give(held);
  }

  /** Room for it was reserved, and is its own from here on. */
  async put({ name, bytes, digest, ifAbsent, cause }: ReplicaPut): Promise<'created' | 'exists'> {
    return await this.#inTurn([name], { things: 1, bytes: bytes.byteLength }, async () => {
      const there = this.#look(name);
      if (ifAbsent && there !== null) return { answer: 'exists', used: 0 };
      if (there === null) this.#refuseFolders(name);
      await this.#log.append(
        { kind: ifAbsent ? 'create' : 'put', names: [name], after: cause, sizeBytes: bytes.byteLength, digest },
        bytes,
      );
      return { answer: 'created', used: 1 };
    });
  }

  /** What is there under a name. */
  find(name: string): KnownObject | null {
    this.#trust.check();
    return name.startsWith(MARK_PREFIX) ? null : this.#look(name);
  }

  /** The bytes, or the range of them; all of them verified, as far as their digest is known. DAMAGED: the store behind lost or changed them. */
  async get(name: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Buffer | null> {
    for (;;) {
      const found = this.find(name);
      if (found === null) return null;
      const waiting = this.#waiting.newest(name);
      const bytes = waiting === undefined ? await this.#getBehind(name, range, signal) : await this.#getHere(waiting, range);
      this.#trust.check();
      if (bytes !== null && (waiting !== undefined || range !== undefined || isWhole(bytes, found))) return bytes;
      // It was moved, or deleted, or replaced meanwhile; or not.
      if (waiting === undefined && this.#waiting.newest(name) === undefined && isSame(this.#look(name), found))
        throw new HoldfastError('DAMAGED', `the store behind has ${bytes === null ? 'lost' : 'other bytes for'} ${name}`, { name });
    }
  }

  list(prefix: string, { after, limit }: ListOptions): readonly ObjectInfo[] {
    this.#trust.check();
    return overlaid(this.#index, this.#waiting, { prefix, after: after ?? '', limit: pageLength(limit) });
  }

  /** Room for it was reserved, one thing a name, and is its own from here on. */
  async delete(names: readonly string[], cause: number): Promise<void> {
    await this.#inTurn(names, { things: names.length, bytes: 0 }, async () => {
      const there = [...new Set(names)].filter((name) => this.#look(name) !== null);
      if (there.length > 0)
        await this.#log.append({ kind: 'delete', names: there, after: cause, sizeBytes: 0, digest: NO_DIGEST }, NO_BYTES);
      return { answer: undefined, used: there.length };
    });
  }

  status(): ReplicaStatus {
    const { entries, bytes } = this.#waiting;
    const { waiting: puts, ms } = this.#room.pressure;
    const trustedForMs = this.#trust.leftMs;
    const [oldest] = entries;
    return {
      epoch: this.epoch,
      state: this.#trust.isFenced ? 'fenced' : this.#log.failure !== null ? 'disk failed' : trustedForMs > 0 ? 'serving' : 'not trusted',
      trustedForMs,
      waiting: { entries: entries.length, bytes, oldestMs: oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.atMs) },
      pressure: { puts, ms },
      moved: this.#moved,
      ...this.#mover.status,
    };
  }

  /** Resolves when nothing waits. Rejects when it is fenced. */
  async drained(): Promise<void> {
    while (this.#waiting.entries.length > 0) {
      if (this.#trust.isFenced) this.#trust.check();
      await Promise.race([new Promise<void>((resolve) => this.#idle.push(resolve)), sleep(200)]);
    }
  }

  /** Nothing waits any more, and the store may be used directly. Nothing is taken after it. */
  async release(): Promise<void> {
    await this.drained();
    await releaseMark(this.#marks);
    this.#trust.fence(new HoldfastError('REPLICA_FENCED', 'the replica was released'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mover[Symbol.asyncDispose]();
    await this.#freeing;
    await this.#held.disposeAsync();
  }

  /** In the turn of the names, and only answered while it is trusted. What it did not use of its room it gives back; of what failed on the disk nobody knows. */
  async #inTurn<T>(names: readonly string[], held: Held, work: () => Promise<{ readonly answer: T; readonly used: number }>): Promise<T> {
    let unused = held.things;
    try {
      refuseOwn(names);
      return await this.#turns.run(names, async () => {
        this.#trust.check();
        const { answer, used } = await work();
        unused = held.things - used;
        if (used > 0) this.#mover.wake();
        // A sync that took longer than the trust is not answered.
        this.#trust.check();
        return answer;
      });
    } finally {
      if (unused > 0) this.#room.give({ things: unused, bytes: unused === held.things ? held.bytes : 0 });
    }
  }

  #look(name: string): KnownObject | null {
    const waiting = this.#waiting.newest(name);
    if (waiting === undefined) return this.#index.get(name);
    return waiting.kind === 'delete' ? null : waiting;
  }

  /** A new name is no folder of another, nor below one that is there: the store behind may refuse that, when nobody can be told any more. */
  #refuseFolders(name: string): void {
    for (const folder of foldersOf(name)) if (this.#look(folder) !== null) throw isFolder(name, folder);
    if (!this.#waiting.hasBelow(name) && !this.#index.hasBelow(name)) return;
    const [below] = overlaid(this.#index, this.#waiting, { prefix: `${name}/`, after: '', limit: 1 });
    if (below !== undefined) throw isFolder(below.name, name);
  }

  #getBehind(name: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Buffer | null> {
    return this.#store.get(name, { signal, ...(range === undefined ? {} : { range }) });
  }

  /** Null: it was moved meanwhile, and its segment is gone. */
  async #getHere(entry: WaitingEntry, range: ByteRange | undefined): Promise<Buffer | null> {
    try {
      const bytes = await this.#log.body(entry);
      return range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length);
    } catch (error) {
      if (entry.isMoved) return null;
      throw error;
    }
  }

  #onMoved(entry: WaitingEntry): void {
    this.#moved = { entries: this.#moved.entries + 1, bytes: this.#moved.bytes + entry.sizeBytes };
    const moved = this.#waiting.moved();
    const last = moved.at(-1);
    if (last === undefined) return;
    this.#index.apply(moved);
    this.#waiting.drop(moved.length);
    for (const one of moved) this.#room.give(roomOf(one));
    this.#free(last.number);
    if (this.#waiting.entries.length > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Segments go when the index that says what they said is on the disk. */
  #free(through: number): void {
    if (this.#freeing !== null || !this.#log.canFree(through)) return;
    this.#index.settle();
    this.#freeing = this.#log
      .free(through)
      // A file that cannot be removed is tried again with the next one.
      .catch(() => undefined)
      .finally(() => (this.#freeing = null));
  }
}

const isWhole = (bytes: Buffer, { sizeBytes, digest }: KnownObject): boolean =>
  bytes.byteLength === sizeBytes && (digest === null || blake3(bytes).equals(digest));

const isSame = (one: KnownObject | null, other: KnownObject): boolean =>
  one !== null &&
  one.sizeBytes === other.sizeBytes &&
  (one.digest === other.digest || one.digest?.equals(other.digest ?? NO_DIGEST) === true);

const NO_BYTES = Buffer.alloc(0);
const NO_DIGEST = Buffer.alloc(32);

function refuseOwn(names: readonly string[]): void {
  if (!names.some((name) => name.startsWith(MARK_PREFIX) || `${name}/` === MARK_PREFIX)) return;
  throw new HoldfastError('ARGUMENT_INVALID', `names below ${MARK_PREFIX} are the replica's own`, {
    field: 'name',
    expected: 'another name',
  });
}

const isFolder = (name: string, folder: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${folder} is the folder of ${name}`, { field: 'name', expected: 'no folder of another name' });

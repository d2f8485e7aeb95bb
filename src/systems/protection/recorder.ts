/**
 * The changes of a group's volumes become records, in the turn in which they are made (docs/protection.md, P1).
 *
 *     place noted ──▶ volume changed ──▶ record with the next number ──▶ answered
 *
 * All of that is one turn of the event loop, so the volumes and the journal have one order, and a freeze has a number. What it does
 * with changes is its mode, which changes between turns only: it keeps them waiting, records them, lets them pass without a record
 * (order is lost), or refuses them before they reach a volume.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import { JOURNAL_WRITE_BYTES_MAX, UNANSWERED_BYTES_MAX } from '../../domain/limits.ts';
import type { JournalOp, Owner } from '../../engine/journal/owning/owner.ts';
import type { Change, ChangePort } from '../../engine/volumes/change-port.ts';
import { NbdError } from '../../engine/volumes/nbd/export.ts';
import { ERRNO } from '../../engine/volumes/nbd/protocol.ts';
import type { ServedVolume } from '../../engine/volumes/served-volume.ts';
import { Arena } from './arena.ts';
import type { Places } from './places.ts';

export interface RecorderOptions {
  readonly places: Places;
  /** In the order of their numbers. */
  readonly volumes: readonly ServedVolume[];
  readonly nowMs: () => number;
  /** The owner has refused a record. */
  readonly onRefused: (error: unknown) => void;
  /** A volume was changed, and what it holds now cannot be read. */
  readonly onUnclear: (error: unknown) => void;
}

type Mode =
  | { readonly kind: 'waiting'; readonly until: PromiseWithResolvers<void> }
  | { readonly kind: 'recording'; readonly owner: Owner }
  | { readonly kind: 'lost' }
  | { readonly kind: 'refusing'; readonly error: NbdError };

/** What a client is told when its journal takes no more. */
export const refusalFor = (error: unknown): NbdError =>
  isHoldfastError(error, 'JOURNAL_FENCED')
    ? new NbdError(ERRNO.EPERM, `the journal is somebody else's: ${error.message}`)
    : new NbdError(ERRNO.EIO, 'the journal takes no more');

/** A flush with its number, and when it is acknowledged. */
export interface Flushing {
  readonly seq: number;
  readonly done: Promise<void>;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #arena = new Arena();
  #mode: Mode = { kind: 'waiting', until: Promise.withResolvers() };
  /** Of records that the owner has not said that it has room for. */
  #untakenBytes = 0;
  #room: PromiseWithResolvers<void> | null = null;
  #fullSinceMs: number | null = null;
  /** The newest flush: while nothing comes after it, it is everybody's. */
  #flushed: Flushing | null = null;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  get isRecording(): boolean {
    return this.#mode.kind === 'recording';
  }

  get isLost(): boolean {
    return this.#mode.kind === 'lost';
  }

  /** For so long there was no room for any record. */
  get fullMs(): number {
    return this.#fullSinceMs === null ? 0 : this.#options.nowMs() - this.#fullSinceMs;
  }

  /** Keeps what comes from now on waiting for another mode. */
  wait(): void {
    this.#enter({ kind: 'waiting', until: Promise.withResolvers() });
  }

  /** Records what comes from this turn on. */
  record(owner: Owner): void {
    this.#enter({ kind: 'recording', owner });
  }

  /** Lets what comes from now on pass without a record. */
  lose(): void {
    this.#enter({ kind: 'lost' });
  }

  refuse(error: NbdError): void {
    this.#enter({ kind: 'refusing', error });
  }

  portOf(volume: number): ChangePort {
    return {
      mayChange: () => this.#mayChange(),
      make: (change, make) => this.#make(volume, change, make),
      flush: () => this.flush(),
    };
  }

  /** A record that is none of a volume's. Its number. */
  mark(owner: Owner, kind: 'gap' | 'flush'): number {
    const seq = owner.next;
    this.#options.places.note({ seq, volume: 0, offset: 0, length: 0 });
    this.#take(owner, [{ kind }], 0);
    return seq;
  }

  async flush(): Promise<void> {
    const mode = this.#mode;
    switch (mode.kind) {
      case 'waiting':
        await mode.until.promise;
        return this.flush();
      case 'refusing':
        throw mode.error;
      case 'lost':
        await Promise.all(this.#options.volumes.map((volume) => volume.sync()));
        return;
      case 'recording':
        return this.point(mode.owner).done;
    }
  }

  /** A flush in this turn; when nothing has come since the one before, that one, which may be under way. */
  point(owner: Owner): Flushing {
    const seq = owner.next;
    if (this.#flushed?.seq === seq - 1) return this.#flushed;
    this.#options.places.note({ seq, volume: 0, offset: 0, length: 0 });
    const done = owner.flush().then(
      () => undefined,
      (error: unknown) => {
        this.#options.onRefused(error);
        throw refusalFor(error);
      },
    );
    this.#flushed = { seq, done };
    return this.#flushed;
  }

  #enter(mode: Mode): void {
    const before = this.#mode;
    this.#mode = mode;
    this.#flushed = null;
    if (before.kind === 'waiting') before.until.resolve();
    // Who waits for room asks again.
    this.#room?.resolve();
    this.#room = null;
    this.#fullSinceMs = null;
  }

  #mayChange(): Promise<void> | null {
    const mode = this.#mode;
    if (mode.kind === 'refusing') throw mode.error;
    if (mode.kind === 'waiting') return mode.until.promise;
    if (mode.kind === 'lost' || this.#untakenBytes <= UNANSWERED_BYTES_MAX) return null;
    this.#fullSinceMs ??= this.#options.nowMs();
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  #make(volume: number, change: Change, make: () => boolean): void {
    const mode = this.#mode;
    if (mode.kind === 'lost') return void make();
    // `mayChange` was asked in this turn.
    if (mode.kind !== 'recording') throw new NbdError(ERRNO.EIO, 'a change that nobody waited with');
    const { owner } = mode;
    this.#note(owner, volume, change);
    let isMade: boolean;
    try {
      isMade = make();
    } catch (error) {
      // Told before anything was changed.
      if (!(error instanceof NbdError && error.errno === ERRNO.ENOTSUP)) this.#takeAsItIs(owner, volume, change);
      throw error;
    }
    if (isMade) this.#take(owner, this.#opsOf(volume, change), change.length);
  }

  #note(owner: Owner, volume: number, { kind, offset, length }: Change): void {
    const step = kind === 'write' ? JOURNAL_WRITE_BYTES_MAX : length;
    for (let at = 0, seq = owner.next; at < length; at += step, seq++)
      this.#options.places.note({ seq, volume, offset: offset + at, length: Math.min(step, length - at) });
  }

  #opsOf(volume: number, change: Change): readonly JournalOp[] {
    const { kind, offset, length } = change;
    if (kind === 'zero') return [{ kind, volume, offset, length }];
    const ops: JournalOp[] = [];
    for (let at = 0; at < length; at += JOURNAL_WRITE_BYTES_MAX) {
      const data = this.#arena.copy(change.parts, at, Math.min(JOURNAL_WRITE_BYTES_MAX, length - at));
      ops.push({ kind, volume, offset: offset + at, data });
    }
    return ops;
  }

  /** Of a change that failed half-way. */
  #takeAsItIs(owner: Owner, volume: number, { offset, length }: Change): void {
    try {
      const now = Buffer.allocUnsafe(length);
      this.#options.volumes[volume]?.readNow(now, offset);
      const change = { kind: 'write' as const, offset, length, parts: [now] };
      this.#note(owner, volume, change);
      this.#take(owner, this.#opsOf(volume, change), length);
    } catch (error) {
      this.#options.onUnclear(error);
    }
  }

  #take(owner: Owner, ops: readonly JournalOp[], bytes: number): void {
    this.#untakenBytes += bytes;
    owner
      .append(ops)
      .catch((error: unknown) => this.#options.onRefused(error))
      .finally(() => {
        this.#untakenBytes -= bytes;
        if (this.#untakenBytes > UNANSWERED_BYTES_MAX) return;
        this.#room?.resolve();
        this.#room = null;
        this.#fullSinceMs = null;
      });
  }
}

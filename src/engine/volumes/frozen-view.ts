/**
 * A frozen view: a volume as it was at one moment, read while writes go on, through its server or beside it (view-beside.ts).
 *
 *     write              ──▶ preserved? ──no──▶ copy what is there into the preserve file ──▶ write
 *     read of the view   ──▶ preserved? ──yes─▶ preserve file, else the volume; and looked at again after a wait
 *
 * What is kept is kept in granules smaller than an extent, for most writes are small and each waits for its copy. A copy is made in the same turn of the event loop as the write that needs it, so that nobody sees one without the other.
 * What was preserved is bounded: at the bound writers wait until the view is closed, and that is counted. A view whose copies
 * cannot be kept (a full disk) breaks, and reads of it fail; the volume's own writes go on.
 *
 * So they do when nobody reads: a view that writers wait for and that no connection has had open for a minute is given up,
 * for a capture that died would otherwise hold a machine's writers for ever.
 */
import { MIB } from '../../domain/limits.ts';
import type { Clock } from './clock.ts';
import type { CopiesFile, CopiesFiles } from './copies.ts';
import type { Courtesy } from './courtesy.ts';
import { BLOCK_SIZES } from './file-export.ts';
import type { LiveFile } from './live-file.ts';
import { NbdError, type Backend, type Export, type MetaContext, type StatusRun } from './nbd/export.ts';
import { ERRNO, type Errno } from './nbd/protocol.ts';
import { KEPT_CONTEXT } from './view-beside.ts';
import { ExtentSet } from './tracking/extent-set.ts';
import type { ViewFigures } from './volume-events.ts';

/** Time without a reader after which a view gives way to writers that wait for it. */
export const GIVE_WAY_MS = 60_000;

/** What is gathered of an allocation map before it is told: 16,384 runs at the most. */
const ALLOCATION_STEP_BYTES = 64 * MIB;

export interface FrozenViewOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly preserveBytesMax: number;
  /** Whose its copies are. */
  readonly files: CopiesFiles;
  readonly clock: Clock;
  readonly courtesy: Courtesy;
  /** Contexts besides the allocation: what changed until the freeze. */
  readonly contexts: () => readonly MetaContext[];
  /** A writer waited so long. */
  readonly onHeld: (ms: number) => void;
  readonly onGivenUp: () => void;
}

/** Unit of copies, at the most: a bit each, 8 MiB of them a TiB. It divides every extent size, or is one. */
const GRANULE_BYTES = 16 * 1024;
/** Copied at once, where a write is large. */
const COPY_BYTES_MAX = 256 * 1024;

type Ended = 'closed' | 'broken' | 'given up';

const WHY: Readonly<Record<Ended, readonly [errno: Errno, why: string]>> = {
  closed: [ERRNO.ESHUTDOWN, 'the frozen view was closed'],
  broken: [ERRNO.EIO, 'the frozen view is broken: a copy could not be kept'],
  'given up': [ERRNO.EIO, 'the frozen view was given up: writers waited for it, and nobody read it'],
};

export class FrozenView {
  readonly #live: LiveFile;
  readonly copies: CopiesFile;
  readonly #copies: LiveFile;
  readonly #options: FrozenViewOptions;
  readonly #granuleBytes: number;
  /** Granules that the view has for itself. */
  readonly #preserved: ExtentSet;
  readonly #buffer: Buffer;
  readonly #held = new Set<() => void>();
  #preservedBytes = 0;
  #writersHeld = 0;
  #ended: Ended | null = null;
  #connections = 0;
  #unreadSinceMs: number;
  #cancelGivingUp: (() => void) | null = null;

  /** From the moment that its volume calls `preserve` before its writes, it is the volume of that moment. `copies` is its own until it is closed. */
  constructor(live: LiveFile, copies: CopiesFile, options: FrozenViewOptions) {
    this.#live = live;
    this.copies = copies;
    this.#copies = copies.file;
    this.#options = options;
    this.#granuleBytes = Math.min(GRANULE_BYTES, options.extentBytes);
    this.#preserved = new ExtentSet(Math.ceil(options.sizeBytes / this.#granuleBytes));
    this.#buffer = Buffer.alloc(COPY_BYTES_MAX);
    this.#unreadSinceMs = options.clock.nowMs();
  }

  get figures(): ViewFigures {
    return { preservedBytes: this.#preservedBytes, writersHeld: this.#writersHeld };
  }

  /** Whether it can be read (yet). */
  get stands(): boolean {
    return this.#ended === null;
  }

  /** Whether a write to an extent may need a copy of some of what it holds. */
  needs(extent: number): boolean {
    const granules = this.#options.extentBytes / this.#granuleBytes;
    return this.#ended === null && !this.#preserved.hasRange(extent * granules, Math.min((extent + 1) * granules, this.#preserved.count));
  }

  /** Keeps what a range holds. Null: kept, write now. A promise: ask again when it resolves. */
  preserve(offset: number, length: number): Promise<void> | null {
    const end = Math.ceil((offset + length) / this.#granuleBytes);
    for (let from = Math.floor(offset / this.#granuleBytes); from < end && this.#ended === null;) {
      const to = this.#sameUntil(from, end, (granule) => this.#preserved.has(granule));
      try {
        if (!this.#preserved.has(from) && !this.#keep(from, to)) return this.#hold();
      } catch {
        // Why is not known better than that; it is the view's harm, and its readers are told.
        this.breakOff();
      }
      from = to;
    }
    return null;
  }

  /** Where something ends that holds of granule `from` and its neighbours. */
  #sameUntil(from: number, end: number, holds: (granule: number) => boolean): number {
    const first = holds(from);
    let to = from + 1;
    while (to < end && holds(to) === first) to++;
    return to;
  }

  /** Copies granules, and leaves holes as they are, for whoever reads the view passes over them. False: it may keep no more. */
  #keep(from: number, to: number): boolean {
    if (this.#isZero(from, to)) this.#clear(from, to);
    else if (to - from === 1) return this.#copy(from, to);
    else {
      const step = COPY_BYTES_MAX / this.#granuleBytes;
      for (let at = from; at < to;) {
        const zero = this.#isZero(at, at + 1);
        const until = this.#sameUntil(at, Math.min(to, at + step), (granule) => this.#isZero(granule, granule + 1));
        if (zero) this.#clear(at, until);
        else if (!this.#copy(at, until)) return false;
        at = until;
      }
    }
    return true;
  }

  /** Zeros are kept as a hole; an earlier view may have left something there. */
  #clear(from: number, to: number): void {
    const { at, length } = this.#placeOf(from, to);
    if (this.#options.files.isUsed(this.copies)) this.#copies.zero(at, length, true);
    this.#preserved.addRange(from, to);
  }

  #copy(from: number, to: number): boolean {
    const { at, length } = this.#placeOf(from, to);
    if (this.#preservedBytes + length > this.#options.preserveBytesMax) return false;
    const bytes = this.#buffer.subarray(0, length);
    this.#live.readNow(bytes, at);
    this.#copies.write([bytes], at);
    this.#preservedBytes += length;
    this.#preserved.addRange(from, to);
    return true;
  }

  #isZero(from: number, to: number): boolean {
    const { at, length } = this.#placeOf(from, to);
    return this.#live.readsZero(at, length);
  }

  #placeOf(from: number, to: number): { readonly at: number; readonly length: number } {
    const at = from * this.#granuleBytes;
    return { at, length: Math.min(to * this.#granuleBytes, this.#options.sizeBytes) - at };
  }

  /** What it should have kept cannot be had. */
  breakOff(): void {
    this.#end('broken');
  }

  async #hold(): Promise<void> {
    const { clock, onHeld } = this.#options;
    const begunMs = clock.nowMs();
    this.#writersHeld++;
    await new Promise<void>((resolve) => {
      this.#held.add(resolve);
      this.#watch();
    });
    onHeld(clock.nowMs() - begunMs);
  }

  /** Sets the time at which it gives way, if it is in somebody's way and nobody reads it. */
  #watch(): void {
    this.#cancelGivingUp?.();
    this.#cancelGivingUp = null;
    if (this.#held.size === 0 || this.#connections > 0) return;
    const { clock, onGivenUp } = this.#options;
    const leftMs = Math.max(0, this.#unreadSinceMs + GIVE_WAY_MS - clock.nowMs());
    this.#cancelGivingUp = clock.after(leftMs, () => {
      this.#end('given up');
      onGivenUp();
    });
  }

  /** Lets waiting writers go; it can be read no more. */
  #end(how: Ended): void {
    if (this.#ended !== 'closed') this.#ended = how;
    for (const resolve of this.#held) resolve();
    this.#held.clear();
    this.#watch();
  }

  async close(): Promise<void> {
    if (this.#ended === 'closed') return;
    this.#end('closed');
    await this.#options.files.give(this.copies);
  }

  /** It as an export, read-only. */
  asExport(): Export {
    const { name, sizeBytes, contexts } = this.#options;
    return {
      ...{ name, sizeBytes, description: 'a frozen view', readOnly: true, multiConn: true, fastZero: false, blockSizes: BLOCK_SIZES },
      contexts: () => [
        { name: 'base:allocation', status: (offset, length) => this.#allocation(offset, length) },
        { name: KEPT_CONTEXT, status: (offset, length) => this.#kept(offset, length) },
        ...contexts(),
      ],
      open: () => this.#backend(),
    };
  }

  #backend(): Backend {
    const refuse = (): never => {
      throw new NbdError(ERRNO.EPERM, 'a frozen view takes no change');
    };
    let open = true;
    this.#connections++;
    this.#watch();
    return {
      readNow: (into, offset) => {
        this.#checkWhole();
        if (this.#options.courtesy.isBusy()) return false;
        for (const piece of this.#pieces(offset, into.length)) {
          const part = into.subarray(piece.at - offset, piece.at - offset + piece.length);
          if (!piece.file.readCached(part, piece.at)) return false;
        }
        return true;
      },
      read: (into, offset) => this.#read(into, offset),
      readsZero: (offset, length) => {
        this.#checkWhole();
        return [...this.#pieces(offset, length)].every(({ file, at, length: n }) => file.readsZero(at, n));
      },
      write: refuse,
      trim: refuse,
      zero: refuse,
      flush: () => undefined,
      cache: () => undefined,
      close: () => {
        if (!open) return;
        open = false;
        this.#connections--;
        this.#unreadSinceMs = this.#options.clock.nowMs();
        this.#watch();
      },
    };
  }

  /** A wait may let a write through: what the volume gave is right only if its extents are not preserved after it. */
  async #read(into: Buffer, offset: number): Promise<void> {
    await this.#options.courtesy.pass(into.length);
    this.#checkWhole();
    for (const piece of [...this.#pieces(offset, into.length)]) {
      const part = into.subarray(piece.at - offset, piece.at - offset + piece.length);
      await piece.file.read(part, piece.at);
      if (piece.file === this.#live)
        for (const later of [...this.#pieces(piece.at, piece.length)]) {
          if (later.file === this.#live) continue;
          await later.file.read(part.subarray(later.at - piece.at, later.at - piece.at + later.length), later.at);
        }
    }
    this.#checkWhole();
  }

  #checkWhole(): void {
    if (this.#ended !== null) throw new NbdError(...WHY[this.#ended]);
  }

  /** A range by where its bytes are. */
  *#pieces(offset: number, length: number): Generator<{ readonly file: LiveFile; readonly at: number; readonly length: number }> {
    for (const { at, length: n, inside } of this.#preserved.pieces(offset, length, this.#granuleBytes))
      yield { file: inside ? this.#copies : this.#live, at, length: n };
  }

  /** Flag 1: kept here. The rest is as it was in the volume, for who has read it there before asking. */
  async *#kept(offset: number, length: number): AsyncGenerator<StatusRun> {
    // Who asks beside its reads asks for no more than a read may have; a tool that maps all of the disk reads nothing.
    await this.#options.courtesy.pass(Math.min(length, BLOCK_SIZES.maximumBytes));
    this.#checkWhole();
    for (const piece of this.#preserved.pieces(offset, length, this.#granuleBytes))
      yield { length: piece.length, flags: piece.inside ? 1 : 0 };
  }

  /** What the volume says of a stretch is right, too, only if none of it is preserved after it: a hole now may have been data. */
  async *#allocation(offset: number, length: number): AsyncGenerator<StatusRun> {
    for (let at = offset; at < offset + length;) {
      this.#checkWhole();
      const [piece] = this.#pieces(at, Math.min(ALLOCATION_STEP_BYTES, offset + length - at));
      if (piece === undefined) return;
      const runs: StatusRun[] = [];
      for await (const run of piece.file.allocation(piece.at, piece.length)) runs.push(run);
      const [now] = this.#pieces(piece.at, piece.length);
      if (now?.file !== piece.file || now.length !== piece.length) continue;
      yield* runs;
      at += piece.length;
    }
  }
}

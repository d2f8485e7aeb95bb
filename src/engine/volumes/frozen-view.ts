/**
 * A frozen view: a volume as it was at one moment, read while writes go on.
 *
 *     write to an extent ──▶ preserved? ──no──▶ copy what it holds into the preserve file ──▶ write
 *     read of the view   ──▶ preserved? ──yes─▶ preserve file, else the volume; and looked at again after a wait
 *
 * A copy is made in the same turn of the event loop as the write that needs it, so that nobody sees one without the other.
 * What was preserved is bounded: at the bound writers wait until the view is closed, and that is counted. A view whose copies
 * cannot be kept (a full disk) breaks, and reads of it fail; the volume's own writes go on.
 */
import { ExtentSet } from './tracking/extent-set.ts';
import { NbdError, type Backend, type Export, type MetaContext, type StatusRun } from './nbd/export.ts';
import { ERRNO } from './nbd/protocol.ts';
import { BLOCK_SIZES } from './file-export.ts';
import { VolumeFile } from './volume-file.ts';

export interface FrozenViewOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  /** Where copies go; a file that is gone from its folder at once, and with this process. */
  readonly preservePath: string;
  readonly preserveBytesMax: number;
  /** Contexts besides the allocation: what changed until the freeze. */
  readonly contexts: () => readonly MetaContext[];
}

export interface FrozenViewFigures {
  readonly preservedBytes: number;
  /** Times that a writer found the bound reached. */
  readonly writersHeld: number;
}

export class FrozenView {
  readonly #live: VolumeFile;
  readonly #copies: VolumeFile;
  readonly #options: FrozenViewOptions;
  readonly #preserved: ExtentSet;
  readonly #buffer: Buffer;
  #preservedBytes = 0;
  #writersHeld = 0;
  #broken: unknown = null;
  #closed = false;
  #wake: (() => void)[] = [];

  private constructor(live: VolumeFile, copies: VolumeFile, options: FrozenViewOptions) {
    this.#live = live;
    this.#copies = copies;
    this.#options = options;
    this.#preserved = new ExtentSet(Math.ceil(options.sizeBytes / options.extentBytes));
    this.#buffer = Buffer.alloc(options.extentBytes);
  }

  /** Ready to begin: from the moment that its volume calls `preserve` before its writes, it is the volume of that moment. */
  static async prepare(live: VolumeFile, options: FrozenViewOptions): Promise<FrozenView> {
    return new FrozenView(live, await VolumeFile.createUnnamed(options.preservePath, options.sizeBytes), options);
  }

  get figures(): FrozenViewFigures {
    return { preservedBytes: this.#preservedBytes, writersHeld: this.#writersHeld };
  }

  /** Keeps what extents [from, to) hold. Null: kept, write now. A promise: ask again when it resolves. */
  preserve(from: number, to: number): Promise<void> | null {
    if (this.#broken !== null || this.#closed) return null;
    for (let extent = from; extent < to; extent++) {
      if (this.#preserved.has(extent)) continue;
      const { at, length } = this.#placeOf(extent);
      try {
        if (!this.#live.readsZero(at, length)) {
          if (this.#preservedBytes + length > this.#options.preserveBytesMax) return this.#hold();
          const bytes = this.#buffer.subarray(0, length);
          this.#live.readNow(bytes, at);
          this.#copies.write([bytes], at);
          this.#preservedBytes += length;
        }
        this.#preserved.add(extent);
      } catch (error) {
        this.#broken = error;
        this.#release();
        return null;
      }
    }
    return null;
  }

  #placeOf(extent: number): { readonly at: number; readonly length: number } {
    const { sizeBytes, extentBytes } = this.#options;
    const at = extent * extentBytes;
    return { at, length: Math.min(extentBytes, sizeBytes - at) };
  }

  #hold(): Promise<void> {
    this.#writersHeld++;
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #release(): void {
    for (const resolve of this.#wake.splice(0)) resolve();
  }

  /** Lets waiting writers go; the view can be read no more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
    await this.#copies[Symbol.asyncDispose]();
  }

  /** It as an export, read-only. */
  asExport(): Export {
    const { name, sizeBytes, contexts } = this.#options;
    return {
      ...{ name, sizeBytes, description: 'a frozen view', readOnly: true, multiConn: true, fastZero: false, blockSizes: BLOCK_SIZES },
      contexts: () => [{ name: 'base:allocation', status: (offset, length) => this.#allocation(offset, length) }, ...contexts()],
      open: () => this.#backend(),
    };
  }

  #backend(): Backend {
    const refuse = (): never => {
      throw new NbdError(ERRNO.EPERM, 'a frozen view takes no change');
    };
    return {
      readNow: (into, offset) => {
        this.#checkWhole();
        for (const piece of this.#pieces(offset, into.length)) {
          const part = into.subarray(piece.at - offset, piece.at - offset + piece.length);
          if (!piece.file.readCached(part, piece.at)) return false;
        }
        return true;
      },
      read: (into, offset) => this.#read(into, offset),
      readsZero: (offset, length) => [...this.#pieces(offset, length)].every(({ file, at, length: n }) => file.readsZero(at, n)),
      write: refuse,
      trim: refuse,
      zero: refuse,
      flush: () => undefined,
      cache: () => undefined,
      close: () => undefined,
    };
  }

  /** A wait may let a write through: what the volume gave is right only if its extents are not preserved after it. */
  async #read(into: Buffer, offset: number): Promise<void> {
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
    if (this.#closed) throw new NbdError(ERRNO.ESHUTDOWN, 'the frozen view was closed');
    if (this.#broken !== null) throw new NbdError(ERRNO.EIO, 'the frozen view is broken: a copy could not be kept');
  }

  /** A range by where its bytes are. */
  *#pieces(offset: number, length: number): Generator<{ readonly file: VolumeFile; readonly at: number; readonly length: number }> {
    const { extentBytes } = this.#options;
    const end = offset + length;
    for (let at = offset; at < end;) {
      const kept = this.#preserved.has(Math.floor(at / extentBytes));
      let until = at;
      while (until < end && this.#preserved.has(Math.floor(until / extentBytes)) === kept)
        until = Math.min(end, (Math.floor(until / extentBytes) + 1) * extentBytes);
      yield { file: kept ? this.#copies : this.#live, at, length: until - at };
      at = until;
    }
  }

  *#allocation(offset: number, length: number): Generator<StatusRun> {
    for (const { file, at, length: n } of this.#pieces(offset, length)) yield* file.allocation(at, n);
  }
}

/**
 * The file of a volume that is served while it is being restored (docs/hydration.md). To its volume and the volume's views it
 * is a file like another: what is cold is brought before it is read, and told of as the snapshot's map tells it.
 *
 * What it adds is durability. H2: marks are written only after a sync of the file that began when their extents were local.
 * H3: a flush waits for the marks of whatever was written to before it. Marks of what was only fetched may wait for the next one.
 */
import type { Clock } from '../clock.ts';
import type { FrozenView } from '../frozen-view.ts';
import type { LiveFile } from '../live-file.ts';
import { NbdError, type StatusRun } from '../nbd/export.ts';
import { ERRNO } from '../nbd/protocol.ts';
import { ReadAhead } from '../read-ahead.ts';
import { ExtentSet } from '../tracking/extent-set.ts';
import type { HydrationFigures } from './hydration-figures.ts';
import { LocalExtents } from './local-extents.ts';
import type { OriginLink } from './origin-link.ts';
import { sectorBits, SECTOR_EXTENTS, type StateFile } from './state-file.ts';

/** Extents brought ahead of a reader that goes from front to back. */
const AHEAD = 4;
/** Extents brought for one NBD_CMD_CACHE. */
const CACHE_EXTENTS_MAX = 64;

export interface HydratingFileOptions {
  readonly file: LiveFile;
  readonly origin: OriginLink;
  readonly state: StateFile;
  /** As the state file says. */
  readonly local: ExtentSet;
  readonly clock: Clock;
  readonly onFirstTouch: (extent: number, ms: number) => void;
  readonly onFetchFailed: (extent: number, error: unknown) => void;
}

export class HydratingFile implements LiveFile {
  readonly extents: LocalExtents;
  readonly #options: HydratingFileOptions;
  readonly #extentBytes: number;
  /** Extents whose marks are durable. */
  readonly #marked: ExtentSet;
  /** Writes to extents that were not marked then, counted; and how many of them a durable mark has followed. */
  #owed = 0;
  #paid = 0;
  #persisting: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #failure: Error | null = null;
  #fetched = 0;
  #demands = 0;
  #quiet: (() => void)[] = [];
  readonly #ahead: ReadAhead;

  constructor(options: HydratingFileOptions) {
    const { state, local, file } = options;
    this.#options = options;
    this.#extentBytes = state.hydrated.extentBytes;
    this.#ahead = new ReadAhead(local.count, AHEAD);
    this.#marked = new ExtentSet(local.count, Buffer.from(local.bits));
    this.extents = new LocalExtents({ ...state.hydrated, file, fetch: (extent) => this.#fetch(extent) }, local);
  }

  get figures(): HydrationFigures {
    const { count } = this.extents.set;
    return { localExtents: count - this.extents.coldCount, extents: count, fetchedExtents: this.#fetched };
  }

  /** Whether it stands alone, for good. */
  get isDone(): boolean {
    return this.#options.state.isDone;
  }

  /** Whether somebody waits for an extent now. */
  get isAsked(): boolean {
    return this.#demands > 0;
  }

  /** Resolves when nobody waits for an extent any more. */
  quiet(): Promise<void> {
    return this.isAsked ? new Promise((resolve) => this.#quiet.push(resolve)) : Promise.resolve();
  }

  /** Besides those that somebody asked for. */
  countFetched(extents: number): void {
    this.#fetched += extents;
  }

  async #fetch(extent: number): Promise<Buffer | null> {
    const { origin, onFetchFailed } = this.#options;
    try {
      const plain = await origin.use(({ view }) => view.extent(extent));
      if (plain !== null) this.#fetched++;
      return plain;
    } catch (error) {
      onFetchFailed(extent, error);
      throw error;
    }
  }

  #span(offset: number, length: number): readonly [from: number, to: number] {
    return [Math.floor(offset / this.#extentBytes), Math.ceil((offset + length) / this.#extentBytes)];
  }

  #isLocal(offset: number, length: number): boolean {
    return this.extents.isLocal(...this.#span(offset, length));
  }

  /** Resolves when all of these are local. */
  async bring(extents: Iterable<number>): Promise<void> {
    const { clock, onFirstTouch } = this.#options;
    const begunMs = clock.nowMs();
    this.#demands++;
    try {
      await Promise.all(
        [...extents].map(async (extent) => {
          await this.extents.bring(extent);
          onFirstTouch(extent, clock.nowMs() - begunMs);
        }),
      );
    } finally {
      if (--this.#demands === 0) for (const resolve of this.#quiet.splice(0)) resolve();
    }
  }

  /** Null: a view that needs what is in these extents finds them local. A view that cannot have them is the one that fails. */
  bringFor(view: Pick<FrozenView, 'needs' | 'breakOff'>, from: number, to: number): Promise<void> | null {
    const needed = [...this.extents.coldIn(from, to)].filter((extent) => view.needs(extent));
    return needed.length === 0 ? null : this.bring(needed).catch(() => view.breakOff());
  }

  /** For whoever goes from front to back. Nobody waits for it, so what it lacks is told to whoever asks for that itself. */
  #bringAhead(from: number, to: number): void {
    if (this.extents.coldCount === 0) return;
    for (const next of this.#ahead.after(from, to - 1)) if (!this.extents.set.has(next)) this.extents.bring(next).catch(() => undefined);
  }

  /** Advice, which is not followed without end. */
  async cache(offset: number, length: number): Promise<void> {
    const [from, to] = this.#span(offset, length);
    await this.bring([...this.extents.coldIn(from, Math.min(to, from + CACHE_EXTENTS_MAX))]);
  }

  readonly readCached = (into: Buffer, offset: number): boolean => {
    const [from, to] = this.#span(offset, into.length);
    if (!this.extents.isLocal(from, to)) return false;
    this.#bringAhead(from, to);
    return this.#options.file.readCached(into, offset);
  };

  async read(into: Buffer, offset: number): Promise<void> {
    const [from, to] = this.#span(offset, into.length);
    const cold = [...this.extents.coldIn(from, to)];
    const brought = cold.length === 0 ? undefined : this.bring(cold);
    this.#bringAhead(from, to);
    await brought;
    await this.#options.file.read(into, offset);
  }

  /** Of what is local. */
  readNow(into: Buffer, offset: number): void {
    if (!this.#isLocal(offset, into.length)) throw new Error('a cold extent cannot be read at once');
    this.#options.file.readNow(into, offset);
  }

  readsZero(offset: number, length: number): boolean {
    return this.#isLocal(offset, length) && this.#options.file.readsZero(offset, length);
  }

  async *allocation(offset: number, length: number): AsyncGenerator<StatusRun> {
    for (const { at, length: n, inside } of [...this.extents.set.pieces(offset, length, this.#extentBytes)])
      if (inside) yield* this.#options.file.allocation(at, n);
      else yield* this.#coldAllocation(at, n);
  }

  /** As the map says; as data where it cannot be asked. */
  async *#coldAllocation(offset: number, length: number): AsyncGenerator<StatusRun> {
    let told = 0;
    try {
      for await (const run of (await this.#options.origin.get()).view.allocation(offset, length)) {
        yield run;
        told += run.length;
      }
    } catch {
      // Allocation is advice, and "data" is always right; who reads it is told what is wrong.
      if (told < length) yield { length: length - told, flags: 0 };
    }
  }

  /** Changes are made in the turn in which `extents.mayChange` lets them. */
  write(parts: readonly Buffer[], offset: number): void {
    this.#options.file.write(parts, offset);
    this.#changed(
      offset,
      parts.reduce((sum, part) => sum + part.length, 0),
    );
  }

  zero(offset: number, length: number, mayPunch: boolean): void {
    this.#options.file.zero(offset, length, mayPunch);
    this.#changed(offset, length);
  }

  zeroFast(offset: number, length: number, mayPunch: boolean): void {
    this.#options.file.zeroFast(offset, length, mayPunch);
    this.#changed(offset, length);
  }

  trim(offset: number, length: number): boolean {
    // What lies in the place of a cold extent was never the volume's.
    const isLocal = this.#isLocal(offset, length);
    const readsZero = !isLocal || this.#options.file.trim(offset, length);
    if (!isLocal) this.#options.file.zero(offset, length, true);
    this.#changed(offset, length);
    return readsZero;
  }

  #changed(offset: number, length: number): void {
    this.extents.changed(offset, length);
    if (!this.#marked.hasRange(...this.#span(offset, length))) this.#owed++;
  }

  /** Makes durable what was written before it, and with it the marks without which it would be lost (H3). */
  sync(): Promise<void> {
    return this.#paid === this.#owed ? this.#options.file.sync() : this.persist();
  }

  /** All marks, too. One at a time; whoever asks while one runs waits for the next, which they share. */
  persist(): Promise<void> {
    this.#next ??= (async () => {
      await this.#persisting?.catch(() => undefined);
      this.#next = null;
      this.#persisting = this.#persistNow();
      await this.#persisting;
    })();
    return this.#next;
  }

  async #persistNow(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const { file, state } = this.#options;
    const owed = this.#owed;
    // H2: as of now, for what becomes local during the sync may not be covered by it.
    const sectors = this.#unmarkedSectors();
    try {
      await file.sync();
      for (const [sector, bits] of sectors) await state.writeSector(sector, bits);
      if (sectors.size > 0) await state.sync();
    } catch (error) {
      this.#failure = new Error('what is local could not be made durable', { cause: error });
      throw this.#failure;
    }
    for (const [sector, bits] of sectors) bits.copy(sectorBits(this.#marked, sector));
    this.#paid = owed;
  }

  #unmarkedSectors(): ReadonlyMap<number, Buffer> {
    const sectors = new Map<number, Buffer>();
    for (let sector = 0; sector * SECTOR_EXTENTS < this.#marked.count; sector++) {
      const bits = sectorBits(this.extents.set, sector);
      if (!bits.equals(sectorBits(this.#marked, sector))) sectors.set(sector, Buffer.from(bits));
    }
    return sectors;
  }

  /** All is local: makes that durable, and says so for good. */
  async finish(): Promise<void> {
    await this.persist();
    await this.#options.state.writeDone();
    await this.#options.origin[Symbol.asyncDispose]();
  }

  stamp(): Promise<string> {
    return this.#options.file.stamp();
  }

  /** Nothing is brought any more. */
  stop(): void {
    this.extents.stop(new NbdError(ERRNO.ESHUTDOWN, 'the volume is served no more'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using closing = new AsyncDisposableStack();
    closing.use(this.#options.file);
    closing.use(this.#options.state);
    closing.use(this.#options.origin);
    this.stop();
  }
}

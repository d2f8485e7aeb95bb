/**
 * The extents of a volume whose bytes are in its own file, over an origin that has the rest.
 *
 *     cold ──brought: fetched, and put into the file──▶ local, and never cold again
 *          ──changed: written to by a client─────────▶
 *          ──laid, bit by bit, and settled───────────▶
 *
 * What was fetched is put in the turn in which it comes, and only where the extent is still cold: a write that came first
 * stays. Who writes the file in another thread claims the extents before it, and a change of one waits for the claim's end. A
 * change that covers a part of a cold extent has it brought first; two that do so both find it local.
 */
import { ExtentSet } from '../tracking/extent-set.ts';
import type { LiveFile } from '../live-file.ts';

export interface LocalExtentsPort {
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly file: Pick<LiveFile, 'write' | 'zero' | 'readsZero'>;
  /** Plain bytes of an extent of the snapshot, whole; null: zeros. */
  readonly fetch: (extent: number) => Promise<Buffer | null>;
}

/** Extents that are one's own to write; cold and nobody's again after it, unless they were said to be local. */
export interface Claim extends Disposable {
  readonly extents: ReadonlySet<number>;
  /** Ends it; these are local. */
  end(local: Iterable<number>): void;
}

export class LocalExtents {
  readonly set: ExtentSet;
  readonly #port: LocalExtentsPort;
  readonly #bringing = new Map<number, Promise<void>>();
  readonly #claims = new Map<number, Promise<void>>();
  #cold: number;
  #stopped: Error | null = null;

  constructor(port: LocalExtentsPort, set = new ExtentSet(Math.ceil(port.sizeBytes / port.extentBytes))) {
    this.#port = port;
    this.set = set;
    let local = 0;
    for (const [from, to] of set.runs()) local += to - from;
    this.#cold = set.count - local;
  }

  /** How many are not local. */
  get coldCount(): number {
    return this.#cold;
  }

  isLocal(from: number, to: number): boolean {
    return this.#cold === 0 || this.set.hasRange(from, to);
  }

  spanOf(offset: number, length: number): readonly [from: number, to: number] {
    const { extentBytes } = this.#port;
    return [Math.floor(offset / extentBytes), Math.ceil((offset + length) / extentBytes)];
  }

  /** The same of a range of bytes. */
  isLocalAt(offset: number, length: number): boolean {
    return this.isLocal(...this.spanOf(offset, length));
  }

  /** Those of [from, to) that are cold now. */
  *coldIn(from: number, to: number): Generator<number> {
    for (let extent = from; this.#cold > 0 && extent < to; extent++) if (!this.set.has(extent)) yield extent;
  }

  /** Resolves when an extent is local, by whomever. */
  bring(extent: number): Promise<void> {
    const known = this.#bringing.get(extent);
    if (known !== undefined) return known;
    const bringing = this.#bring(extent).finally(() => this.#bringing.delete(extent));
    this.#bringing.set(extent, bringing);
    return bringing;
  }

  async #bring(extent: number): Promise<void> {
    await this.#claims.get(extent);
    if (this.set.has(extent)) return;
    this.#checkServed();
    const plain = await this.#port.fetch(extent);
    for (let claim = this.#claims.get(extent); claim !== undefined; claim = this.#claims.get(extent)) await claim;
    this.#checkServed();
    if (!this.set.has(extent)) this.#put(extent, plain);
  }

  #put(extent: number, plain: Buffer | null): void {
    const { file, sizeBytes, extentBytes } = this.#port;
    const at = extent * extentBytes;
    const length = Math.min(extentBytes, sizeBytes - at);
    if (plain !== null) file.write([plain.subarray(0, length)], at);
    else if (!file.readsZero(at, length)) file.zero(at, length, true);
    this.#add(extent);
  }

  /** Makes extents local that are zeros in the snapshot, in this turn. */
  putZeros(from: number, to: number): void {
    const { file, sizeBytes, extentBytes } = this.#port;
    const areZeros = file.readsZero(from * extentBytes, Math.min(to * extentBytes, sizeBytes) - from * extentBytes);
    for (const extent of this.coldIn(from, to)) {
      if (this.#claims.has(extent)) continue;
      if (areZeros) this.#add(extent);
      else this.#put(extent, null);
    }
  }

  /** Null: a change to this range may be made in this turn. A promise: ask again when it resolves. */
  mayChange(offset: number, length: number): Promise<void> | null {
    if (this.#cold === 0) return null;
    const { sizeBytes, extentBytes } = this.#port;
    const end = offset + length;
    for (const extent of this.coldIn(...this.spanOf(offset, length))) {
      const claim = this.#claims.get(extent);
      if (claim !== undefined) return claim;
      const start = extent * extentBytes;
      const isWhole = offset <= start && end >= Math.min(sizeBytes, start + extentBytes);
      if (!isWhole) return this.bring(extent);
    }
    return null;
  }

  /** A change was made to this range, which might be. */
  changed(offset: number, length: number): void {
    for (const extent of this.coldIn(...this.spanOf(offset, length))) this.#add(extent);
  }

  /**
   * Writes into the places of what is cold of a range, in this turn; `data` null: zeros. It stays cold, and what lies there is nobody's until
   * it is settled.
   */
  lay(offset: number, length: number, data: Buffer | null): void {
    const { file, extentBytes } = this.#port;
    if (this.isLocalAt(offset, length)) return;
    for (const { at, length: bytes, inside } of [...this.set.pieces(offset, length, extentBytes)]) {
      if (inside) continue;
      if (data !== null) file.write([data.subarray(at - offset, at - offset + bytes)], at);
      else if (!file.readsZero(at, bytes)) file.zero(at, bytes, true);
    }
  }

  /** The same of a whole extent; false: somebody has claimed it. */
  layZeros(extent: number): boolean {
    if (this.#claims.has(extent)) return false;
    const { sizeBytes, extentBytes } = this.#port;
    this.lay(extent * extentBytes, Math.min(extentBytes, sizeBytes - extent * extentBytes), null);
    return true;
  }

  /** What was laid in its place is all of it: local. */
  settle(extent: number): void {
    if (!this.#claims.has(extent)) this.#add(extent);
  }

  /** Those of these that are cold and that nobody has claimed are the caller's to write, until the claim ends. */
  claim(extents: Iterable<number>): Claim {
    const own = new Set<number>();
    let resolve: () => void = () => undefined;
    const ended = new Promise<void>((done) => (resolve = done));
    for (const extent of extents)
      if (!this.set.has(extent) && !this.#claims.has(extent)) {
        own.add(extent);
        this.#claims.set(extent, ended);
      }
    let isOpen = true;
    const end = (local: Iterable<number>): void => {
      if (!isOpen) return;
      isOpen = false;
      for (const extent of own) this.#claims.delete(extent);
      for (const extent of local) this.#add(extent);
      resolve();
    };
    return { extents: own, end, [Symbol.dispose]: () => end([]) };
  }

  /** Nothing is put any more; whoever waits for an extent is told why. */
  stop(why: Error): void {
    this.#stopped = why;
  }

  #checkServed(): void {
    if (this.#stopped !== null) throw this.#stopped;
  }

  #add(extent: number): void {
    if (this.set.has(extent)) return;
    this.set.add(extent);
    this.#cold--;
  }
}

/**
 * One destination's side of one subtree: what differs from its base, what it has, what is on its way, whether it failed.
 *
 * Everything is decided on the main thread in the order in which batches arrive, so of two extents of equal content the
 * first is pushed and the second finds its fingerprint among those coming. A value counts as brought when the store has
 * confirmed its pack, never before. When the destination fails, its own signal is aborted: what waits for it stops
 * waiting, the other destinations notice nothing.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { MAP_FANOUT } from '../../domain/limits.ts';
import { FINGERPRINT_BYTES, isAbsent } from '../map/node.ts';
import type { Location } from '../repository/location.ts';
import { directoryBytes, type PackEntry } from '../repository/pack.ts';
import type { Destination, ExtentChange, OpenPack, PackSize, ShippedSubtree } from './contract.ts';

interface AdoptedValue extends Location {
  readonly packSize: PackSize;
}

export class Recipient {
  readonly destination: Destination;
  readonly subtree: number;
  readonly #abort = new AbortController();
  readonly #base = new Map<number, Promise<Buffer | null>>();
  readonly #leaves = new Map<number, Buffer | null>();
  readonly #changes: ExtentChange[] = [];
  readonly #adopted = new Map<string, AdoptedValue>();
  readonly #coming = new Set<string>();
  readonly #brought = new Map<string, Location>();
  readonly #packs = new Map<string, PackSize>();
  /** Aborted when the job ends or this destination fails. */
  readonly signal: AbortSignal;
  #failure: HoldfastError | null = null;

  constructor(destination: Destination, subtree: number, jobSignal: AbortSignal) {
    this.destination = destination;
    this.subtree = subtree;
    this.signal = AbortSignal.any([jobSignal, this.#abort.signal]);
  }

  get failure(): HoldfastError | null {
    return this.#failure;
  }

  /** Takes note of an error of this destination; only the first one counts. */
  fail(error: unknown): void {
    if (this.#failure !== null || this.signal.aborted) return;
    this.#failure =
      error instanceof HoldfastError
        ? error
        : new HoldfastError('INTERNAL', `${this.destination.store}: ${String(error)}`, { store: this.destination.store }, error);
    this.#abort.abort(this.#failure);
  }

  /** Learns which values earlier tries have put. */
  async adopt(): Promise<void> {
    for await (const pack of this.destination.adopted(this.subtree, this.signal)) {
      const last = pack.entries.at(-1);
      if (last === undefined) continue;
      const packSize = { bytes: last.offset + last.length + directoryBytes(pack.entries.length), blobs: pack.entries.length };
      for (const { fingerprint, offset, length } of pack.entries)
        this.#adopted.set(fingerprint.toString('hex'), { pack: pack.id, offset, length, packSize });
    }
  }

  /** Starts loading a leaf of the base, so that several are under way. */
  prefetchLeaf(leaf: number): void {
    if (this.#base.has(leaf)) return;
    const loading = this.destination.baseLeaf(leaf);
    // Whoever needs the leaf awaits the same promise and sees the error; here it only must not go unhandled.
    loading.catch(() => undefined);
    this.#base.set(leaf, loading);
  }

  async loadLeaf(leaf: number): Promise<void> {
    this.prefetchLeaf(leaf);
    this.#leaves.set(leaf, (await this.#base.get(leaf)) ?? null);
  }

  /** Whether the base has anything in a leaf that is loaded. */
  hasLeaf(leaf: number): boolean {
    return (this.#leaves.get(leaf) ?? null) !== null;
  }

  /** Whether an extent whose leaf is loaded is something else than in the base. */
  differs(extent: number, fingerprint: Buffer): boolean {
    const leaf = this.#leaves.get(Math.floor(extent / MAP_FANOUT));
    if (leaf === undefined)
      throw new HoldfastError('INTERNAL', 'a leaf of the base is used before it is loaded', { extent, store: this.destination.store });
    if (leaf === null) return !isAbsent(fingerprint);
    const at = (extent % MAP_FANOUT) * FINGERPRINT_BYTES;
    return leaf.compare(fingerprint, 0, FINGERPRINT_BYTES, at, at + FINGERPRINT_BYTES) !== 0;
  }

  /** Takes note of what an extent is now. True when its value has to be pushed. */
  settle(extent: number, fingerprint: Buffer): boolean {
    if (!this.differs(extent, fingerprint)) return false;
    this.#changes.push({ extent, fingerprint });
    return !isAbsent(fingerprint) && this.#lacks(fingerprint);
  }

  #lacks(fingerprint: Buffer): boolean {
    if (this.destination.has(fingerprint)) return false;
    const key = fingerprint.toString('hex');
    if (this.#coming.has(key)) return false;
    this.#coming.add(key);
    const adopted = this.#adopted.get(key);
    if (adopted === undefined) return true;
    this.#brought.set(key, { pack: adopted.pack, offset: adopted.offset, length: adopted.length });
    this.#packs.set(adopted.pack.toString('hex'), adopted.packSize);
    return false;
  }

  /** The store has confirmed a pack. */
  confirm(open: OpenPack, entries: readonly PackEntry[], bytes: number): void {
    for (const { fingerprint, offset, length } of entries)
      this.#brought.set(fingerprint.toString('hex'), { pack: open.id, offset, length });
    this.#packs.set(open.id.toString('hex'), { bytes, blobs: entries.length });
  }

  outcome(): ShippedSubtree {
    const changes = this.#changes.toSorted((a, b) => a.extent - b.extent);
    return { subtree: this.subtree, changes, brought: this.#brought, packs: this.#packs };
  }
}

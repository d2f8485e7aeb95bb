/**
 * A repository in memory with the real pack format and real sealing: what the pipeline's tests ship to and read from.
 *
 * It keeps what a try has put (so that the next one can adopt it), commits what a shipment says, and gives a snapshot's
 * values back for restoring. Failures are injected per put; every put is counted by name.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { MAP_FANOUT } from '../../../src/domain/limits.ts';
import { CHILDREN_BYTES, FINGERPRINT_BYTES, isAbsent } from '../../../src/engine/map/node.ts';
import type { Location } from '../../../src/engine/repository/location.ts';
import { decodePackId, encodePackId, packName, packNameOf } from '../../../src/engine/repository/object-names.ts';
import { openDirectory, packKeyOf, parseTrailer, TRAILER_BYTES } from '../../../src/engine/repository/pack.ts';
import type {
  AdoptedPack,
  Destination,
  OpenPack,
  PlacedValue,
  ShippedSubtree,
  SubtreeReceipt,
  ValueReader,
} from '../../../src/engine/transfer/contract.ts';
import type { Codec } from '../../../src/ground/sealing/blob.ts';

export interface MemoryRepositoryOptions {
  readonly store?: string;
  readonly codec?: Codec;
  /** Called before each put; throws to make it fail, waits to make it slow. */
  readonly onPut?: (name: string, signal?: AbortSignal) => Promise<void> | void;
}

export class MemoryRepository implements Destination, ValueReader {
  readonly store: string;
  readonly codec: Codec;
  readonly objects = new Map<string, Buffer>();
  readonly putNames: string[] = [];
  /** Extent -> fingerprint of the newest commit. */
  map = new Map<number, Buffer>();
  readonly index = new Map<string, Location>();
  readonly #key = { dataKey: randomBytes(32), repositoryId: randomBytes(16) };
  readonly #onPut: NonNullable<MemoryRepositoryOptions['onPut']>;
  #claim = 1;
  #attempt = 1;
  #packs = 0;
  shipped: ShippedSubtree[] = [];
  leavesRead = 0;

  constructor(options: MemoryRepositoryOptions = {}) {
    this.store = options.store ?? 'memory';
    this.codec = options.codec ?? 'zstd-1';
    this.#onPut = options.onPut ?? (() => undefined);
  }

  /** The next try of the same claim. */
  nextTry(): void {
    this.#attempt++;
    this.#packs = 0;
    this.shipped = [];
  }

  /** Makes what was shipped the newest snapshot and opens the next claim. */
  commit(): void {
    for (const { changes, brought } of this.shipped) {
      for (const { extent, fingerprint } of changes) {
        if (isAbsent(fingerprint)) this.map.delete(extent);
        else this.map.set(extent, fingerprint);
      }
      for (const [key, location] of brought) if (!this.index.has(key)) this.index.set(key, location);
    }
    this.#claim++;
    this.nextTry();
  }

  baseLeaf(leaf: number): Promise<Buffer | null> {
    this.leavesRead++;
    const present = Array.from({ length: MAP_FANOUT }, (_, i) => i).filter((i) => this.map.has(leaf * MAP_FANOUT + i));
    if (present.length === 0) return Promise.resolve(null);
    const children = Buffer.alloc(CHILDREN_BYTES);
    for (const i of present) children.set(this.map.get(leaf * MAP_FANOUT + i) ?? [], i * FINGERPRINT_BYTES);
    return Promise.resolve(children);
  }

  has(fingerprint: Buffer): boolean {
    return this.index.has(fingerprint.toString('hex'));
  }

  async *adopted(subtree: number): AsyncGenerator<AdoptedPack> {
    await Promise.resolve();
    for (const [name, bytes] of this.objects) {
      const id = Buffer.from(name, 'hex');
      const object = decodePackId(id);
      if (object.claim !== this.#claim || object.group !== subtree) continue;
      yield { id, entries: this.directory(id, bytes) };
    }
  }

  directory(id: Buffer, bytes: Buffer): AdoptedPack['entries'] {
    const name = packNameOf(id);
    const trailer = parseTrailer(bytes.subarray(-TRAILER_BYTES), bytes.length, name);
    const { offset, length } = trailer;
    return openDirectory(packKeyOf(this.#key, name), bytes.subarray(offset, offset + length), trailer, name);
  }

  beginPack(subtree: number): OpenPack {
    const object = { claim: this.#claim, group: subtree, attempt: this.#attempt, index: this.#packs++ };
    const name = packName(object);
    return { id: encodePackId(object), name, packKey: packKeyOf(this.#key, name) };
  }

  async putPack(pack: OpenPack, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#onPut(pack.name, signal);
    signal?.throwIfAborted();
    this.putNames.push(pack.name);
    this.objects.set(pack.id.toString('hex'), Buffer.from(bytes));
  }

  finishSubtree(outcome: ShippedSubtree): Promise<SubtreeReceipt> {
    this.shipped.push(outcome);
    return Promise.resolve({
      subtree: outcome.subtree,
      node: null,
      nodeLocation: null,
      part: null,
      changedExtents: outcome.changes.length,
      newExtents: outcome.brought.size,
      sentBytes: [...outcome.packs.values()].reduce((sum, pack) => sum + pack.bytes, 0),
    });
  }

  packOf(id: Buffer): ReturnType<ValueReader['packOf']> {
    const name = packNameOf(id);
    return { name, packKey: packKeyOf(this.#key, name) };
  }

  read(name: string, range: { readonly offset: number; readonly length: number }): Promise<Buffer | null> {
    const found = [...this.objects].find(([id]) => packNameOf(Buffer.from(id, 'hex')) === name);
    return Promise.resolve(found === undefined ? null : Buffer.from(found[1].subarray(range.offset, range.offset + range.length)));
  }

  locate(fingerprint: Buffer): Promise<Location | null> {
    return Promise.resolve(this.index.get(fingerprint.toString('hex')) ?? null);
  }

  /** Name, id and size of every pack. */
  async *packs(): AsyncGenerator<{ readonly id: Buffer; readonly sizeBytes: number }> {
    await Promise.resolve();
    for (const [id, bytes] of this.objects) yield { id: Buffer.from(id, 'hex'), sizeBytes: bytes.length };
  }

  /** The newest snapshot's values, as a walk of its map yields them. */
  async *values(): AsyncGenerator<PlacedValue> {
    await Promise.resolve();
    for (const [extent, fingerprint] of [...this.map].sort(([a], [b]) => a - b))
      yield { extent, fingerprint, location: this.index.get(fingerprint.toString('hex')) ?? null };
  }
}

export const unreachable = (store: string): HoldfastError => new HoldfastError('STORE_UNREACHABLE', `${store} does not answer`, { store });

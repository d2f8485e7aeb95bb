/**
 * A disk that dies after so many operations and keeps, of what was not synced, the sectors that a coin says: the ground of a
 * served volume whose power may fail at any moment.
 */
import { setImmediate } from 'node:timers/promises';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import type { SnapshotBulk } from '../../../../src/engine/volumes/hydration/bulk.ts';
import { layeredBulk, nothingLaid, type Layer, type Piece } from '../../../../src/engine/volumes/hydration/layered-bulk.ts';
import type { LiveFile, VolumeGround } from '../../../../src/engine/volumes/live-file.ts';
import { STATE } from '../../../../src/engine/volumes/nbd/protocol.ts';
import type { OpenRandomFile } from '../../../../src/engine/volumes/tracking/random-file.ts';

export class Crashed extends Error {}

/** What a coin and a die are taken from; a stream that a property shrinks. */
export type Chance = () => number;

interface File {
  durable: Buffer;
  unsynced: { readonly at: number; readonly bytes: Buffer }[];
}

/** A sector of a volume is kept or lost whole. */
const SECTOR_BYTES = 512;

export class DyingDisk {
  readonly #files = new Map<string, File>();
  readonly #chance: Chance;
  readonly #sizeBytes: number;
  #left = Infinity;
  #changes = 0;
  isDead = false;

  constructor(sizeBytes: number, chance: Chance) {
    this.#sizeBytes = sizeBytes;
    this.#chance = chance;
    this.#files.set('volume', { durable: Buffer.alloc(sizeBytes), unsynced: [] });
  }

  /** It lives for so many operations. */
  start(operations: number): void {
    this.#left = operations;
    this.isDead = false;
  }

  /** The power comes back. */
  crash(): void {
    for (const [name, file] of this.#files) {
      if (name.startsWith('copies')) this.#files.delete(name);
      for (const { at, bytes } of file.unsynced)
        for (const [from, to] of name === 'volume' ? sectorsOf(bytes) : this.#torn(bytes))
          if (this.#chance() % 2 === 0) file.durable = overwrite(file.durable, bytes.subarray(from, to), at + from);
      file.unsynced = [];
    }
  }

  /** A record in a small file is torn anywhere, in its first bytes more often than by chance. */
  #torn(bytes: Buffer): readonly (readonly [from: number, to: number])[] {
    const cut = this.#chance() % (this.#chance() % 2 === 0 ? 16 : bytes.length);
    return [
      [0, cut],
      [cut, bytes.length],
    ];
  }

  #turn(): void {
    if (this.#left-- > 0) return;
    this.isDead = true;
    throw new Crashed();
  }

  /** Some time, so that others come between. */
  async #wait(): Promise<void> {
    for (let ticks = this.#chance() % 4; ticks > 0; ticks--) await Promise.resolve();
    if (this.#chance() % 8 === 0) await setImmediate();
  }

  #file(name: string): File {
    const file = this.#files.get(name) ?? { durable: Buffer.alloc(0), unsynced: [] };
    this.#files.set(name, file);
    return file;
  }

  #read(name: string, offset: number, length: number): Buffer {
    const { durable, unsynced } = this.#file(name);
    let out: Buffer = Buffer.alloc(length);
    if (offset < durable.length) durable.copy(out, 0, offset, offset + length);
    for (const { at, bytes } of unsynced) {
      const from = Math.max(at, offset);
      const to = Math.min(at + bytes.length, offset + length);
      if (from < to) out = overwrite(out, bytes.subarray(from - at, to - at), from - offset);
    }
    return out;
  }

  /** What the crash meets may have begun. */
  #write(name: string, bytes: Buffer, at: number): void {
    this.#changes++;
    this.#file(name).unsynced.push({ at, bytes: Buffer.from(bytes) });
    this.#turn();
  }

  async #sync(name: string): Promise<void> {
    const file = this.#file(name);
    // What is written from now on is the next one's.
    const covered = new Set(file.unsynced);
    await this.#wait();
    this.#turn();
    for (const { at, bytes } of covered)
      if (file.unsynced.some((one) => one.bytes === bytes)) file.durable = overwrite(file.durable, bytes, at);
    file.unsynced = file.unsynced.filter((one) => !covered.has(one));
  }

  #record(name: string): OpenRandomFile {
    return {
      read: async (offset, length) => {
        await this.#wait();
        this.#turn();
        return this.#read(name, offset, length);
      },
      write: async (bytes, offset) => {
        await this.#wait();
        this.#write(name, bytes, offset);
      },
      sync: () => this.#sync(name),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  #live(name: string): LiveFile {
    const isZero = (at: number, length: number): boolean => this.#read(name, at, length).every((byte) => byte === 0);
    return {
      readCached: (into, offset) => {
        this.#turn();
        if (this.#chance() % 3 === 0) return false;
        this.#read(name, offset, into.length).copy(into);
        return true;
      },
      read: async (into, offset) => {
        await this.#wait();
        this.#turn();
        this.#read(name, offset, into.length).copy(into);
        await this.#wait();
      },
      readNow: (into, offset) => {
        this.#turn();
        this.#read(name, offset, into.length).copy(into);
      },
      write: (parts, offset) => this.#write(name, Buffer.concat(parts), offset),
      zero: (offset, length) => this.#write(name, Buffer.alloc(length), offset),
      zeroFast: (offset, length) => this.#write(name, Buffer.alloc(length), offset),
      trim: (offset, length) => {
        this.#write(name, Buffer.alloc(length), offset);
        return true;
      },
      sync: () => this.#sync(name),
      readsZero: isZero,
      stamp: async () => `${this.#changes}`,
      *allocation(offset, length) {
        for (let at = offset; at < offset + length;) {
          const n = Math.min(SECTOR_BYTES - (at % SECTOR_BYTES), offset + length - at);
          yield { length: n, flags: isZero(at, n) ? STATE.HOLE | STATE.ZERO : 0 };
          at += n;
        }
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  /** `snapshot`: what the background of a hydration finds in its store; with a layer over it, if there is one. */
  ground(snapshot: Buffer, extentBytes: number, layer: (Layer & { places(): readonly Piece[] }) | null = null): VolumeGround {
    let copies = 0;
    const laid = layer === null ? null : nothingLaid(layer, { sizeBytes: this.#sizeBytes, extentBytes });
    return {
      openVolume: async () => this.#live('volume'),
      identity: async () => 'the file',
      openTracking: async () => this.#record('tracking'),
      removeTracking: async () => {
        this.#turn();
        this.#files.delete('tracking');
      },
      createCopies: async () => {
        await this.#wait();
        const name = `copies-${copies++}`;
        this.#files.set(name, { durable: Buffer.alloc(this.#sizeBytes), unsynced: [] });
        return { file: this.#live(name), path: null };
      },
      viewFiles: () => Promise.resolve(null),
      hydrationState: {
        open: async () => (this.#files.has('state') ? this.#record('state') : null),
        begin: async (bytes) => {
          await this.#wait();
          this.#turn();
          this.#files.set('state', { durable: Buffer.from(bytes), unsynced: [] });
          return this.#record('state');
        },
        remove: async () => {
          this.#turn();
          this.#files.delete('state');
        },
      },
      openBulk: async () => {
        const base = this.#bulk(snapshot, extentBytes);
        return layer === null || laid === null ? base : layeredBulk({ base, layer, laid });
      },
    };
  }

  /** Claims a few extents at a time and writes each in two halves, as another thread would, while others have their turns. */
  #bulk(snapshot: Buffer, extentBytes: number): SnapshotBulk {
    const isZero = (extent: number): boolean =>
      snapshot.subarray(extent * extentBytes, (extent + 1) * extentBytes).every((byte) => byte === 0);
    const fill: SnapshotBulk['fill'] = async ({ extents, signal, onWritten, onLost, proceed }) => {
      for (let from = 0; from < extents.set.count;) {
        await proceed(signal);
        await this.#wait();
        signal.throwIfAborted();
        const to = Math.min(extents.set.count, from + 1 + (this.#chance() % 4));
        const wanted = Array.from({ length: to - from }, (_, i) => from + i).filter((extent) => !extents.set.has(extent));
        for (const extent of wanted) if (isZero(extent)) extents.putZeros(extent, extent + 1);
        // What is damaged now may be mended later.
        const lost = this.#chance() % 16 === 0 ? wanted[0] : undefined;
        if (lost !== undefined) onLost(new HoldfastError('DAMAGED', 'lost for now'));
        using claim = extents.claim(wanted.filter((extent) => !isZero(extent) && extent !== lost));
        for (const extent of claim.extents)
          for (const half of [0, 1]) {
            await this.#wait();
            const at = extent * extentBytes + (half * extentBytes) / 2;
            const bytes = snapshot.subarray(at, Math.min(at + extentBytes / 2, snapshot.length));
            if (bytes.length > 0) this.#write('volume', bytes, at);
          }
        claim.end([...claim.extents]);
        // So much that it is synced early.
        onWritten(claim.extents.size, this.#chance() % 3 === 0 ? 2 ** 30 : 1);
        from = to;
      }
    };
    return { fill, [Symbol.asyncDispose]: async () => undefined };
  }
}

function overwrite(disk: Buffer, bytes: Buffer, at: number): Buffer {
  const out = disk.length >= at + bytes.length ? disk : Buffer.concat([disk, Buffer.alloc(at + bytes.length - disk.length)]);
  out.set(bytes, at);
  return out;
}

const sectorsOf = (bytes: Buffer): readonly (readonly [from: number, to: number])[] =>
  Array.from({ length: Math.ceil(bytes.length / SECTOR_BYTES) }, (_, i) => [i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES]);

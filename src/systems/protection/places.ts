/**
 * Where the newest records of a journal went: a ring of PLACES_MAX places, each written, without a sync, before its change is made
 * (docs/protection.md, section 2).
 *
 * Invariant: after a kill of the process, on the same boot of the machine, every change that was made under a number has its place
 * here, unless so many came after it. What was noted and not made may be here, too: reading that again harms nobody.
 */
import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { PLACES_MAX } from '../../domain/limits.ts';

const PLACE_BYTES = 24;

export interface Place {
  readonly seq: number;
  readonly volume: number;
  readonly offset: number;
  /** 0: of a record without one. */
  readonly length: number;
}

/** A stretch of a volume. */
export type Stretch = Omit<Place, 'seq'>;

export class Places implements Disposable {
  readonly #fd: number;
  readonly #entry = Buffer.alloc(PLACE_BYTES);

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static open(file: string): Places {
    return new Places(openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600));
  }

  note({ seq, volume, offset, length }: Place): void {
    writeU64(this.#entry, seq, 0);
    writeU64(this.#entry, offset, 8);
    this.#entry.writeUInt32LE(length, 16);
    this.#entry.writeUInt16LE(volume, 20);
    writeSync(this.#fd, this.#entry, 0, PLACE_BYTES, (seq % PLACES_MAX) * PLACE_BYTES);
  }

  /** What was changed under numbers above `seq`, each byte once; null: that is not known any more. */
  above(seq: number): readonly Stretch[] | null {
    const ring = Buffer.alloc(PLACES_MAX * PLACE_BYTES);
    let bytes = 0;
    for (let got = -1; got !== 0 && bytes < ring.length; bytes += got) got = readSync(this.#fd, ring, bytes, ring.length - bytes, bytes);
    const places: Place[] = [];
    for (let at = 0; at + PLACE_BYTES <= bytes; at += PLACE_BYTES) {
      const number = readU64(ring, at);
      if (number <= seq) continue;
      places.push({ seq: number, offset: readU64(ring, at + 8), length: ring.readUInt32LE(at + 16), volume: ring.readUInt16LE(at + 20) });
    }
    const newest = places.reduce((most, place) => Math.max(most, place.seq), seq);
    return newest - seq === places.length ? joined(places) : null;
  }

  /** Forgets all of them. */
  clear(): void {
    ftruncateSync(this.#fd, 0);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Numbers are below 2^53. */
function writeU64(into: Buffer, value: number, at: number): void {
  into.writeUInt32LE(value % 2 ** 32, at);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

const readU64 = (from: Buffer, at: number): number => from.readUInt32LE(at) + from.readUInt32LE(at + 4) * 2 ** 32;

function joined(places: readonly Place[]): readonly Stretch[] {
  const sorted = places.filter(({ length }) => length > 0).sort((a, b) => a.volume - b.volume || a.offset - b.offset);
  const stretches: Stretch[] = [];
  for (const { volume, offset, length } of sorted) {
    const last = stretches.at(-1);
    const end = last === undefined ? 0 : last.offset + last.length;
    if (last?.volume === volume && offset <= end)
      stretches[stretches.length - 1] = { volume, offset: last.offset, length: Math.max(end, offset + length) - last.offset };
    else stretches.push({ volume, offset, length });
  }
  return stretches;
}

/**
 * The state file of a hydration: what docs/hydration.md lays out, read and written. Which extents it may be told, and when, is
 * hydrating-file.ts's.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import { ExtentSet } from '../tracking/extent-set.ts';
import type { OpenRandomFile } from '../tracking/random-file.ts';
import { encodeTwins, HEADERS_BYTES, readTwins, writeTwins } from '../tracking/twin-header.ts';

const SECTORS_AT = HEADERS_BYTES;
const SECTOR_BYTES = 512;
const SECTOR_HEAD_BYTES = 8;
const SECTOR_BITS_BYTES = SECTOR_BYTES - SECTOR_HEAD_BYTES;
export const SECTOR_EXTENTS = SECTOR_BITS_BYTES * 8;
/** Sectors read at once. */
const READ_PAIRS = 1024;

const headerSchema = z.object({
  format: z.literal(1),
  volume: z.string(),
  sizeBytes: z.int(),
  extentBytes: z.int(),
  snapshot: z.string(),
  file: z.string(),
  sequence: z.int(),
  done: z.boolean(),
});
type Header = z.infer<typeof headerSchema>;

/** What is being hydrated, and from what: `snapshot` is the origin's name, whatever it is. */
export type Hydrated = Omit<Header, 'format' | 'sequence' | 'done'>;

/** Where a state file is: begun whole or not at all. */
export interface StatePlace {
  open(): Promise<OpenRandomFile | null>;
  /** For good, with these bytes, in the place of what was there. */
  begin(bytes: Buffer): Promise<OpenRandomFile>;
  remove(): Promise<void>;
}

export class StateFile implements AsyncDisposable {
  readonly #file: OpenRandomFile;
  readonly #sequences: Uint32Array;
  #header: Header;

  private constructor(file: OpenRandomFile, header: Header, sequences: Uint32Array) {
    this.#file = file;
    this.#header = header;
    this.#sequences = sequences;
  }

  static async begin(place: StatePlace, hydrated: Hydrated): Promise<StateFile> {
    const header: Header = { format: 1, ...hydrated, sequence: 1, done: false };
    return new StateFile(await place.begin(encodeTwins(header)), header, new Uint32Array(sectorsOf(hydrated)));
  }

  /** With the extents that it says are local; null: there is none. DAMAGED when what it says cannot be told. */
  static async open(place: StatePlace): Promise<{ readonly state: StateFile; readonly local: ExtentSet } | null> {
    await using opening = new AsyncDisposableStack();
    const file = await place.open();
    if (file === null) return null;
    opening.use(file);
    const header = await readTwins(file, headerSchema);
    if (header === null) throw damaged('no copy of its header can be read');
    const { local, sequences } = await readSectors(file, header);
    opening.move();
    return { state: new StateFile(file, header, sequences), local };
  }

  get hydrated(): Hydrated {
    return this.#header;
  }

  get isDone(): boolean {
    return this.#header.done;
  }

  /** Writes what a sector says; durable after a sync, and until then the one before it counts. */
  async writeSector(sector: number, bits: Buffer): Promise<void> {
    const sequence = (this.#sequences[sector] ?? 0) + 1;
    const bytes = Buffer.alloc(SECTOR_BYTES);
    bytes.writeUInt32BE(sequence, 4);
    bits.copy(bytes, SECTOR_HEAD_BYTES);
    bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
    await this.#file.write(bytes, SECTORS_AT + (2 * sector + (sequence & 1)) * SECTOR_BYTES);
    this.#sequences[sector] = sequence;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  /** All is local and durable, for good. */
  async writeDone(): Promise<void> {
    const header = { ...this.#header, sequence: this.#header.sequence + 1, done: true };
    await writeTwins(this.#file, header);
    this.#header = header;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#file[Symbol.asyncDispose]();
  }
}

/** The bits of a sector in a set of all extents. */
export const sectorBits = (extents: ExtentSet, sector: number): Buffer =>
  extents.bits.subarray(sector * SECTOR_BITS_BYTES, (sector + 1) * SECTOR_BITS_BYTES);

const sectorsOf = ({ sizeBytes, extentBytes }: Hydrated): number => Math.ceil(Math.ceil(sizeBytes / extentBytes) / SECTOR_EXTENTS);

const damaged = (what: string): HoldfastError =>
  new HoldfastError('DAMAGED', `the state file of a hydration is damaged: ${what}; restore the volume anew`);

async function readSectors(file: OpenRandomFile, header: Header): Promise<{ readonly local: ExtentSet; readonly sequences: Uint32Array }> {
  const local = new ExtentSet(Math.ceil(header.sizeBytes / header.extentBytes));
  const sequences = new Uint32Array(sectorsOf(header));
  for (let first = 0; first < sequences.length; first += READ_PAIRS) {
    const count = Math.min(READ_PAIRS, sequences.length - first);
    const bytes = await file.read(SECTORS_AT + 2 * first * SECTOR_BYTES, 2 * count * SECTOR_BYTES);
    for (let sector = first; sector < first + count; sector++) {
      const at = 2 * (sector - first) * SECTOR_BYTES;
      const pair = [bytes.subarray(at, at + SECTOR_BYTES), bytes.subarray(at + SECTOR_BYTES, at + 2 * SECTOR_BYTES)];
      const [newest] = pair.flatMap((one) => parseSector(one) ?? []).toSorted((a, b) => b.sequence - a.sequence);
      if (newest === undefined) throw damaged(`neither copy of sector ${sector} can be read`);
      sequences[sector] = newest.sequence;
      newest.bits.copy(sectorBits(local, sector));
    }
  }
  return { local, sequences };
}

function parseSector(bytes: Buffer): { readonly sequence: number; readonly bits: Buffer } | null {
  const bits = bytes.subarray(SECTOR_HEAD_BYTES);
  if (bytes.every((byte) => byte === 0)) return { sequence: 0, bits };
  return bytes.readUInt32BE(0) === crc32(bytes.subarray(4)) ? { sequence: bytes.readUInt32BE(4), bits } : null;
}

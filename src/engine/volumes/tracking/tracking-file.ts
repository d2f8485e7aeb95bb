/**
 * The tracking file: what docs/tracking.md lays out, read and written. It decides nothing; the order of its writes and
 * syncs is tracker.ts's.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { ExtentSet } from './extent-set.ts';
import type { RandomFile } from './random-file.ts';
import { HEADERS_BYTES, readTwins, writeTwins } from './twin-header.ts';

export const GENERATIONS_MAX = 16;
export const REGION_EXTENTS = 64;
const SLOTS_AT = HEADERS_BYTES;
const SECTOR_BYTES = 512;
const SECTOR_HEAD_BYTES = 8;
const SECTOR_REGIONS = (SECTOR_BYTES - SECTOR_HEAD_BYTES) * 8;

export interface TrackedVolume {
  readonly volume: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
}

const headerSchema = z.object({
  format: z.literal(1),
  volume: z.string(),
  sizeBytes: z.int(),
  extentBytes: z.int(),
  sequence: z.int(),
  clean: z.boolean(),
  stamp: z.string().nullable(),
  generations: z
    .array(
      z.object({
        number: z.int().min(1),
        slot: z
          .int()
          .min(0)
          .max(GENERATIONS_MAX - 1),
        since: z.string().nullable(),
        image: z.int().nullable(),
      }),
    )
    .min(1)
    .max(GENERATIONS_MAX),
});
export type Header = z.infer<typeof headerSchema>;
export type GenerationHeader = Header['generations'][number];

export const extentsOf = ({ sizeBytes, extentBytes }: TrackedVolume): number => Math.ceil(sizeBytes / extentBytes);
export const regionsOf = (volume: TrackedVolume): number => Math.ceil(extentsOf(volume) / REGION_EXTENTS);

export class TrackingFile {
  readonly #file: RandomFile;
  readonly #volume: TrackedVolume;
  readonly #sectors: number;

  constructor(file: RandomFile, volume: TrackedVolume) {
    this.#file = file;
    this.#volume = volume;
    this.#sectors = Math.ceil(regionsOf(volume) / SECTOR_REGIONS);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  /** The newest valid header of this volume, or null. */
  async readHeader(): Promise<Header | null> {
    const newest = await readTwins(this.#file, headerSchema);
    const { volume, sizeBytes, extentBytes } = this.#volume;
    const fits = newest?.volume === volume && newest.sizeBytes === sizeBytes && newest.extentBytes === extentBytes;
    return fits ? newest : null;
  }

  /** Durable when it resolves. */
  writeHeader(header: Header): Promise<void> {
    return writeTwins(this.#file, header);
  }

  /** The regions that a generation touched; those of a sector that does not check count as touched. */
  async readRegions({ slot, number }: GenerationHeader): Promise<ExtentSet> {
    const regions = new ExtentSet(regionsOf(this.#volume));
    for (let sector = 0; sector < this.#sectors; sector++) {
      const bytes = await this.#file.read(this.#sectorAt(slot, sector), SECTOR_BYTES);
      const first = sector * SECTOR_REGIONS;
      const end = Math.min(first + SECTOR_REGIONS, regions.count);
      if (bytes.every((byte) => byte === 0)) continue;
      if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) regions.addRange(first, end);
      else if (bytes.readUInt32BE(4) === number) bytes.copy(regions.bits, first / 8, SECTOR_HEAD_BYTES);
    }
    return regions;
  }

  /** Writes the sectors that hold these regions. */
  async writeRegions({ slot, number }: GenerationHeader, regions: ExtentSet, changed: Iterable<number>): Promise<void> {
    for (const sector of new Set([...changed].map((region) => Math.floor(region / SECTOR_REGIONS)))) {
      const bytes = Buffer.alloc(SECTOR_BYTES);
      bytes.writeUInt32BE(number, 4);
      const from = (sector * SECTOR_REGIONS) / 8;
      regions.bits.copy(bytes, SECTOR_HEAD_BYTES, from, from + SECTOR_REGIONS / 8);
      bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
      await this.#file.write(bytes, this.#sectorAt(slot, sector));
    }
  }

  /** The exact image of a generation, or null where there is none that checks. */
  async readImage({ slot, image }: GenerationHeader): Promise<ExtentSet | null> {
    if (image === null) return null;
    const extents = new ExtentSet(extentsOf(this.#volume));
    const bytes = await this.#file.read(this.#imageAt(slot), extents.bits.length);
    return crc32(bytes) === image ? new ExtentSet(extents.count, bytes) : null;
  }

  /** Writes an exact image; its checksum goes into the header. */
  async writeImage(slot: number, extents: ExtentSet): Promise<number> {
    await this.#file.write(extents.bits, this.#imageAt(slot));
    return crc32(extents.bits);
  }

  #sectorAt(slot: number, sector: number): number {
    return SLOTS_AT + (slot * this.#sectors + sector) * SECTOR_BYTES;
  }

  #imageAt(slot: number): number {
    const images = SLOTS_AT + GENERATIONS_MAX * this.#sectors * SECTOR_BYTES;
    return images + slot * Math.ceil(extentsOf(this.#volume) / 8);
  }
}

/**
 * Volumes that are served at once as they were at a point, and are filled up behind: the product's extents over its overlay.
 *
 * What is asked of them: a read is the point with the writes of its client over it, at whatever moment; and when all of it is here, the
 * volumes are just that. The bytes of their own files are kept in memory.
 */
import type { JournalOp } from '../../../src/engine/journal/owning/owner.ts';
import { LocalExtents } from '../../../src/engine/volumes/hydration/local-extents.ts';
import { allEnded } from '../../../src/ground/threads/all-ended.ts';
import type { Random } from '../random.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { applied, BLOCK_BYTES, BLOCKS, bytesOf, sameContent, valuesOf, type Content } from './histories.ts';

/** Two blocks: a write may cover a part of an extent. */
export const EXTENT_BYTES = 2 * BLOCK_BYTES;
const VOLUME_BYTES = BLOCKS * BLOCK_BYTES;

/** Plain bytes of an extent at the point. */
export type FetchExtent = (volume: number, extent: number) => Promise<Buffer>;

export interface InstantVolumes {
  /** Reads a range as a client does, and looks whether it is right. */
  read(volume: number, offset: number, length: number): Promise<void>;
  /** Makes a change, when it may be made. */
  change(op: JournalOp): Promise<void>;
  /** Brings all that is cold, as the background does; what becomes of it is the caller's to look at. */
  fill(): Promise<void>;
  /** All is here, and right. */
  verify(): void;
}

export interface InstantOptions {
  readonly process: Process;
  readonly random: Random;
  readonly volumes: number;
  /** At the point. */
  readonly content: Content;
  readonly fetch: FetchExtent;
}

export function createInstant({ process, random, volumes, content, fetch }: InstantOptions): InstantVolumes {
  let expected = content;
  const disks = Array.from({ length: volumes }, (_, volume) => {
    const bytes = Buffer.alloc(VOLUME_BYTES);
    const file = {
      write: (parts: readonly Buffer[], offset: number) => void Buffer.concat(parts).copy(bytes, offset),
      zero: (offset: number, length: number) => void bytes.fill(0, offset, offset + length),
      readsZero: (offset: number, length: number) => isZero(bytes.subarray(offset, offset + length)),
    };
    const whole = async (extent: number): Promise<Buffer | null> => {
      const plain = await fetch(volume, extent);
      return isZero(plain) ? null : plain;
    };
    const extents = new LocalExtents({ sizeBytes: VOLUME_BYTES, extentBytes: EXTENT_BYTES, file, fetch: whole });
    return { volume, bytes, file, extents, whole };
  });
  type Disk = (typeof disks)[number];
  const diskOf = (volume: number): Disk => {
    const disk = disks[volume];
    if (disk === undefined) throw new Error(`no volume ${volume}`);
    return disk;
  };
  const check = ({ volume, bytes }: Disk, offset: number, length: number, what: string): void => {
    const first = volume * BLOCKS + offset / BLOCK_BYTES;
    const values = valuesOf(bytes.subarray(offset, offset + length));
    if (!sameContent(values, expected.slice(first, first + values.length)))
      throw new Violation(`${what} of volume ${volume} at ${offset} is ${values.join()}, and not the point with what was written since`);
  };

  /** As a thread of the background does: it claims what it writes, and writes what is still cold. */
  const place = async ({ file, extents, whole }: Disk, extent: number): Promise<void> => {
    const plain = await whole(extent);
    using claim = extents.claim([extent]);
    if (!claim.extents.has(extent)) return;
    await process.nap(random.below(3));
    const at = extent * EXTENT_BYTES;
    if (plain === null) file.zero(at, EXTENT_BYTES);
    else file.write([plain], at);
    claim.end([extent]);
  };

  return {
    async read(volume, offset, length) {
      const disk = diskOf(volume);
      const [from, to] = [Math.floor(offset / EXTENT_BYTES), Math.ceil((offset + length) / EXTENT_BYTES)];
      await allEnded([...disk.extents.coldIn(from, to)].map((extent) => disk.extents.bring(extent)));
      check(disk, offset, length, 'a read');
    },
    async change(op) {
      if (op.kind !== 'write' && op.kind !== 'zero') return;
      const { extents, file } = diskOf(op.volume);
      const length = op.kind === 'write' ? op.data.length : op.length;
      for (let wait = extents.mayChange(op.offset, length); wait !== null; wait = extents.mayChange(op.offset, length)) await wait;
      if (op.kind === 'write') file.write([Buffer.from(op.data)], op.offset);
      else file.zero(op.offset, length);
      extents.changed(op.offset, length);
      expected = applied(expected, op);
    },
    async fill() {
      for (const disk of disks)
        for (let extent = 0; extent < disk.extents.set.count; extent++) {
          if (disk.extents.set.has(extent)) continue;
          if (random.chance(0.5)) await disk.extents.bring(extent);
          else await place(disk, extent);
        }
    },
    verify() {
      for (const disk of disks) {
        if (disk.extents.coldCount > 0)
          throw new Violation(`volume ${disk.volume} is cold in ${disk.extents.coldCount} extents at the end`);
        check(disk, 0, VOLUME_BYTES, 'what is left');
      }
    },
  };
}

const ZEROS = bytesOf(Array.from({ length: BLOCKS }, () => 0));
const isZero = (bytes: Buffer): boolean => bytes.equals(ZEROS.subarray(0, bytes.length));

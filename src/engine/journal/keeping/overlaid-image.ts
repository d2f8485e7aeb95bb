/**
 * A base that is being made: the one before it, and over it, in a scratch file, what the journal wrote since.
 *
 * Whole extents are one or the other: a write to part of an extent has the rest of it fetched first. So memory is a bit an extent, and
 * disk what was written, whatever the size of the volume.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { LocalExtents } from '../../volumes/hydration/local-extents.ts';
import type { SnapshotView } from '../../volumes/snapshot-view.ts';
import { VolumeFile } from '../../volumes/volume-file.ts';
import type { VolumeExtent } from '../recovery/replay.ts';
import type { BaseImage } from './bases.ts';

export interface OverlaidImage extends BaseImage, AsyncDisposable {
  /** Writes over the base. */
  lay(extent: VolumeExtent): Promise<void>;
  /** What was written over, in whole extents, ascending. */
  written(): Iterable<{ readonly offset: number; readonly length: number }>;
}

export interface OverlaidOptions {
  readonly sizeBytes: number;
  readonly extentBytes: number;
  /** Where a scratch file may be made; it is gone from its folder at once. */
  readonly scratch: string;
}

/** `base`: null for zeros. */
export async function openOverlaid(
  base: SnapshotView | null,
  { sizeBytes, extentBytes, scratch }: OverlaidOptions,
): Promise<OverlaidImage> {
  const file = await VolumeFile.createUnnamed(scratch, sizeBytes);
  const fetch = async (extent: number): Promise<Buffer | null> =>
    base === null || extent * extentBytes >= base.sizeBytes ? null : base.extent(extent);
  const local = new LocalExtents({ sizeBytes, extentBytes, file, fetch });

  const readCold = async (into: Buffer, offset: number): Promise<void> => {
    for (let at = offset; at < offset + into.length;) {
      const extent = Math.floor(at / extentBytes);
      const until = Math.min((extent + 1) * extentBytes, offset + into.length);
      const part = into.subarray(at - offset, until - offset);
      const plain = await fetch(extent);
      if (plain === null) part.fill(0);
      else plain.copy(part, 0, at - extent * extentBytes, until - extent * extentBytes);
      at = until;
    }
  };

  const written = function* (): Generator<{ readonly offset: number; readonly length: number }> {
    for (const [from, to] of local.set.runs())
      yield { offset: from * extentBytes, length: Math.min(to * extentBytes, sizeBytes) - from * extentBytes };
  };

  return {
    sizeBytes,
    written,
    async lay({ volume, offset, length, data }) {
      if (offset + length > sizeBytes)
        throw new HoldfastError('ARGUMENT_INVALID', `the journal wrote past the end of volume ${volume}`, {
          field: 'sizeBytes',
          volume,
          offset,
        });
      for (let wait = local.mayChange(offset, length); wait !== null; wait = local.mayChange(offset, length)) await wait;
      if (data === null) file.zero(offset, length, true);
      else file.write([data], offset);
      local.changed(offset, length);
    },
    async read(into, offset) {
      for (const { at, length, inside } of [...local.set.pieces(offset, into.length, extentBytes)]) {
        const part = into.subarray(at - offset, at - offset + length);
        await (inside ? file.read(part, at) : readCold(part, at));
      }
    },
    async *data() {
      yield* written();
      if (base === null) return;
      let at = 0;
      for await (const { length, flags } of base.allocation(0, Math.min(base.sizeBytes, sizeBytes))) {
        if (flags === 0) yield { offset: at, length };
        at += length;
      }
    },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

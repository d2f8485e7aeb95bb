/** A base image as a source of the pipeline: read at random, an extent at a time, with what may hold data as a bit an extent. */
import { allEnded } from '../../../ground/threads/all-ended.ts';
import type { SourceView } from '../../transfer/contract.ts';
import { ExtentSet } from '../../volumes/tracking/extent-set.ts';
import type { BaseImage } from './bases.ts';

/** Which extents may hold something else than zeros. */
export async function dataOf(image: BaseImage, extentBytes: number): Promise<ExtentSet> {
  const data = new ExtentSet(Math.ceil(image.sizeBytes / extentBytes));
  for await (const { offset, length } of image.data())
    if (length > 0) data.addRange(Math.floor(offset / extentBytes), Math.ceil((offset + length) / extentBytes));
  return data;
}

/** `data`: as above; null when all is to be read that somebody looks at. */
export function imageSource(image: BaseImage, extentBytes: number, data: ExtentSet | null): SourceView {
  const { sizeBytes } = image;
  return {
    sizeBytes,
    readBytes: 0,
    *dataRanges(offset, length) {
      const ranges = data === null ? [{ at: offset, length, inside: true }] : data.pieces(offset, length, extentBytes);
      for (const { at, length: bytes, inside } of ranges) if (inside) yield { offset: at, length: bytes };
    },
    content: {
      kind: 'filled',
      async fill(into, extents, signal) {
        let bytes = 0;
        const reads = extents.map((extent, place) => {
          signal.throwIfAborted();
          const length = Math.min(extentBytes, sizeBytes - extent * extentBytes);
          bytes += length;
          return image.read(into.subarray(place * extentBytes, place * extentBytes + length), extent * extentBytes);
        });
        await allEnded(reads);
        return bytes;
      },
    },
  };
}

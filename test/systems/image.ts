/**
 * Volume images for tests of whole systems: sparse files whose content is told by small numbers, and the digest by which two
 * of them are compared bit for bit.
 *
 * Equal numbers are equal bytes, on every machine: content that comes back, moves or repeats is what dedup and counting have
 * to get right. The digest covers the size and every byte; runs of zeros count the same as holes, as they read the same.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { dataRanges } from '../../src/ground/libc/libc.ts';

/** 0: written zeros. An even number is noise; an odd one is noise by halves, which compresses. */
export type Content = number;

export function contentOf(number: Content, bytes: number): Buffer {
  if (number === 0) return Buffer.alloc(bytes);
  const key = createHash('sha256').update(`content ${number}`).digest();
  const noise = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(bytes));
  if (number % 2 === 1) for (let at = 0; at < bytes; at += 128) noise.fill(number & 0xff, at, Math.min(bytes, at + 64));
  return noise;
}

export interface ImageWrite {
  readonly extent: number;
  readonly content: Content;
}

/** Writes extents into an image, made sparse if it is not there, and sets its size. */
export function writeExtents(path: string, sizeBytes: number, extentBytes: number, writes: readonly ImageWrite[]): void {
  const fd = openSync(path, 'a+');
  closeSync(fd);
  const image = openSync(path, 'r+');
  try {
    ftruncateSync(image, sizeBytes);
    for (const { extent, content } of writes) {
      const length = Math.min(extentBytes, sizeBytes - extent * extentBytes);
      if (length > 0) writeSync(image, contentOf(content, extentBytes), 0, length, extent * extentBytes);
    }
  } finally {
    closeSync(image);
  }
}

const BLOCK = 64 * 1024;

/** Digest of a file's size and bytes; holes are skipped, so a sparse tebibyte costs what is in it. */
export function digestOfImage(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const hash = createHash('sha256').update(`size ${size};`);
    const block = Buffer.alloc(BLOCK);
    let done = -1;
    for (const { offset, length } of dataRanges(fd, 0, size))
      for (let index = Math.floor(offset / BLOCK); index * BLOCK < offset + length; index++) {
        if (index <= done) continue;
        done = index;
        const got = readSync(fd, block, 0, BLOCK, index * BLOCK);
        const bytes = block.subarray(0, got);
        if (bytes.some((byte) => byte !== 0)) hash.update(`at ${index};`).update(bytes);
      }
    return hash.digest('hex');
  } finally {
    closeSync(fd);
  }
}

/** Sparse image files for tests: made of extents that are holes, zeros, or filled from a small number (equal number, equal bytes). */
import { mkdtempSync, openSync, closeSync, ftruncateSync, writeSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { blake3 } from '@napi-rs/blake-hash';

/** null: a hole; 0: written zeros; else content number. */
export type Content = number | null;

export const temporaryFolder = (): { readonly folder: string } & Disposable => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'hf-transfer-'));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
};

/** Half compressible: blocks of a hash stream and of a repeated byte. */
export function contentOf(number: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes, number & 0xff);
  if (number === 0) return out;
  for (let at = 0, i = 0; at < bytes; at += 128, i++)
    out.set(blake3(Buffer.from(`${number}/${i}`)).subarray(0, Math.min(32, bytes - at)), at);
  return out;
}

export function writeImage(file: string, extents: readonly Content[], extentBytes: number, sizeBytes = extents.length * extentBytes): void {
  const fd = openSync(file, 'w');
  try {
    ftruncateSync(fd, sizeBytes);
    extents.forEach((content, i) => {
      const length = Math.min(extentBytes, sizeBytes - i * extentBytes);
      if (content !== null && length > 0) writeSync(fd, contentOf(content, extentBytes), 0, length, i * extentBytes);
    });
  } finally {
    closeSync(fd);
  }
}

/**
 * Stands in for node:crypto and node:zlib where envelopes and pack directories are sealed, which is half of a run's time.
 *
 * What the protocol leans on stays: a sealed object opens only under its own name and key, and not with a bit changed. The
 * tag is a CRC over key, nonce, associated data and bytes; nothing is hidden and nothing is compressed.
 */
import { crc32 } from 'node:zlib';

export const hkdfSync = (_digest: string, key: Uint8Array): Uint8Array => key;
export const zstdCompressSync = (plain: Uint8Array): Uint8Array => plain;
export { zstdDecompressSync } from 'node:zlib';

interface Sealing {
  setAAD(data: Uint8Array): Sealing;
  update(bytes: Uint8Array): Buffer;
  final(): Buffer;
  getAuthTag(): Buffer;
  setAuthTag(tag: Uint8Array): Sealing;
}

function begin(key: Uint8Array, nonce: Uint8Array): Sealing {
  const seen: Uint8Array[] = [key, nonce];
  let expected: Uint8Array | null = null;
  const tagOf = (): Buffer => {
    const tag = Buffer.alloc(16);
    tag.writeUInt32BE(
      seen.reduce((sum, bytes) => crc32(bytes, sum), 0),
      0,
    );
    return tag;
  };
  const sealing: Sealing = {
    setAAD(data) {
      seen.push(data);
      return sealing;
    },
    update(bytes) {
      seen.push(bytes);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    },
    final() {
      if (expected !== null && !tagOf().equals(expected)) throw new Error('not authentic');
      return Buffer.alloc(0);
    },
    getAuthTag: tagOf,
    setAuthTag(tag) {
      expected = tag;
      return sealing;
    },
  };
  return sealing;
}

export const createCipheriv = (_algorithm: string, key: Uint8Array, nonce: Uint8Array): Sealing => begin(key, nonce);
export const createDecipheriv = createCipheriv;

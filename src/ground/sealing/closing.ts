/**
 * Packing and sealing, by the zstd and OpenSSL that Node links, called directly where that is possible (libc/linked.ts) and through
 * node:zlib and node:crypto elsewhere; the bytes are the same. Results go where the caller wants them: fresh memory for each costs more
 * than the work, most of all in the garbage collector. Its counterpart is opening.ts.
 */
import { createCipheriv } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { KIB } from '../../domain/limits.ts';
import { linked } from '../libc/linked.ts';

/** zstd must save at least 5 % or the bytes stay raw. */
const RAW_SHARE = 0.95;

/** Room that is enough for bytes which zstd cannot pack. */
export const packedBytesMax = (length: number): number => length + (length >> 8) + KIB;

/** One zstd frame of the bytes, in `room` where that is given, or null: it would save too little. */
export function packInto(plain: Uint8Array, level: number, room?: Uint8Array): Uint8Array | null {
  const packed = pack(plain, level, room);
  return packed !== null && packed.length < plain.length * RAW_SHARE ? packed : null;
}

function pack(plain: Uint8Array, level: number, room?: Uint8Array): Uint8Array | null {
  const { zstd } = linked();
  if (zstd === null) {
    const params = { [constants.ZSTD_c_compressionLevel]: level };
    return zstdCompressSync(plain, { params, chunkSize: packedBytesMax(plain.length) });
  }
  const into = room ?? Buffer.allocUnsafe(packedBytesMax(plain.length));
  const length = zstd.compress(plain, into, level);
  return length === null ? null : into.subarray(0, length);
}

/** What is sealed with AES-256-GCM, and under what. */
interface ToSeal {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
  readonly plain: Uint8Array;
}

/** Writes ciphertext and tag (TAG_BYTES) to `into`, from `at` on. The caller has made sure that they fit. */
export function sealAt({ key, nonce, associated, plain }: ToSeal, into: Uint8Array, at: number): void {
  const { aead } = linked();
  if (aead !== null) {
    aead.seal(key, nonce, associated, plain, into, at);
    return;
  }
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated);
  into.set(cipher.update(plain), at);
  cipher.final();
  into.set(cipher.getAuthTag(), at + plain.length);
}

/**
 * Opening what is sealed and packed, by the OpenSSL and zstd that Node links, called directly where that is possible (libc/linked.ts) and
 * through node:crypto and node:zlib elsewhere. Synchronous on purpose: this runs on worker threads.
 */
import { createDecipheriv } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { KIB } from '../../domain/limits.ts';
import { linked } from '../libc/linked.ts';

export const TAG_BYTES = 16;

/** What was sealed with AES-256-GCM, and what opens it; `sealed` is ciphertext and tag. */
export interface Sealed {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
  readonly sealed: Uint8Array;
}

/** The plain bytes, in `room` where that is given (it may begin where `sealed` does), or null: that is not what was sealed. */
export function openSealed({ key, nonce, associated, sealed }: Sealed, room?: Uint8Array): Buffer | null {
  const length = sealed.length - TAG_BYTES;
  if (length < 0) return null;
  const { aead } = linked();
  if (aead !== null) {
    const into = room ?? Buffer.allocUnsafe(length);
    return aead.open(key, nonce, associated, sealed, into) ? Buffer.from(into.buffer, into.byteOffset, length) : null;
  }
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(associated);
  decipher.setAuthTag(sealed.subarray(length));
  const plain = decipher.update(sealed.subarray(0, length));
  try {
    decipher.final();
  } catch {
    // The one thing that final can find: the tag does not fit.
    return null;
  }
  return plain;
}

/** The plain bytes of a zstd frame, which are no more than `room` has, or null. */
export function unpackInto(packed: Uint8Array, room: Uint8Array): Buffer | null {
  const { zstd } = linked();
  if (zstd !== null) {
    const length = zstd.decompress(packed, room);
    return length === null ? null : Buffer.from(room.buffer, room.byteOffset, length);
  }
  try {
    return zstdDecompressSync(packed, { maxOutputLength: room.length, chunkSize: 288 * KIB });
  } catch {
    // Damaged, or larger than its room: to its reader the same.
    return null;
  }
}

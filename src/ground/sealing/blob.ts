/**
 * A blob: one value (an extent or a map node) as it lies in a pack.
 *
 *     codec u8 | AES-256-GCM(body) | tag 16
 *
 * codec: low four bits 0 raw, 1 zstd; bit 4 set for a map node. The key belongs to the pack, the nonce is the blob's
 * offset in it, so no nonce is ever used twice with one key: a pack's name is used once and its bytes are written once.
 * The repository's id, the fingerprint and the codec are associated data: a blob opens only as the value that it was
 * sealed as, in the repository that it was sealed for. Synchronous on purpose: this runs on worker threads.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_MAX } from '../../domain/limits.ts';

export const BLOB_OVERHEAD = 1 + 16;
const RAW = 0;
const ZSTD = 1;
const NODE = 0x10;
/** zstd must save at least 5 % or the bytes stay raw. */
const RAW_SHARE = 0.95;
const OUTPUT_MAX = EXTENT_BYTES_MAX + 64 * 1024;

export type BlobKind = 'extent' | 'node';
/** Compression of a destination: zstd at a level, or none. */
export type Codec = 'raw' | `zstd-${number}`;

/** What seals and opens the blobs of one pack. */
export interface PackKey {
  readonly key: Uint8Array;
  readonly repositoryId: Uint8Array;
}

export interface EncodedBody {
  readonly codec: number;
  readonly bytes: Uint8Array;
}

const levelOf = (codec: Codec): number => Number(codec.slice('zstd-'.length));

/** Compresses a value once; the result can be sealed for any number of destinations of that codec. */
export function encodeBody(plain: Uint8Array, kind: BlobKind, codec: Codec): EncodedBody {
  const bit = kind === 'node' ? NODE : 0;
  if (codec === 'raw') return { codec: bit | RAW, bytes: plain };
  const packed = zstdCompressSync(plain, {
    params: { [constants.ZSTD_c_compressionLevel]: levelOf(codec) },
    chunkSize: plain.length + 1024,
  });
  return packed.length < plain.length * RAW_SHARE ? { codec: bit | ZSTD, bytes: packed } : { codec: bit | RAW, bytes: plain };
}

const nonceAt = (offset: number): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(offset, 6, 6);
  return nonce;
};

const associated = (repositoryId: Uint8Array, fingerprint: Uint8Array, codec: number): Buffer =>
  Buffer.concat([repositoryId, fingerprint, Uint8Array.of(codec)]);

/** Seals a body into `pack` at `offset`; returns the stored length. The caller has made sure that it fits. */
export function sealBlob(pack: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array, body: EncodedBody): number {
  const cipher = createCipheriv('aes-256-gcm', packKey.key, nonceAt(offset));
  cipher.setAAD(associated(packKey.repositoryId, fingerprint, body.codec));
  pack[offset] = body.codec;
  const sealed = cipher.update(body.bytes);
  pack.set(sealed, offset + 1);
  cipher.final();
  pack.set(cipher.getAuthTag(), offset + 1 + sealed.length);
  return sealed.length + BLOB_OVERHEAD;
}

export interface OpenedBlob {
  readonly kind: BlobKind;
  readonly plain: Buffer;
}

/** Decrypts a blob but leaves it compressed: what a rewrite seals again. DAMAGED when a bit is not what was written. */
export function unsealBlob(stored: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array): EncodedBody {
  const codec = stored[0] ?? 0xff;
  try {
    const decipher = createDecipheriv('aes-256-gcm', packKey.key, nonceAt(offset));
    decipher.setAAD(associated(packKey.repositoryId, fingerprint, codec));
    decipher.setAuthTag(stored.subarray(stored.length - 16));
    const bytes = decipher.update(stored.subarray(1, stored.length - 16));
    decipher.final();
    return { codec, bytes };
  } catch (cause) {
    throw new HoldfastError(
      'DAMAGED',
      'a stored value does not open',
      { fingerprint: Buffer.from(fingerprint).toString('hex'), offset },
      cause,
    );
  }
}

/** Opens the blob stored as `stored` at `offset` of its pack. DAMAGED when a single bit is not what was written. */
export function openBlob(stored: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array): OpenedBlob {
  const { codec, bytes } = unsealBlob(stored, offset, packKey, fingerprint);
  const kind = codec & NODE ? 'node' : 'extent';
  const method = codec & 0x0f;
  if (method === RAW) return { kind, plain: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) };
  if (method !== ZSTD) throw new HoldfastError('UPGRADE_REQUIRED', `unknown codec ${method} of a blob`, { offset });
  return { kind, plain: zstdDecompressSync(bytes, { maxOutputLength: OUTPUT_MAX, chunkSize: 288 * 1024 }) };
}

/**
 * A blob: one value (an extent or a map node) as it lies in a pack.
 *
 *     codec u8 | AES-256-GCM(body) | tag 16
 *
 * codec: low four bits 0 raw, 1 zstd; bit 4 set for a map node. The key belongs to the pack, the nonce is the blob's
 * offset in it, so no nonce is ever used twice with one key: a pack's name is used once and its bytes are written once.
 * The repository's id, the fingerprint and the codec are associated data: a blob opens only as the value that it was
 * sealed as, in the repository that it was sealed for. Synchronous on purpose: this runs on worker threads.
 *
 * The work is done in closing.ts and opening.ts. Callers that run over many values pass `room`, a buffer that results are written into
 * and that is theirs to use again; without it results are fresh buffers.
 */
import { zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_MAX, KIB } from '../../domain/limits.ts';
import { packInto, sealAt } from './closing.ts';
import { openSealed, TAG_BYTES, unpackInto } from './opening.ts';

export const BLOB_OVERHEAD = 1 + TAG_BYTES;
const RAW = 0;
const ZSTD = 1;
const NODE = 0x10;
/** The most that a value has, and what zstd may add to bytes that it cannot compress (1/256 and a little). */
export const BODY_BYTES_MAX = EXTENT_BYTES_MAX + 64 * KIB;

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
export function encodeBody(plain: Uint8Array, kind: BlobKind, codec: Codec, room?: Uint8Array): EncodedBody {
  const bit = kind === 'node' ? NODE : 0;
  const packed = codec === 'raw' ? null : packInto(plain, levelOf(codec), room);
  return packed === null ? { codec: bit | RAW, bytes: plain } : { codec: bit | ZSTD, bytes: packed };
}

/** Whether a body that is stored one way can be kept as it is for a destination of this codec. */
export const fitsCodec = (body: EncodedBody, codec: Codec): boolean => ((body.codec & 0x0f) === RAW) === (codec === 'raw');

const nonceAt = (offset: number): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(offset, 6, 6);
  return nonce;
};

const associated = (repositoryId: Uint8Array, fingerprint: Uint8Array, codec: number): Buffer =>
  Buffer.concat([repositoryId, fingerprint, Uint8Array.of(codec)]);

/** Seals a body into `pack` at `offset`; returns the stored length. The caller has made sure that it fits. */
export function sealBlob(pack: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array, body: EncodedBody): number {
  const nonce = nonceAt(offset);
  const data = associated(packKey.repositoryId, fingerprint, body.codec);
  pack[offset] = body.codec;
  sealAt({ key: packKey.key, nonce, associated: data, plain: body.bytes }, pack, offset + 1);
  return body.bytes.length + BLOB_OVERHEAD;
}

export interface OpenedBlob {
  readonly kind: BlobKind;
  readonly plain: Buffer;
}

export interface UnsealedBlob extends EncodedBody {
  readonly kind: BlobKind;
}

const damaged = (fingerprint: Uint8Array, offset: number, cause?: unknown): HoldfastError =>
  new HoldfastError('DAMAGED', 'a stored value does not open', { fingerprint: Buffer.from(fingerprint).toString('hex'), offset }, cause);

/** Opens the blob stored as `stored` at `offset` of its pack as far as its body. DAMAGED when a bit is not what was written. */
export function unsealBlob(stored: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array, room?: Uint8Array): UnsealedBlob {
  const codec = stored[0] ?? 0xff;
  if (stored.length < BLOB_OVERHEAD || stored.length > BODY_BYTES_MAX) throw damaged(fingerprint, offset);
  const { key, repositoryId } = packKey;
  const sealed = { key, nonce: nonceAt(offset), associated: associated(repositoryId, fingerprint, codec), sealed: stored.subarray(1) };
  const bytes = openSealed(sealed, room);
  if (bytes === null) throw damaged(fingerprint, offset);
  return { kind: codec & NODE ? 'node' : 'extent', codec, bytes };
}

/** The plain bytes of a body. DAMAGED when it does not decompress. */
export function decodeBody(body: EncodedBody, fingerprint: Uint8Array, offset: number, room?: Uint8Array): Buffer {
  const method = body.codec & 0x0f;
  // Under the tag, so nobody's accident: the other bits have a meaning that this version does not know.
  if ((body.codec & ~(0x0f | NODE)) !== 0) throw new HoldfastError('UPGRADE_REQUIRED', `unknown codec ${body.codec} of a blob`, { offset });
  if (method === RAW) return Buffer.from(body.bytes.buffer, body.bytes.byteOffset, body.bytes.length);
  if (method !== ZSTD) throw new HoldfastError('UPGRADE_REQUIRED', `unknown codec ${method} of a blob`, { offset });
  if (room !== undefined) {
    const plain = unpackInto(body.bytes, room);
    if (plain === null) throw damaged(fingerprint, offset);
    return plain;
  }
  try {
    return zstdDecompressSync(body.bytes, { maxOutputLength: BODY_BYTES_MAX, chunkSize: 288 * KIB });
  } catch (cause) {
    throw damaged(fingerprint, offset, cause);
  }
}

/** Opens the blob stored as `stored` at `offset` of its pack. DAMAGED when a single bit is not what was written. */
export function openBlob(stored: Uint8Array, offset: number, packKey: PackKey, fingerprint: Uint8Array): OpenedBlob {
  const body = unsealBlob(stored, offset, packKey, fingerprint);
  return { kind: body.kind, plain: decodeBody(body, fingerprint, offset) };
}

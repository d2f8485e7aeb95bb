/**
 * A sealed extent: an extent as a receiver stores it that must not know what is in it. docs/replication.md section 8.
 *
 *     "HFS1" | length u32 | tag 32 | ciphertext | zeros up to 2 x extentBytes
 *
 * Convergent: the key follows from the bytes that it seals (tag = keyed BLAKE3 of the body), so that none ever seals two
 * things, the nonce may be zeros, and equal extents have equal names under one key. Under another key nothing is equal.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { HoldfastError } from '../../../domain/errors.ts';
import { EXTENT_BYTES_MAX, KIB } from '../../../domain/limits.ts';
import { decodeBody, type EncodedBody } from '../../../ground/sealing/blob.ts';

const MAGIC = Buffer.from('HFS1', 'latin1');
const TAG_AT = MAGIC.length + 4;
const CIPHERTEXT_AT = TAG_AT + 32;
const GCM_TAG = 16;
const NONCE = Buffer.alloc(12);

/** Two keys of 32 bytes that the receiver never has. */
export interface SealedKeys {
  /** K1: of the tags. */
  readonly tagKey: Buffer;
  /** K2: of the extents' keys. */
  readonly sealKey: Buffer;
}

/** The two keys of one secret. */
export function sealedKeys(secret: Uint8Array): SealedKeys {
  const of = (what: string): Buffer => Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), `holdfast sealed ${what}`, 32));
  return { tagKey: of('tags'), sealKey: of('keys') };
}

/** Sealed extents are twice as long, so the sender's are half of the most that an extent has. */
export const SEALABLE_EXTENT_BYTES_MAX = EXTENT_BYTES_MAX / 2;

export const sealedBytes = (extentBytes: number): number => 2 * extentBytes;

export const keyedHash = (key: Buffer, bytes: Buffer): Buffer => Blake3Hasher.newKeyed(key).update(bytes).digestBuffer();

const keyOf = ({ sealKey }: SealedKeys, tag: Uint8Array): Buffer =>
  Buffer.from(hkdfSync('sha256', sealKey, tag, 'holdfast sealed extent', 32));

/** The sealed extent of an extent's stored body; `extentBytes`: of the sender's. */
export function sealExtent(keys: SealedKeys, { codec, bytes }: EncodedBody, extentBytes: number): Buffer {
  const body = Buffer.concat([Uint8Array.of(codec), bytes]);
  const tag = keyedHash(keys.tagKey, body);
  const cipher = createCipheriv('aes-256-gcm', keyOf(keys, tag), NONCE);
  const ciphertext = Buffer.concat([cipher.update(body), cipher.final(), cipher.getAuthTag()]);
  if (extentBytes > SEALABLE_EXTENT_BYTES_MAX || CIPHERTEXT_AT + ciphertext.length > sealedBytes(extentBytes))
    throw new HoldfastError('ARGUMENT_INVALID', `extents of ${extentBytes} bytes cannot be sealed`, { extentBytes });
  const sealed = Buffer.alloc(sealedBytes(extentBytes));
  MAGIC.copy(sealed);
  sealed.writeUInt32BE(ciphertext.length, MAGIC.length);
  tag.copy(sealed, TAG_AT);
  ciphertext.copy(sealed, CIPHERTEXT_AT);
  return sealed;
}

const ZEROS = Buffer.alloc(64 * KIB);

/** Compared as memory: byte by byte it costs more than opening a sealed extent does. */
export function isZeros(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (part.compare(ZEROS, 0, part.length) !== 0) return false;
  }
  return true;
}

const damaged = (what: string): HoldfastError => new HoldfastError('DAMAGED', `a sealed extent ${what}`);

/** The plain bytes of a sealed extent, for a restore. DAMAGED when it is none, or was sealed with other keys. */
export function unsealExtent(keys: SealedKeys, sealed: Buffer): Buffer {
  const { plain, end } = openSealed(keys, sealed);
  if (!isZeros(sealed.subarray(end))) throw damaged('is not of the expected form');
  if (plain.length !== sealed.length / 2) throw damaged(`holds ${plain.length} bytes`);
  return plain;
}

/**
 * Length of the extents of an image, by a sealed one that begins at the start of `head`: a sealed extent is twice as long as what is in it.
 * `head`: of the image from there on, as much as the longest sealed extent has or as there is. DAMAGED as above.
 */
export const sealedLengthAt = (keys: SealedKeys, head: Buffer): number => sealedBytes(openSealed(keys, head).plain.length);

/** Whether these bytes are how a sealed extent begins. */
export const beginsSealed = (bytes: Buffer): boolean => bytes.length >= MAGIC.length && MAGIC.equals(bytes.subarray(0, MAGIC.length));

/** `end`: of the ciphertext; what follows it is nobody's word until it was looked at. */
function openSealed(keys: SealedKeys, sealed: Buffer): { readonly plain: Buffer; readonly end: number } {
  const length = sealed.length < CIPHERTEXT_AT || !beginsSealed(sealed) ? 0 : sealed.readUInt32BE(MAGIC.length);
  const end = CIPHERTEXT_AT + length;
  if (length <= GCM_TAG || end > sealed.length) throw damaged('is not of the expected form');
  const tag = sealed.subarray(TAG_AT, CIPHERTEXT_AT);
  const body = decrypt(keyOf(keys, tag), sealed.subarray(CIPHERTEXT_AT, end));
  if (!keyedHash(keys.tagKey, body).equals(tag)) throw damaged('has another tag than its body');
  return { plain: decodeBody({ codec: body[0] ?? 0, bytes: body.subarray(1) }, tag, 0), end };
}

function decrypt(key: Buffer, ciphertext: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, NONCE).setAuthTag(ciphertext.subarray(-GCM_TAG));
  try {
    return Buffer.concat([decipher.update(ciphertext.subarray(0, -GCM_TAG)), decipher.final()]);
  } catch (cause) {
    throw new HoldfastError('DAMAGED', 'a sealed extent does not open: it was changed, or sealed with another key', {}, cause);
  }
}

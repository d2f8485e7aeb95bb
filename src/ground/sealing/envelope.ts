/**
 * An envelope: one small object (log record, change part, checkpoint, key slot's neighbour) sealed as a whole.
 *
 *     "HFE1" | codec u8 | 0 0 0 | salt 32 | AES-256-GCM(body) | tag 16
 *
 * The key is HKDF-SHA256(data key, salt, "holdfast envelope") with a fresh random salt, so every envelope has a key of its
 * own and the nonce can be zero. The header, the repository's id and the object's name are associated data: an envelope
 * opens only under the name that it was written for, so objects cannot be swapped.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { ENVELOPE_BYTES_MAX } from '../../domain/limits.ts';
import { isNewer, upgradeRequired } from './magic.ts';

const MAGIC = Buffer.from('HFE1');
const HEADER = 8;
const SALT = 32;
const TAG = 16;
const NONCE = Buffer.alloc(12);

/** The secrets of one repository, once unlocked. */
export interface SealingKey {
  readonly dataKey: Uint8Array;
  readonly repositoryId: Uint8Array;
}

const keyOf = (key: SealingKey, salt: Uint8Array): Buffer => Buffer.from(hkdfSync('sha256', key.dataKey, salt, 'holdfast envelope', 32));

const associated = (header: Uint8Array, key: SealingKey, name: string): Buffer =>
  Buffer.concat([header, key.repositoryId, Buffer.from(name)]);

/** Seals `plain` as the object `name`. `salt` is 32 random bytes, never used twice. */
export function sealEnvelope(key: SealingKey, name: string, plain: Uint8Array, salt: Uint8Array): Buffer {
  const packed = zstdCompressSync(plain);
  const compressed = packed.length < plain.length;
  const header = Buffer.concat([MAGIC, Uint8Array.of(compressed ? 1 : 0, 0, 0, 0)]);
  const cipher = createCipheriv('aes-256-gcm', keyOf(key, salt), NONCE);
  cipher.setAAD(associated(header, key, name));
  return Buffer.concat([header, salt, cipher.update(compressed ? packed : plain), cipher.final(), cipher.getAuthTag()]);
}

/** Opens an envelope read under `name`. DAMAGED when it is not what was written there, UPGRADE_REQUIRED when a newer version wrote it. */
export function openEnvelope(key: SealingKey, name: string, stored: Uint8Array): Buffer {
  const header = stored.subarray(0, HEADER);
  const newer = isNewer(header, MAGIC);
  const whole = stored.length >= HEADER + SALT + TAG;
  if (!newer && (!whole || !MAGIC.equals(header.subarray(0, 4))))
    throw new HoldfastError('DAMAGED', `${name} is not a sealed object`, { object: name, sizeBytes: stored.length });
  const damaged = (cause?: unknown): HoldfastError =>
    new HoldfastError('DAMAGED', `${name} does not open: its bytes are not what was written`, { object: name }, cause);
  if (newer) throw whole && unseal(key, name, stored, versionOne(header)).ok ? damaged() : upgradeRequired(name, name);
  const unsealed = unseal(key, name, stored, header);
  if (!unsealed.ok) throw damaged(unsealed.cause);
  if (header[4] === 0) return unsealed.body;
  // Under the tag, so nobody's accident.
  if (header[4] !== 1) throw new HoldfastError('UPGRADE_REQUIRED', `${name} uses an unknown codec`, { object: name });
  try {
    return zstdDecompressSync(unsealed.body, { maxOutputLength: ENVELOPE_BYTES_MAX });
  } catch (cause) {
    throw damaged(cause);
  }
}

const versionOne = (header: Uint8Array): Buffer => Buffer.concat([MAGIC, header.subarray(MAGIC.length)]);

type Unsealed = { readonly ok: true; readonly body: Buffer } | { readonly ok: false; readonly cause: unknown };

/** The body as it was sealed under this header, if it was. */
function unseal(key: SealingKey, name: string, stored: Uint8Array, header: Uint8Array): Unsealed {
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyOf(key, stored.subarray(HEADER, HEADER + SALT)), NONCE);
    decipher.setAAD(associated(header, key, name));
    decipher.setAuthTag(stored.subarray(stored.length - TAG));
    return { ok: true, body: Buffer.concat([decipher.update(stored.subarray(HEADER + SALT, stored.length - TAG)), decipher.final()]) };
  } catch (cause) {
    // The tag does not fit: an answer, which the caller gives a name.
    return { ok: false, cause };
  }
}

/**
 * A key slot: a repository's data key, wrapped by a passphrase.
 *
 * The data key never changes; a passphrase change writes the next slot and removes the older ones, and rewrites nothing
 * else. scrypt (RFC 7914) makes each guess cost 64 MiB and about 0.1 s; the wrap is AES-256-GCM with the repository's id
 * as associated data, so a slot opens only for its repository.
 */
import { createCipheriv, createDecipheriv, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';

const hex = z.string().regex(/^[0-9a-f]+$/);

export const keySlotSchema = z.strictObject({
  version: z.literal(1),
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    n: z
      .int()
      .min(2)
      .max(2 ** 20),
    r: z.int().min(1).max(32),
    p: z.int().min(1).max(16),
    salt: hex.length(64),
  }),
  /** nonce 12 | ciphertext 32 | tag 16 */
  wrapped: hex.length(120),
});
export type KeySlot = z.infer<typeof keySlotSchema>;

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);
const wrappingKey = (passphrase: string, kdf: KeySlot['kdf']): Promise<Buffer> =>
  derive(passphrase.normalize('NFC'), Buffer.from(kdf.salt, 'hex'), 32, {
    N: kdf.n,
    r: kdf.r,
    p: kdf.p,
    maxmem: 256 * kdf.n * kdf.r + 2 ** 20,
  });

/** Cost of a guess: 128 N r = 64 MiB. Tests may pass a smaller one. */
const SCRYPT_N_DEFAULT = 2 ** 16;

export async function wrapDataKey(
  dataKey: Uint8Array,
  repositoryId: Uint8Array,
  passphrase: string,
  random: (size: number) => Buffer,
  n = SCRYPT_N_DEFAULT,
): Promise<KeySlot> {
  const kdf = { name: 'scrypt', n, r: 8, p: 1, salt: random(32).toString('hex') } as const;
  const nonce = random(12);
  const cipher = createCipheriv('aes-256-gcm', await wrappingKey(passphrase, kdf), nonce);
  cipher.setAAD(repositoryId);
  const wrapped = Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
  return { version: 1, kdf, wrapped: wrapped.toString('hex') };
}

/** PASSPHRASE_WRONG when the slot does not open. */
export async function unwrapDataKey(slot: KeySlot, repositoryId: Uint8Array, passphrase: string): Promise<Buffer> {
  const wrapped = Buffer.from(slot.wrapped, 'hex');
  const decipher = createDecipheriv('aes-256-gcm', await wrappingKey(passphrase, slot.kdf), wrapped.subarray(0, 12));
  decipher.setAAD(repositoryId);
  decipher.setAuthTag(wrapped.subarray(44));
  try {
    return Buffer.concat([decipher.update(wrapped.subarray(12, 44)), decipher.final()]);
  } catch (cause) {
    throw new HoldfastError('PASSPHRASE_WRONG', 'the passphrase does not open this repository', {}, cause);
  }
}

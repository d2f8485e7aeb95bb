/**
 * Tokens of a receiver: `hf1.<id>.<secret>`, what each allows, and who speaks with one.
 *
 * The receiver keeps the digest of the secret and never the secret, which is shown once. 32 random bytes need no slow digest: there is
 * nothing to guess. Whatever is wrong with a token (its form, id, secret, end, certificate), the answer is the same and takes the
 * same work, so that a stranger learns nothing from it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { repositorySchema, storeSchema } from '../../domain/id-schemas.ts';
import { PROOF_LEVELS, type Peer } from './frames.ts';

const ID_BYTES = 8;
const SECRET_BYTES = 32;
const ID_PATTERN = /^[0-9a-f]{16}$/;
/** The last of 43 base64url digits has four values: one way to write a secret. */
const TOKEN_PATTERN = /^hf1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/;
const HEADER_PATTERN = /^Bearer +(\S+)$/i;
const DIGEST_PATTERN = /^[0-9a-f]{64}$/;

export const RIGHTS = ['add', 'hide'] as const;

export const tokenRecord = z.strictObject({
  id: z.string().regex(ID_PATTERN),
  /** SHA-256 of the secret's bytes, hex. */
  digest: z.string().regex(DIGEST_PATTERN),
  store: storeSchema,
  /** The repository that all its lineages share; null: one for each volume. */
  repository: repositorySchema.nullable(),
  /** Put before the sender's volume names: its name space. Empty for a token that has all of the store. */
  prefix: z.string().regex(/^([A-Za-z0-9][A-Za-z0-9._-]{0,30})?$/),
  rights: z.array(z.enum(RIGHTS)).max(RIGHTS.length),
  quotaBytes: z.int().min(0).nullable(),
  retentionFloorMs: z.int().min(0).nullable(),
  proof: z.enum(PROOF_LEVELS),
  untilMs: z.int().min(0).nullable(),
  /** SHA-256 of the client certificate that alone may bring it, hex; null: any may, or none. */
  certificate: z.string().regex(DIGEST_PATTERN).nullable(),
});
export type TokenRecord = z.infer<typeof tokenRecord>;

export interface MintedToken {
  /** To be shown once and kept by nobody here. */
  readonly token: string;
  readonly id: string;
  readonly digest: string;
}

interface TokenParts {
  readonly id: string;
  readonly secret: Buffer;
}

const digestOfSecret = (secret: Buffer): Buffer => createHash('sha256').update(secret).digest();

/** What a token that is none is compared with. */
const NOBODY = { id: '', secret: Buffer.alloc(SECRET_BYTES) };

export function mintToken(random: (size: number) => Buffer): MintedToken {
  const id = random(ID_BYTES).toString('hex');
  const secret = random(SECRET_BYTES);
  return { token: `hf1.${id}.${secret.toString('base64url')}`, id, digest: digestOfSecret(secret).toString('hex') };
}

/** Refuses what is not a token, without saying what it was. */
export function parseToken(text: string): TokenParts {
  const parts = partsOf(text);
  if (parts === null)
    throw new HoldfastError('ARGUMENT_INVALID', 'what was given is no token of a receiver', { field: 'token', expected: 'hf1.ID.SECRET' });
  return parts;
}

/** What is known of a token, whatever it allows. */
export type KnownToken = Pick<TokenRecord, 'id' | 'digest' | 'untilMs' | 'certificate'>;

/**
 * The record of the token that somebody speaks with, or null. `header`: of `Authorization`, if there is one; `certificate`: SHA-256 of a client
 * certificate that was verified, hex, or null.
 */
export function tokenOf<R extends KnownToken>(
  records: ReadonlyMap<string, R>,
  header: string | undefined,
  certificate: string | null,
  nowMs: number,
): R | null {
  const parts = partsOf(HEADER_PATTERN.exec(header ?? '')?.[1] ?? '');
  const { id, secret } = parts ?? NOBODY;
  const record = records.get(id);
  const digest = digestOfSecret(secret);
  // A digest that nobody's secret has, as far as anyone knows.
  const expected = record === undefined ? Buffer.alloc(digest.length) : Buffer.from(record.digest, 'hex');
  const isHis = timingSafeEqual(digest, expected);
  if (!isHis || record === undefined) return null;
  if (record.untilMs !== null && nowMs >= record.untilMs) return null;
  if (record.certificate !== null && record.certificate !== certificate) return null;
  return record;
}

/** Who speaks, or null; as `tokenOf`. */
export function authorise(
  records: ReadonlyMap<string, TokenRecord>,
  header: string | undefined,
  certificate: string | null,
  nowMs: number,
): Peer | null {
  const record = tokenOf(records, header, certificate, nowMs);
  return record === null ? null : peerOf(record);
}

const peerOf = ({ id, store, repository, prefix, rights, quotaBytes, retentionFloorMs, proof }: TokenRecord): Peer => ({
  ...{ id, store, repository, prefix, rights, quotaBytes, retentionFloorMs, proof },
});

function partsOf(text: string): TokenParts | null {
  const [, id, secret] = TOKEN_PATTERN.exec(text) ?? [];
  return id === undefined || secret === undefined ? null : { id, secret: Buffer.from(secret, 'base64url') };
}

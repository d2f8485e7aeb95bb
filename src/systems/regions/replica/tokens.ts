/**
 * Who may speak to a replica: digests of tokens in its folder, which is its own, as it has no catalog.
 *
 * The file is looked at again when it has changed, within a second, so a token that is removed ends with the next call. Without one nobody needs any, on a
 * loopback address; anywhere else nobody is let in.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import { mintToken, tokenOf, tokenRecord, type MintedToken } from '../../../engine/replication/tokens.ts';
import type { Caller } from '../../../engine/replication/transport/ear.ts';
import { hasErrno } from '../../../ground/stores/file-errors.ts';
import { syncFolder } from '../../../ground/stores/file-root.ts';

const recordSchema = tokenRecord.pick({ id: true, digest: true, untilMs: true, certificate: true });
const fileSchema = z.strictObject({ format: z.literal(1), tokens: z.array(recordSchema).max(1000) });
export type ReplicaToken = z.infer<typeof recordSchema>;

const LOOK_MS = 1000;
/** Who speaks without a token. */
const ANYBODY: Caller = { id: 'loopback' };

/** CONFIG_INVALID. */
export async function readTokens(file: string): Promise<readonly ReplicaToken[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
  const wrong = (cause: unknown): HoldfastError =>
    new HoldfastError('CONFIG_INVALID', `${file} does not hold the tokens of a replica`, { field: file }, cause);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(error);
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) throw wrong(parsed.error);
  return parsed.data.tokens;
}

/** Mints one and notes its digest. What it returns is to be shown once. */
export async function addToken(file: string, limits: Pick<ReplicaToken, 'untilMs' | 'certificate'>): Promise<MintedToken> {
  const minted = mintToken(randomBytes);
  await writeTokens(file, [...(await readTokens(file)), { id: minted.id, digest: minted.digest, ...limits }]);
  return minted;
}

/** False: there was none of that id. */
export async function removeToken(file: string, id: string): Promise<boolean> {
  const tokens = await readTokens(file);
  const left = tokens.filter((token) => token.id !== id);
  if (left.length === tokens.length) return false;
  await writeTokens(file, left);
  return true;
}

async function writeTokens(file: string, tokens: readonly ReplicaToken[]): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const aside = `${file}.new`;
  await using handle = await open(aside, 'w', 0o600);
  await handle.writeFile(`${JSON.stringify({ format: 1, tokens }, null, 2)}\n`);
  await handle.sync();
  await rename(aside, file);
  await syncFolder(path.dirname(file));
}

export interface TokenBook {
  judge(header: string | undefined, certificate: string | null): Promise<Caller | null>;
}

/** `isOpen`: nobody but this host reaches the replica, and without a token in the file none is wanted. */
export async function createTokenBook(file: string, isOpen: boolean): Promise<TokenBook> {
  let known = new Map<string, ReplicaToken>();
  let version = '';
  let lookedMs = -Infinity;
  const versionNow = async (): Promise<string> => {
    try {
      const { ino, mtimeNs, size } = await stat(file, { bigint: true });
      return `${ino} ${mtimeNs} ${size}`;
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return 'none';
      throw error;
    }
  };
  const look = async (): Promise<void> => {
    if (performance.now() - lookedMs < LOOK_MS) return;
    lookedMs = performance.now();
    const now = await versionNow();
    if (now === version) return;
    known = new Map((await readTokens(file)).map((token) => [token.id, token]));
    version = now;
  };
  await look();
  return {
    async judge(header, certificate) {
      await look();
      if (isOpen && known.size === 0) return ANYBODY;
      const token = tokenOf(known, header, certificate, Date.now());
      return token === null ? null : { id: token.id };
    },
  };
}

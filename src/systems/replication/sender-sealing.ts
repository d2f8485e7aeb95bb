/**
 * What seals a session's extents for a receiver that must not know them: keys from the passphrase of its record, and the file of names
 * below the caches of this process. The passphrase may be a weak one, so guessing it costs what guessing a repository's does.
 */
import { scrypt } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ReceiverRecord } from '../../engine/catalog/receivers.ts';
import type { Sealing } from '../../engine/replication/sending/sealed-content.ts';
import { openSealedNames } from '../../engine/replication/sending/sealed-names.ts';
import { sealedKeys } from '../../engine/replication/sending/sealed.ts';
import { MIB } from '../../domain/limits.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';

const derive = promisify<string, string, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);
/** The same for all receivers: equal passphrases give equal names, so that a receiver that moves keeps what it has. */
const SALT = 'holdfast sealed extents';
const COST = { N: 2 ** 16, r: 8, p: 1, maxmem: 128 * MIB };

/** The secret of a passphrase: of it come the keys of docs/replication.md section 8. */
export const sealingSecret = (passphrase: string): Promise<Buffer> => derive(passphrase, SALT, 32, COST);

/** Null: the receiver seals. */
export async function openSealing(
  { name, seal }: ReceiverRecord,
  variables: Readonly<Record<string, string | undefined>>,
  cacheDir: string,
): Promise<(Sealing & Disposable) | null> {
  if (seal.by === 'receiver') return null;
  const keys = sealedKeys(await sealingSecret(await resolvePassphrase(seal.passphrase, variables)));
  const folder = path.join(cacheDir, 'sealed-names');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const names = openSealedNames(path.join(folder, `${name}.sqlite`), keys);
  return { keys, names, [Symbol.dispose]: () => names[Symbol.dispose]() };
}

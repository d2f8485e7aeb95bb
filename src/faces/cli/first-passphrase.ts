/**
 * What makes a fresh machine work without a question: a passphrase for the catalog, made once and kept in a file that only
 * its owner reads, when nobody has said where one is. An installation that says anything of its own is left alone.
 */
import { randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Configuration, Variables } from '../../ground/configuration/configuration.ts';

/** Says of a file that is there already: somebody else was first. */
const isThere = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EEXIST';

export async function ensureFirstPassphrase({ folder, home }: Configuration, variables: Variables): Promise<string | null> {
  const said = ['HOLDFAST_CATALOG', 'HOLDFAST_CATALOG_PASSPHRASE', 'HOLDFAST_PASSPHRASE'].some((name) => variables[name] !== undefined);
  const config = join(folder, 'config.json');
  const configured = await access(config).then(
    () => true,
    () => false,
  );
  if (said || configured) return null;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'catalog.passphrase');
  try {
    await writeFile(file, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!isThere(error)) throw error;
  }
  const text = `${JSON.stringify({ home: { url: home.url, passphrase: `file:${file}` } }, null, 2)}\n`;
  await writeFile(config, text, { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
    if (!isThere(error)) throw error;
  });
  return file;
}

/** What lies in a store, as its folder shows it to anybody: the demo counts bytes there and not in what Holdfast says of itself. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { parseClaimObject } from '../../engine/repository/object-names.ts';

export interface StoredObject {
  /** As the repository names it: below `repositories/<name>/`. */
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
}

/** Bodies on their way in, whole or not, that no object is yet. */
const INCOMING = '.tmp';

const isGone = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

async function filesBelow(folder: string): Promise<readonly { readonly file: string; readonly bytes: number }[]> {
  const found: { file: string; bytes: number }[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (isGone(error)) return [];
    throw error;
  });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    // An object may go between being listed and being looked at.
    const stats = await stat(file).catch((error: unknown) => {
      if (isGone(error)) return null;
      throw error;
    });
    if (stats) found.push({ file, bytes: stats.size });
  }
  return found;
}

/** The objects of a repository. */
export async function objectsIn(store: string, repository: string): Promise<readonly StoredObject[]> {
  const root = path.join(store, 'repositories', repository);
  const files = await filesBelow(root);
  return files.map(({ file, bytes }) => ({ name: path.relative(root, file).split(path.sep).join('/'), file, bytes }));
}

export const bytesOf = (objects: readonly { readonly bytes: number }[]): number => objects.reduce((sum, { bytes }) => sum + bytes, 0);

export const bytesIn = async (store: string): Promise<number> => bytesOf(await filesBelow(store));

export const isPack = ({ name }: StoredObject): boolean => parseClaimObject(name)?.kind === 'pack';

/** Bytes of puts that a killed process has begun and not ended. */
export const incomingBytes = async (store: string): Promise<number> => bytesOf(await filesBelow(path.join(store, INCOMING)));

/**
 * The root folder of a file store, and how a store that is there is told from a disk that is not.
 *
 *     root/.holdfast-store    the marker: { format, id }, written once
 *     root/.tmp/              bodies on their way in
 *     root/<name>             the objects, one file each
 *
 * Invariant: "no such object" is only ever said of a store whose marker was seen. When the disk is not mounted its mount
 * point is an empty folder, and without the marker every object would look deleted, and every put would land on the wrong
 * disk. So the marker is looked at before each put and after each miss, and its id must stay the one that was read first.
 * A root is made by `initialiseFileStore` and by nothing else.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { hasErrno } from './file-errors.ts';

const MARKER_NAME = '.holdfast-store';
export const TEMP_FOLDER = '.tmp';

/** What a freshly made file system holds; no reason to refuse it. */
const FOREIGN_TOLERATED = new Set([TEMP_FOLDER, 'lost+found']);

const markerSchema = z.object({ format: z.literal(1), id: z.string().min(1) });

const notThere = (root: string, reason: string, cause?: unknown): HoldfastError =>
  new HoldfastError('STORE_UNREACHABLE', `no store at ${root}: ${reason}`, { root }, cause);

async function readMarkerId(root: string): Promise<string> {
  const text = await readFile(join(root, MARKER_NAME), 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notThere(root, `${MARKER_NAME} cannot be parsed`, error);
  }
  const marker = markerSchema.safeParse(value);
  if (!marker.success) throw notThere(root, `${MARKER_NAME} is not of format 1`, marker.error);
  return marker.data.id;
}

/** Answers when the store that was there first is there still; throws STORE_UNREACHABLE otherwise. */
export function createRootCheck(root: string): () => Promise<void> {
  let seen: { readonly inode: string; readonly id: string } | undefined;
  return async () => {
    try {
      const marker = await stat(join(root, MARKER_NAME));
      const inode = `${marker.dev}:${marker.ino}`;
      if (seen?.inode === inode) return;
      const id = await readMarkerId(root);
      if (seen !== undefined && seen.id !== id) throw notThere(root, 'another store is mounted there now');
      seen = { inode, id };
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) throw notThere(root, `${MARKER_NAME} is missing; is its disk mounted?`, error);
      throw error;
    }
  };
}

const isThere = async (path: string): Promise<boolean> => {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
};

/**
 * A folder and those above it. Not by mkdir's own recursion, which never ends where a file system says ENOENT to a name below a
 * folder that is there, as /proc does.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) {
      if ((await stat(path)).isDirectory()) return;
      throw new HoldfastError('ARGUMENT_INVALID', `${path} is a file`, { field: 'root', expected: 'a folder' });
    }
    const above = dirname(path);
    if (!hasErrno(error, 'ENOENT') || (await isThere(above))) throw error;
    await makeFolder(above);
    await makeFolder(path);
  }
}

/** Makes the root a store. Harmless when it is one; refuses a folder that holds other things. */
export async function initialiseFileStore(root: string): Promise<void> {
  await makeFolder(root);
  const foreign = (await readdir(root)).filter((name) => name !== MARKER_NAME && !FOREIGN_TOLERATED.has(name));
  if (await hasMarker(root)) return;
  if (foreign.length > 0) {
    throw new HoldfastError('ARGUMENT_INVALID', `${root} holds other files and is not a store`, {
      field: 'root',
      expected: 'an empty folder, or a store',
      found: foreign.slice(0, 5),
    });
  }
  await mkdir(join(root, TEMP_FOLDER), { recursive: true });
  const id = randomUUID();
  const temp = join(root, TEMP_FOLDER, `marker.${id}`);
  const file = await open(temp, 'wx');
  try {
    await file.writeFile(`${JSON.stringify({ format: 1, id })}\n`);
    await file.datasync();
  } finally {
    await file.close();
  }
  try {
    await link(temp, join(root, MARKER_NAME));
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  }
  await unlink(temp);
  for (const folder of [root, dirname(root)]) await syncFolder(folder);
}

const hasMarker = (root: string): Promise<boolean> => isThere(join(root, MARKER_NAME));

/** Makes the entries of a folder survive power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

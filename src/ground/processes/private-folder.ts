/**
 * A temporary folder for plain bytes, which only its user can open (0700) and which goes with its owner, however that ends: disposed of, it is
 * removed at once; what a process that was killed has left is removed by the next one that makes a folder of that kind beside it.
 *
 * A folder is somebody's while the lock in it is held (process-lock.ts). One that is younger than a minute may be about to be locked.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { tryProcessLock } from './process-lock.ts';

const LOCK = '.owner';
const YOUNG_MS = 60_000;

export interface PrivateFolder extends AsyncDisposable {
  readonly path: string;
}

/** `prefix`: of all folders of that kind in `parent`, as in `holdfast-table-`. */
export async function makePrivateFolder(parent: string, prefix: string): Promise<PrivateFolder> {
  await removeOrphans(parent, prefix);
  const folder = await mkdtemp(path.join(parent, prefix));
  const lock = await tryProcessLock(path.join(folder, LOCK));
  return {
    path: folder,
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true });
      lock?.[Symbol.dispose]();
    },
  };
}

async function removeOrphans(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const folder = path.join(parent, name);
    // Whoever else is about to remove it, or may not be disturbed by us (another user's), is left to it.
    if (name.startsWith(prefix)) await removeOrphan(folder).catch(() => undefined);
  }
}

async function removeOrphan(folder: string): Promise<void> {
  if (Date.now() - (await stat(folder)).mtimeMs < YOUNG_MS) return;
  using lock = await tryProcessLock(path.join(folder, LOCK));
  if (lock !== null) await rm(folder, { recursive: true, force: true });
}

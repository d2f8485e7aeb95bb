/**
 * Bodies on their way into a file store: written whole and synced under a name that nobody reads, before the one call
 * (link or rename) that makes them an object. A torn write can therefore only ever be a torn temporary file.
 *
 * A name tells who wrote it (`<host>.<pid>.<random>.<n>`), so that what dead processes left is removed: at the first put
 * of a process, files of its own host whose process is gone, and any that are older than a day. Taking one away from a
 * writer that lives after all (process ids repeat across containers) harms nothing: its put fails as unclear and is
 * tried again.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { hasErrno } from './file-errors.ts';
import { TEMP_FOLDER } from './file-root.ts';

const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

export interface TempFiles {
  /** The path of a new file that holds these bytes. */
  write(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string>;
  removeStale(): Promise<void>;
}

export function createTempFiles(root: string, sync: boolean): TempFiles {
  const folder = join(root, TEMP_FOLDER);
  const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, '-') || 'host';
  const writer = `${host}.${process.pid}.${randomBytes(6).toString('hex')}`;
  let count = 0;

  const openNew = async (path: string) => {
    try {
      return await open(path, 'wx');
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
      await mkdir(folder);
      return await open(path, 'wx');
    }
  };

  return {
    async write(bytes, signal) {
      const path = join(folder, `${writer}.${count++}`);
      const file = await openNew(path);
      try {
        try {
          for (let written = 0; written < bytes.byteLength;) {
            signal?.throwIfAborted();
            written += (await file.write(bytes, written, bytes.byteLength - written)).bytesWritten;
          }
          if (sync) await file.datasync();
        } finally {
          await file.close();
        }
        signal?.throwIfAborted();
        return path;
      } catch (error) {
        await removeTemp(path);
        throw error;
      }
    },

    async removeStale() {
      for (const name of await namesIn(folder)) {
        const path = join(folder, name);
        const [ofHost, pid] = name.split('.');
        if (ofHost === host && pid !== undefined && isDead(Number(pid))) await removeTemp(path);
        else if (await isOld(path)) await removeTemp(path);
      }
    },
  };
}

export async function removeTemp(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function isOld(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > STALE_AFTER_MS;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

function isDead(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return hasErrno(error, 'ESRCH');
  }
}

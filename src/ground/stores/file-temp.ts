/**
 * Bodies on their way into a file store: written whole and synced under a name that nobody reads, before the one call
 * (link or rename) that makes them an object. A torn write can therefore only ever be a torn temporary file.
 *
 * A name tells who wrote it (`<host>.<pid>.<random>.<n>`), so that what dead processes left is removed: at the first put
 * of a process, files of its own host whose process is gone, and any that are older than a day. Taking one away from a
 * writer that lives after all (process ids repeat across containers) harms nothing: its put fails as unclear and is
 * tried again.
 *
 * A large body goes to the disk past the page cache where system, file system and the body's place in memory allow it: it is
 * synced at once and seldom read soon, so the cache would only cost a copy and fresh memory. The last, partial block and
 * everything else are written the usual way.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { hasErrno } from './file-errors.ts';
import { TEMP_FOLDER } from './file-root.ts';

/** Bodies from here on are worth a second open. */
const DIRECT_MIN_BYTES = 1024 * 1024;
/** What O_DIRECT asks lengths to be a multiple of, on any disk. */
const BLOCK_BYTES = 4096;

/** Bodies astray that a process remembers; more of them are removed once it has ended. */
const ASTRAY_MAX = 64;
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
  /** Bodies that failed and were not where they had been written: the root was away, and comes back with them. */
  const astray = new Set<string>();

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
      for (const lost of astray) await removeTemp(lost).finally(() => astray.delete(lost));
      try {
        try {
          const direct = bytes.byteLength < DIRECT_MIN_BYTES ? 0 : bytes.byteLength - (bytes.byteLength % BLOCK_BYTES);
          const begun = direct > 0 && (await writeDirect(path, bytes.subarray(0, direct), signal)) ? direct : 0;
          await writeFrom(file, bytes, begun, signal);
          if (sync) await file.datasync();
        } finally {
          await file.close();
        }
        signal?.throwIfAborted();
        return path;
      } catch (error) {
        if (!(await removeTemp(path)) && astray.size < ASTRAY_MAX) astray.add(path);
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

async function writeFrom(file: FileHandle, bytes: Uint8Array, from: number, signal: AbortSignal | undefined): Promise<void> {
  for (let at = from; at < bytes.byteLength;) {
    signal?.throwIfAborted();
    at += (await file.write(bytes, at, bytes.byteLength - at, at)).bytesWritten;
  }
}

/** Writes whole blocks past the page cache. False when that cannot be done here; what was written then is written again. */
async function writeDirect(path: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
  // Absent on systems that have no such thing, whatever the types say.
  const flag: number | undefined = constants.O_DIRECT;
  if (flag === undefined) return false;
  try {
    await using file = await open(path, constants.O_WRONLY | flag);
    await writeFrom(file, bytes, 0, signal);
    return true;
  } catch (error) {
    // The file system has no direct writes, or the body does not begin at a block of memory.
    if (hasErrno(error, 'EINVAL', 'ENOTSUP')) return false;
    throw error;
  }
}

/** False: it is not there. */
export async function removeTemp(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
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

/**
 * Single files as objects: reading, removing, and what counts as not there.
 *
 * A folder, a symbolic link and a name below a file are no objects, whatever the system's error for them is.
 */
import { constants } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { hasErrno } from './file-errors.ts';
import type { ByteRange } from './object-store.ts';

/** Up to here a range's buffer is allocated as asked for; above, the object's size is looked up first. */
const RANGE_UNSIZED_MAX_BYTES = 1024 * 1024;
/** The thread pool has four threads; more in flight only queue. */
const PARALLEL_CALLS = 16;

export async function orNull<T>(wanted: Promise<T>): Promise<T | null> {
  try {
    return await wanted;
  } catch (error) {
    // ELOOP: a symbolic link is never an object.
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP')) return null;
    throw error;
  }
}

export async function unlinkObject(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return;
    // Some systems answer EPERM for a folder, which is no object.
    if (hasErrno(error, 'EPERM') && (await stat(path)).isDirectory()) return;
    throw error;
  }
}

export async function readObject(path: string, range: ByteRange | undefined): Promise<Buffer | null> {
  const file = await orNull(open(path, constants.O_RDONLY | constants.O_NOFOLLOW));
  if (file === null) return null;
  try {
    const offset = range?.offset ?? 0;
    let length = range?.length ?? 0;
    if (range === undefined || length > RANGE_UNSIZED_MAX_BYTES) {
      const info = await file.stat();
      if (!info.isFile()) return null;
      length = Math.max(0, range === undefined ? info.size : Math.min(length, info.size - offset));
    }
    const buffer = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled === length ? buffer : buffer.subarray(0, filled);
  } catch (error) {
    if (hasErrno(error, 'EISDIR')) return null;
    throw error;
  } finally {
    await file.close();
  }
}

/** Runs the action on each item, a bounded number at a time; the results in order. */
export async function mapParallel<T, R>(items: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await action(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_CALLS, items.length) }, lane));
  return results;
}

/**
 * What the kernel tells about a block device: its size, and how much was ever written to it.
 *
 * A device has no times of its own. That nothing wrote to it is told by its counters in /sys, after what others have left
 * in the page cache was flushed; they count whatever reaches the device, by whichever way. Where there are none (no /sys,
 * another system) the answer is null, and callers do without.
 */
import { readFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { deviceBytes } from './libc.ts';

const SECTOR_BYTES = 512;
/** Places in /sys/dev/block/M:N/stat: sectors written, sectors discarded (absent on old kernels). */
const WRITTEN_AT = 6;
const DISCARDED_AT = 13;

/** Where /sys has a device, by the number that stat gives: see makedev(3). */
function sysFolder(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `/sys/dev/block/${major}:${minor}`;
}

async function readSys(rdev: bigint, name: string): Promise<string | null> {
  try {
    return await readFile(`${sysFolder(rdev)}/${name}`, 'utf8');
  } catch {
    // Not there, or hidden by a sandbox: both mean that nothing is known.
    return null;
  }
}

/** Size of the device behind an open handle, or null where it cannot be told. 0: nothing is attached. */
export async function blockDeviceBytes(handle: FileHandle): Promise<number | null> {
  const seen = deviceBytes(handle.fd);
  if (seen !== null) return seen;
  const { rdev } = await handle.stat({ bigint: true });
  const sectors = await readSys(rdev, 'size');
  return sectors === null ? null : Number(sectors.trim()) * SECTOR_BYTES;
}

/** Flushes the device's cache and tells what has been written to it so far; equal answers: nothing in between. */
export async function deviceWrites(handle: FileHandle): Promise<string | null> {
  await handle.sync();
  const { rdev } = await handle.stat({ bigint: true });
  const fields = (await readSys(rdev, 'stat'))?.trim().split(/\s+/);
  return fields?.[WRITTEN_AT] === undefined ? null : `${fields[WRITTEN_AT]}+${fields[DISCARDED_AT] ?? 0}`;
}

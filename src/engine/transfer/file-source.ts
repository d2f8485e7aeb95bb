/**
 * A raw image file or a block device as a source.
 *
 * It is opened read-only and never locked, so it can change while it is read. A file tells by size, mtime and ctime: when
 * they are after the last read what they were before the first, the view is as good as after a power cut ('crash'),
 * otherwise it is a mix of moments ('fuzzy'). The times are kept in ticks of a few milliseconds, so opening waits until a
 * write that went before cannot share its tick with one that comes after. A block device keeps no such times, but its kernel
 * counts what is written to it: it is 'crash' when that count stood still and it could be opened exclusively (nothing has it
 * mounted: what a file system has written need not show to other readers of its device), else 'fuzzy'.
 *
 * A job of several subtrees opens its source more than once, perhaps on two workers: compare the stamps.
 */
import { constants, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { blockDeviceBytes, deviceWrites } from '../../ground/libc/block-device.ts';
import { adviseSequential, dataRanges, type DataRange } from '../../ground/libc/libc.ts';
import type { SourceView } from './contract.ts';

/** Four ticks of a 250 Hz kernel, and more than two of a 100 Hz one. */
const TICK_MS = 20;

export type Consistency = 'crash' | 'fuzzy';

export interface FileSource extends SourceView, AsyncDisposable {
  readonly path: string;
  /** Identity, size and times when it was opened, printable. Equal stamps: nothing changed in between. */
  readonly stamp: string;
  /** The stamp as of now. */
  stampNow(): Promise<string>;
  /** How consistent what was read since opening is. */
  consistency(): Promise<Consistency>;
}

const unreadable = (path: string, cause: unknown): HoldfastError =>
  new HoldfastError('SOURCE_UNREADABLE', `${path} cannot be read: ${messageOf(cause)}`, { path }, cause);

const isBusy = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EBUSY';

const stampOf = (stats: BigIntStats, sizeBytes: number): string =>
  [stats.dev, stats.ino, sizeBytes, stats.mtimeNs, stats.ctimeNs].join(':');

/** A device by its number, for its node may be made anew; a file's times say nothing of what is in it. */
const deviceStampOf = (stats: BigIntStats, sizeBytes: number, writes: string | null): string =>
  ['device', stats.rdev, sizeBytes, writes ?? 'uncounted'].join(':');

interface Opened {
  readonly handle: FileHandle;
  readonly exclusive: boolean;
}

/**
 * O_EXCL without O_CREAT means something for block devices alone: nothing else may hold them exclusively. O_NONBLOCK means
 * something for pipes alone: they open, and are refused.
 */
async function openReadOnly(path: string): Promise<Opened> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if (!(await handle.stat()).isBlockDevice()) return { handle, exclusive: false };
  try {
    const exclusive = await open(path, constants.O_RDONLY | constants.O_EXCL);
    await handle.close();
    return { handle: exclusive, exclusive: true };
  } catch (error) {
    if (isBusy(error)) return { handle, exclusive: false };
    await handle.close();
    throw error;
  }
}

async function settledStats(handle: FileHandle): Promise<BigIntStats> {
  const stats = await handle.stat({ bigint: true });
  if (Math.abs(Date.now() - Number(stats.mtimeMs)) > TICK_MS) return stats;
  await sleep(TICK_MS);
  return handle.stat({ bigint: true });
}

/** Nothing that could be lost is taken for an empty volume: no medium, or a size that nobody tells, is an error. */
async function sizeOfDevice(path: string, handle: FileHandle): Promise<number> {
  const sizeBytes = await blockDeviceBytes(handle);
  if (sizeBytes !== null && sizeBytes > 0) return sizeBytes;
  const why = sizeBytes === 0 ? 'nothing is attached to the device' : 'the size of the device cannot be told';
  throw new HoldfastError('SOURCE_UNREADABLE', `${path} cannot be read: ${why}`, { path });
}

export async function openFileSource(path: string): Promise<FileSource> {
  const { handle, exclusive } = await openReadOnly(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const stats = await settledStats(handle);
    const isDevice = stats.isBlockDevice();
    if (!isDevice && !stats.isFile())
      throw new HoldfastError('SOURCE_UNREADABLE', `${path} is neither a file nor a block device`, { path });
    const deviceStamp = async (bytes: number): Promise<string> =>
      deviceStampOf(
        stats,
        bytes,
        await deviceWrites(handle).catch((cause: unknown) => {
          throw unreadable(path, cause);
        }),
      );
    const sizeBytes = isDevice ? await sizeOfDevice(path, handle) : Number(stats.size);
    const stamp = isDevice ? await deviceStamp(sizeBytes) : stampOf(stats, sizeBytes);
    const stampNow = async (): Promise<string> => {
      if (isDevice) return deviceStamp((await blockDeviceBytes(handle)) ?? 0);
      const now = await handle.stat({ bigint: true });
      return stampOf(now, Number(now.size));
    };
    adviseSequential(handle.fd);
    return {
      path,
      stamp,
      stampNow,
      sizeBytes,
      content: { kind: 'descriptor', fd: handle.fd },
      readBytes: 0,
      dataRanges: (offset: number, length: number): Iterable<DataRange> => dataRanges(handle.fd, offset, length),
      consistency: async () => ((await stampNow()) === stamp && (!isDevice || exclusive) ? 'crash' : 'fuzzy'),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

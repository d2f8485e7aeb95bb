/**
 * The file or device that a restore writes to.
 *
 * A file is made sparse: created empty, set to the volume's size, and only extents that are not zeros are ever written.
 * What was there before is refused, replaced or kept, as the caller says; kept is for writing only what differs, and for
 * going on after a crash. A device is never cut or created, never shorter than the volume, never counts as fresh, and is
 * refused while something has it mounted; what lies behind the volume's end on it is left alone.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_MAX, MIB } from '../../domain/limits.ts';
import { blockDeviceBytes } from '../../ground/libc/block-device.ts';
import { dataRanges, punchHole } from '../../ground/libc/libc.ts';
import { saysFull } from '../../ground/stores/file-errors.ts';

/** blank: taken if it holds no data, as an earlier try of the same restore left it; refused otherwise. */
export type ExistingTarget = 'refuse' | 'replace' | 'keep' | 'blank';

export interface RestoreTarget extends AsyncDisposable {
  readonly path: string;
  readonly fd: number;
  readonly sizeBytes: number;
  /** Nothing but zeros before the restore. */
  readonly fresh: boolean;
  /** The longest write. */
  readonly partBytes: number;
  /** Makes a range zeros: a hole where the file system can, written zeros elsewhere. */
  clear(offset: number, length: number): Promise<void>;
  /** Resolves when what was written survives power loss. */
  sync(): Promise<void>;
}

export interface RestoreTargetOptions {
  readonly sizeBytes: number;
  readonly existing: ExistingTarget;
  /** Extents are written in parts of this length; without it whole. */
  readonly partBytes?: number;
}

const errno = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

const unwritable = (path: string, cause: unknown): HoldfastError =>
  new HoldfastError(saysFull(cause) ? 'TARGET_FULL' : 'TARGET_UNWRITABLE', `${path} cannot be written: ${String(cause)}`, { path }, cause);

const exists = (path: string): HoldfastError => new HoldfastError('TARGET_EXISTS', `${path} is there already`, { path });

async function openForWriting(path: string): Promise<{ readonly handle: FileHandle; readonly created: boolean }> {
  if (isDeviceName(path)) return { handle: await openOld(path), created: false };
  try {
    return { handle: await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600), created: true };
  } catch (error) {
    if (errno(error) !== 'EEXIST') throw error;
    return { handle: await open(path, constants.O_RDWR), created: false };
  }
}

/** What is missing below /dev is a device that is not attached: a file there would fill memory. /dev/shm is for files. */
const isDeviceName = (path: string): boolean => path.startsWith('/dev/') && !path.startsWith('/dev/shm/');

async function openOld(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR);
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
    throw new HoldfastError('TARGET_UNWRITABLE', `there is no device ${path}`, { path }, error);
  }
}

/** O_EXCL without O_CREAT: refused by the kernel while a file system or another device sits on it. Asked, not held. */
async function refuseDeviceInUse(path: string): Promise<void> {
  try {
    await (await open(path, constants.O_RDONLY | constants.O_EXCL)).close();
  } catch (error) {
    if (errno(error) !== 'EBUSY') throw error;
    throw new HoldfastError('TARGET_UNWRITABLE', `${path} is in use: mounted, or part of another device`, { path }, error);
  }
}

const holdsData = (handle: FileHandle, sizeBytes: number): boolean => {
  for (const range of dataRanges(handle.fd, 0, sizeBytes)) if (range.length > 0) return true;
  return false;
};

async function prepare(path: string, handle: FileHandle, created: boolean, options: RestoreTargetOptions): Promise<boolean> {
  const stats = await handle.stat();
  if (!created && options.existing === 'refuse') throw exists(path);
  // No try of a restore that refuses what is there has ever begun on a device, so this is not its blank.
  if (!created && options.existing === 'blank' && (stats.isBlockDevice() || holdsData(handle, stats.size))) throw exists(path);
  if (stats.isBlockDevice()) {
    await refuseDeviceInUse(path);
    const room = (await blockDeviceBytes(handle)) ?? 0;
    if (room < options.sizeBytes)
      throw new HoldfastError('TARGET_TOO_SMALL', `${path} has ${room} bytes, the snapshot ${options.sizeBytes}`, {
        path,
        targetBytes: room,
        sizeBytes: options.sizeBytes,
      });
    return false;
  }
  const fresh = created || options.existing === 'replace' || stats.size === 0;
  // Only what is there: of two tries at once the second must not cut what the first has begun to write.
  if (fresh && stats.size > 0) await handle.truncate(0);
  await handle.truncate(options.sizeBytes);
  return fresh;
}

const ZEROS = Buffer.alloc(MIB);

async function writeZeros(handle: FileHandle, offset: number, length: number): Promise<void> {
  for (let put = 0; put < length;) put += (await handle.write(ZEROS, 0, Math.min(ZEROS.length, length - put), offset + put)).bytesWritten;
}

export async function openRestoreTarget(path: string, options: RestoreTargetOptions): Promise<RestoreTarget> {
  let handle: FileHandle | null = null;
  try {
    const opened = await openForWriting(path);
    handle = opened.handle;
    const own = opened.handle;
    const fresh = await prepare(path, own, opened.created, options);
    return {
      path,
      fd: own.fd,
      sizeBytes: options.sizeBytes,
      fresh,
      partBytes: options.partBytes ?? EXTENT_BYTES_MAX,
      clear: async (offset, length) => {
        if (punchHole(own.fd, offset, length)) return;
        await writeZeros(own, offset, length).catch((cause: unknown) => {
          throw unwritable(path, cause);
        });
      },
      sync: async () => {
        await own.sync().catch((cause: unknown) => {
          throw unwritable(path, cause);
        });
      },
      [Symbol.asyncDispose]: () => own.close(),
    };
  } catch (error) {
    await handle?.close();
    throw error instanceof HoldfastError ? error : unwritable(path, error);
  }
}

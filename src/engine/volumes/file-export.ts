/** A file or block device, served as it is. */
import type { BlockSizes, Export } from './nbd/export.ts';
import { inSteps, VolumeFile } from './volume-file.ts';

export interface FileExportOptions {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

export interface FileExport extends Export, AsyncDisposable {}

export const BLOCK_SIZES: BlockSizes = { minimumBytes: 1, preferredBytes: 4096, maximumBytes: 32 * 1024 * 1024 };

export async function openFileExport(path: string, options: FileExportOptions): Promise<FileExport> {
  const file = await VolumeFile.open(path, options.readOnly ? 'r' : 'r+');
  /** A change, and its durability where that is asked for. */
  const then = (change: void | Promise<void>, fua: boolean): void | Promise<void> =>
    fua ? Promise.resolve(change).then(() => file.sync()) : change;
  return {
    ...options,
    multiConn: true,
    fastZero: true,
    blockSizes: BLOCK_SIZES,
    contexts: () => [{ name: 'base:allocation', status: (offset, length) => file.allocation(offset, length) }],
    open: () => ({
      readNow: file.readCached,
      read: (into, offset) => file.read(into, offset),
      readsZero: (offset, length) => file.readsZero(offset, length),
      write(parts, offset, fua) {
        return then(file.write(parts, offset), fua);
      },
      flush: () => file.sync(),
      trim: (offset, length, fua) =>
        then(
          inSteps(offset, length, (at, n) => void file.trim(at, n)),
          fua,
        ),
      zero: (offset, length, { fua, mayPunch, fast }) =>
        then(
          inSteps(offset, length, (at, n) => (fast ? file.zeroFast(at, n, mayPunch) : file.zero(at, n, mayPunch))),
          fua,
        ),
      cache: () => undefined,
      close: () => undefined,
    }),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

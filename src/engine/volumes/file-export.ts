/**
 * A file or block device, served: the bytes are the page cache's, so all connections see one state and one flush covers them.
 */
import { fdatasync, writevSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { dataRanges, punchHole } from '../../ground/libc/libc.ts';
import { cachedReads } from '../../ground/libc/cached-read.ts';
import { NbdError, type Backend, type BlockSizes, type Export, type MetaContext, type StatusRun } from './nbd/export.ts';
import { ERRNO, STATE } from './nbd/protocol.ts';

export interface FileExportOptions {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

export interface FileExport extends Export, AsyncDisposable {}

const BLOCK_SIZES: BlockSizes = { minimumBytes: 1, preferredBytes: 4096, maximumBytes: 32 * 1024 * 1024 };
const ZEROS = Buffer.alloc(1024 * 1024);
const sync = promisify(fdatasync);

export async function openFileExport(path: string, options: FileExportOptions): Promise<FileExport> {
  const file = await open(path, options.readOnly ? 'r' : 'r+');
  const backend = fileBackend(file);
  return {
    ...options,
    multiConn: true,
    fastZero: false,
    blockSizes: BLOCK_SIZES,
    contexts: () => [allocationOf(file.fd)],
    open: () => backend,
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** `base:allocation` of a file: what SEEK_DATA and SEEK_HOLE say. */
export const allocationOf = (fd: number): MetaContext => ({
  name: 'base:allocation',
  *status(offset, length): Generator<StatusRun> {
    let at = offset;
    for (const range of dataRanges(fd, offset, length)) {
      if (range.offset > at) yield { length: range.offset - at, flags: STATE.HOLE | STATE.ZERO };
      yield { length: range.length, flags: 0 };
      at = range.offset + range.length;
    }
    if (at < offset + length) yield { length: offset + length - at, flags: STATE.HOLE | STATE.ZERO };
  },
});

function fileBackend(file: FileHandle): Backend {
  const { fd } = file;

  const write = (parts: readonly Buffer[], offset: number): void => {
    let rest = parts;
    for (let at = offset; ;) {
      const written = writevSync(fd, rest, at);
      at += written;
      const left = leftOf(rest, written);
      if (left.length === 0) return;
      rest = left;
    }
  };

  const writeZeros = (offset: number, length: number): void => {
    for (let at = offset; at < offset + length; at += ZEROS.length)
      write([ZEROS.subarray(0, Math.min(ZEROS.length, offset + length - at))], at);
  };

  return {
    readNow: cachedReads(fd),
    async read(into, offset) {
      for (let done = 0; done < into.length;) {
        const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
        if (bytesRead === 0) throw new NbdError(ERRNO.EIO, 'the file has become shorter');
        done += bytesRead;
      }
    },
    readsZero(offset, length) {
      for (const _ of dataRanges(fd, offset, length)) return false;
      return true;
    },
    write(parts, offset, fua) {
      write(parts, offset);
      if (fua) return sync(fd);
    },
    flush: () => sync(fd),
    trim(offset, length, fua) {
      // Advice: where no hole can be made, nothing is done.
      punchHole(fd, offset, length);
      if (fua) return sync(fd);
    },
    zero(offset, length, { fua, mayPunch }) {
      if (!mayPunch || !punchHole(fd, offset, length)) writeZeros(offset, length);
      if (fua) return sync(fd);
    },
    cache: () => undefined,
    close: () => undefined,
  };
}

/** What is left of buffers after the first n bytes of them. */
function leftOf(parts: readonly Buffer[], n: number): readonly Buffer[] {
  let skip = n;
  return parts.flatMap((part) => {
    const skipped = Math.min(skip, part.length);
    skip -= skipped;
    return skipped === part.length ? [] : [part.subarray(skipped)];
  });
}

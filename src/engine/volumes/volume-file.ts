/**
 * The file or block device that holds a volume's bytes, as a server uses it: through the page cache, so that all
 * connections see one state, and one sync covers them.
 *
 * Writes are made in the turn in which they are asked for: into the page cache that costs less than waiting, and it gives
 * every write its place among freezes.
 */
import { fdatasync, readSync, writevSync } from 'node:fs';
import { open, rm, unlink, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cachedReads, type CachedRead } from '../../ground/libc/cached-read.ts';
import { dataRanges, punchHole } from '../../ground/libc/libc.ts';
import { leftOf } from '../../ground/threads/target-writes.ts';
import { NbdError, type StatusRun } from './nbd/export.ts';
import { ERRNO, STATE } from './nbd/protocol.ts';

const ZEROS = Buffer.alloc(1024 * 1024);
const sync = promisify(fdatasync);

export class VolumeFile implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #temporary: string | null;
  /** Fills a buffer from the page cache; false where that does not hold all of it. */
  readonly readCached: CachedRead;

  private constructor(file: FileHandle, temporary: string | null = null) {
    this.#file = file;
    this.#temporary = temporary;
    this.readCached = cachedReads(file.fd);
  }

  static async open(path: string, flags: 'r' | 'r+'): Promise<VolumeFile> {
    await using opening = new AsyncDisposableStack();
    const opened = new VolumeFile(opening.use(await open(path, flags)));
    opening.move();
    return opened;
  }

  /** A sparse file of so many zeros, gone from its folder at once. */
  static async createUnnamed(path: string, sizeBytes: number): Promise<VolumeFile> {
    await using making = new AsyncDisposableStack();
    const file = making.use(await open(path, 'wx+', 0o600));
    await unlink(path);
    await file.truncate(sizeBytes);
    const made = new VolumeFile(file);
    making.move();
    return made;
  }

  /** One that others may open by its name, gone from its folder when it is closed. What was left there is replaced. */
  static async createTemporary(path: string, sizeBytes: number): Promise<VolumeFile> {
    await rm(path, { force: true });
    await using making = new AsyncDisposableStack();
    const file = making.use(await open(path, 'wx+', 0o600));
    making.defer(() => rm(path, { force: true }));
    await file.truncate(sizeBytes);
    const made = new VolumeFile(file, path);
    making.move();
    return made;
  }

  async read(into: Buffer, offset: number): Promise<void> {
    for (let done = 0; done < into.length;) {
      const { bytesRead } = await this.#file.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) throw new NbdError(ERRNO.EIO, 'the file has become shorter');
      done += bytesRead;
    }
  }

  /** Waits for the disk, where it has to, with the whole thread. */
  readNow(into: Buffer, offset: number): void {
    for (let done = 0; done < into.length;) {
      const got = readSync(this.#file.fd, into, done, into.length - done, offset + done);
      if (got === 0) throw new NbdError(ERRNO.EIO, 'the file has become shorter');
      done += got;
    }
  }

  write(parts: readonly Buffer[], offset: number): void {
    let rest = parts;
    for (let at = offset; rest.length > 0;) {
      const written = writevSync(this.#file.fd, rest, at);
      at += written;
      rest = leftOf(rest, written);
    }
  }

  /** Zeros from here on; a hole where it may be one and can. */
  zero(offset: number, length: number, mayPunch: boolean): void {
    if (mayPunch && punchHole(this.#file.fd, offset, length)) return;
    for (let at = offset; at < offset + length; at += ZEROS.length)
      this.write([ZEROS.subarray(0, Math.min(ZEROS.length, offset + length - at))], at);
  }

  /**
   * Zeros from here on without writing them; else ENOTSUP, at once, with nothing changed. So an export may say that it knows fast
   * zeros without asking its file system first, which would change the file's times.
   */
  zeroFast(offset: number, length: number, mayPunch: boolean): void {
    if (!mayPunch) throw new NbdError(ERRNO.ENOTSUP, 'zeros that must not be a hole are written out');
    if (!punchHole(this.#file.fd, offset, length)) throw new NbdError(ERRNO.ENOTSUP, 'no hole can be made here');
  }

  /** Where no hole can be made, nothing is done, and it answers false. */
  trim(offset: number, length: number): boolean {
    return punchHole(this.#file.fd, offset, length);
  }

  sync(): Promise<void> {
    return sync(this.#file.fd);
  }

  readsZero(offset: number, length: number): boolean {
    for (const _ of dataRanges(this.#file.fd, offset, length)) return false;
    return true;
  }

  /** `base:allocation`: what SEEK_DATA and SEEK_HOLE say. */
  *allocation(offset: number, length: number): Generator<StatusRun> {
    let at = offset;
    for (const range of dataRanges(this.#file.fd, offset, length)) {
      if (range.offset > at) yield { length: range.offset - at, flags: STATE.HOLE | STATE.ZERO };
      yield { length: range.length, flags: 0 };
      at = range.offset + range.length;
    }
    if (at < offset + length) yield { length: offset + length - at, flags: STATE.HOLE | STATE.ZERO };
  }

  /** Times and size: another one after a clean stop means that somebody else has written. */
  async stamp(): Promise<string> {
    const { ino, size, mtimeNs } = await this.#file.stat({ bigint: true });
    return `${ino}-${size}-${mtimeNs}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    if (this.#temporary !== null) await rm(this.#temporary, { force: true });
  }
}

/** A request to zero or trim may be of gigabytes; it is carried out so much a turn, for others wait. */
const STEP_BYTES = 16 * 1024 * 1024;

/** Makes a change to a range step by step; at once where one step is enough. */
export function inSteps(
  offset: number,
  length: number,
  make: (offset: number, length: number) => void | Promise<void>,
): void | Promise<void> {
  if (length <= STEP_BYTES) return make(offset, length);
  return (async () => {
    for (let at = offset; at < offset + length; at += STEP_BYTES) {
      await make(at, Math.min(STEP_BYTES, offset + length - at));
      await setImmediate();
    }
  })();
}

/**
 * The C library calls that Node does not offer: where a file has data and holes, and making holes.
 *
 * Where koffi cannot be loaded (a platform without a prebuilt binary) or the
 * file system knows no holes, callers get null or false and do without: a volume is then read whole, a hole is written
 * as zeros. Nothing here decides anything; a wrong answer can cost time, never bytes.
 *
 * lseek moves the descriptor's position. Nobody in Holdfast uses that position: all reads and writes name theirs.
 */
import { loadKoffi } from './koffi.ts';

interface Libc {
  lseek(fd: number, offset: number, whence: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  posix_fadvise(fd: number, offset: number, length: number, advice: number): number;
  errno(): number;
}

const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const POSIX_FADV_SEQUENTIAL = 2;

function load(): Libc | null {
  try {
    const koffi = loadKoffi();
    const self = koffi.load(null);
    return {
      lseek: self.func('int64_t lseek(int, int64_t, int)') as Libc['lseek'],
      fallocate: self.func('int fallocate(int, int, int64_t, int64_t)') as Libc['fallocate'],
      posix_fadvise: self.func('int posix_fadvise(int, int64_t, int64_t, int)') as Libc['posix_fadvise'],
      errno: () => koffi.errno(),
    };
  } catch {
    // No prebuilt binary or no such symbol: the callers' fall-backs are complete, so this is not worth an error.
    return null;
  }
}

let loaded: Libc | null | undefined;
const libc = (): Libc | null => (loaded === undefined ? (loaded = load()) : loaded);

export interface DataRange {
  readonly offset: number;
  readonly length: number;
}

/** The parts of [offset, offset + length) that may hold data, ascending. One range, all of it, where nothing is known. */
export function* dataRanges(fd: number, offset: number, length: number): Generator<DataRange> {
  const c = libc();
  const end = offset + length;
  for (let at = offset; at < end;) {
    const start = c?.lseek(fd, at, SEEK_DATA) ?? -1;
    if (start < 0) {
      if (c === null || c.errno() !== ENXIO) yield { offset: at, length: end - at };
      return;
    }
    if (start >= end) return;
    const stop = c?.lseek(fd, start, SEEK_HOLE) ?? -1;
    const until = stop <= start ? end : Math.min(stop, end);
    yield { offset: start, length: until - start };
    at = until;
  }
}

/** Size of a block device, or null where it cannot be told. */
export function deviceBytes(fd: number): number | null {
  const size = libc()?.lseek(fd, 0, SEEK_END) ?? -1;
  return size < 0 ? null : size;
}

/** Makes [offset, offset + length) a hole. False when the file system cannot: the caller writes zeros. */
export const punchHole = (fd: number, offset: number, length: number): boolean =>
  libc()?.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) === 0;

/** Tells the kernel that the file will be read from front to back. Advice only. */
export function adviseSequential(fd: number): void {
  libc()?.posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

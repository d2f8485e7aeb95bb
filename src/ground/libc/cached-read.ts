/**
 * Reads that never wait: what the page cache holds is read at once, anything else is left to whoever may wait.
 *
 * preadv2 with RWF_NOWAIT is how Linux says that. Where it cannot be had (another platform, a file system without it), every
 * read is left to the waiting kind: slower, never wrong.
 */
import { loadKoffi } from './koffi.ts';

const RWF_NOWAIT = 8;
const EAGAIN = 11;

type Preadv2 = (fd: number, iov: Buffer, count: number, offset: number, flags: number) => number;

interface Calls {
  readonly preadv2: Preadv2;
  readonly address: (buffer: Buffer) => bigint;
  readonly errno: () => number;
}

function load(): Calls | null {
  try {
    const koffi = loadKoffi();
    const preadv2 = koffi.load(null).func('int64_t preadv2(int, void *, int, int64_t, int)') as Preadv2;
    return { preadv2, address: (buffer) => koffi.address(buffer) as bigint, errno: () => koffi.errno() };
  } catch {
    return null;
  }
}

let loaded: Calls | null | undefined;
const iov = Buffer.alloc(16);

/** Fills `into` from the page cache; false when not all of it is there. */
export type CachedRead = (into: Buffer, offset: number) => boolean;

/** Reads of one descriptor; once its file system has said that it cannot tell, none is tried again. */
export function cachedReads(fd: number): CachedRead {
  const calls = loaded === undefined ? (loaded = load()) : loaded;
  let usable = calls !== null;
  return (into, offset) => {
    if (calls === null || !usable) return false;
    iov.writeBigUInt64LE(calls.address(into), 0);
    iov.writeBigUInt64LE(BigInt(into.length), 8);
    const got = calls.preadv2(fd, iov, 1, offset, RWF_NOWAIT);
    if (got < 0) usable = calls.errno() === EAGAIN;
    return got === into.length;
  };
}

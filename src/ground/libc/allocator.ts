/**
 * How the C library keeps memory that native code has given back (zlib, SQLite, OpenSSL, Temporal's core).
 *
 * glibc gives each thread arenas of its own and keeps what is freed in them: over a few captures a worker's resident memory
 * grew by 90 MiB that nobody used. Two arenas for all threads, pieces of 256 KiB and more by themselves, and tops that are
 * trimmed at 2 MiB cost no time that could be measured (mallopt(3)). Where there is no mallopt nothing is done.
 */
import { loadKoffi } from './koffi.ts';

const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;

/** To be called once, before threads are started. */
export function tightenAllocator(): void {
  try {
    const koffi = loadKoffi();
    const mallopt = koffi.load(null).func('int mallopt(int, int)') as (parameter: number, value: number) => number;
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 2 * 1024 * 1024);
  } catch {
    // Another C library, or no koffi: its own way of keeping memory stays.
  }
}

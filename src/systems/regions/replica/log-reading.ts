/**
 * Reads a replica's log after whatever ended its last life.
 *
 * Invariant: what is taken is everything that was ever confirmed. Entries go on without a hole from the number that the index has moved them
 * through; a hole, a segment that is none with something in it, or an entry that is not whole before one that came after it was durable, means that a
 * synced part is damaged: DAMAGED, for what was answered would be gone silently. Only the newest segment may end in an entry that is not whole:
 * nobody was told of that one.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import {
  decodeEntry,
  decodeSegmentHeader,
  digestOfSegment,
  ENTRY_HEAD_BYTES,
  namesBytes,
  numberOf,
  SEGMENT_HEADER_BYTES,
  type Entry,
} from './entry-bytes.ts';

const SEGMENT = /^[0-9]{20}$/;
export const segmentName = (first: number): string => String(first).padStart(20, '0');

/** An entry and where its body is. */
export interface KeptEntry extends Entry {
  readonly path: string;
  readonly bodyAt: number;
}

export interface KnownSegment {
  readonly path: string;
  /** Number of its last entry. */
  readonly last: number;
}

export interface LogContents {
  /** Those above the number that was asked for. */
  readonly entries: readonly KeptEntry[];
  readonly segments: readonly KnownSegment[];
  /** Files in which nothing was ever confirmed. */
  readonly empty: readonly string[];
  readonly next: number;
}

/** `moved`: the number through which the index has them. */
export async function readLog(folder: string, replica: Uint8Array, moved: number): Promise<LogContents> {
  const names = (await readdir(folder)).filter((name) => SEGMENT.test(name)).sort();
  const entries: KeptEntry[] = [];
  const segments: KnownSegment[] = [];
  const empty: string[] = [];
  let next: number | null = null;
  for (const name of names) {
    const path = join(folder, name);
    await using file = await open(path, 'r');
    const header = await readBytes(file, 0, SEGMENT_HEADER_BYTES);
    const first = decodeSegmentHeader(header, replica, path);
    if (first === null) {
      // A header is synced before the first entry is written behind it.
      if ((await file.stat()).size > SEGMENT_HEADER_BYTES) throw damaged(path, 'it has no whole header');
      empty.push(path);
      continue;
    }
    if (segmentName(first) !== name) throw damaged(path, `it begins with entry ${first}`);
    const taken = await readEntries(file, path, first, digestOfSegment(header));
    if (taken.length === 0) {
      empty.push(path);
      continue;
    }
    if (first > (next ?? moved + 1)) throw damaged(path, `the entries from ${next ?? moved + 1} on are missing`);
    if (next !== null && first < next) throw damaged(path, `entry ${first} is there twice`);
    next = first + taken.length;
    segments.push({ path, last: next - 1 });
    for (const entry of taken) if (entry.number > moved) entries.push(entry);
  }
  if (next !== null && next <= moved) next = null;
  return { entries, segments, empty, next: next ?? moved + 1 };
}

const damaged = (path: string, what: string): HoldfastError =>
  new HoldfastError('DAMAGED', `the log of the replica is not what was written: ${path}: ${what}`, { object: path });

async function readEntries(file: FileHandle, path: string, first: number, segment: Buffer): Promise<KeptEntry[]> {
  const entries: KeptEntry[] = [];
  for (let at = SEGMENT_HEADER_BYTES; ;) {
    const number = first + entries.length;
    const entry = await readEntry(file, path, at, number, segment);
    if (entry === null) {
      await refuseUnlessTorn(file, path, at, number, segment);
      return entries;
    }
    entries.push(entry);
    at = entry.bodyAt + entry.sizeBytes;
  }
}

/** Null: none that is whole begins there. */
async function readEntry(file: FileHandle, path: string, at: number, number: number, segment: Buffer): Promise<KeptEntry | null> {
  const head = await readBytes(file, at, ENTRY_HEAD_BYTES);
  const names = namesBytes(head);
  if (names === null) return null;
  const bodyAt = at + ENTRY_HEAD_BYTES + names;
  const entry = decodeEntry(segment, number, Buffer.concat([head, await readBytes(file, at + ENTRY_HEAD_BYTES, names)]));
  if (entry === null) return null;
  if (entry.kind !== 'delete' && !blake3(await readBytes(file, bodyAt, entry.sizeBytes)).equals(entry.digest)) return null;
  return { ...entry, path, bodyAt };
}

/**
 * What a crash tears was never confirmed. If an entry stands behind the place that came after this number was durable, then it was damaged and not torn.
 */
async function refuseUnlessTorn(file: FileHandle, path: string, at: number, number: number, segment: Buffer): Promise<void> {
  const { size } = await file.stat();
  const rest = await readBytes(file, at, Math.max(0, size - at));
  for (let place = 0; place + ENTRY_HEAD_BYTES <= rest.length; place++) {
    const head = rest.subarray(place, place + ENTRY_HEAD_BYTES);
    const said = numberOf(head);
    const names = said === null || said <= number ? null : namesBytes(head);
    if (said === null || names === null) continue;
    const entry = decodeEntry(segment, said, rest.subarray(place, place + ENTRY_HEAD_BYTES + names));
    if (entry !== null && entry.after >= number) throw damaged(path, `entry ${number} is not whole, and entry ${said} came after it was`);
  }
}

/** The bytes from `at` on, fewer where the file ends. */
export async function readBytes(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let got = 0;
  while (got < length) {
    const { bytesRead } = await file.read(bytes, got, length - got, at + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return got === length ? bytes : bytes.subarray(0, got);
}

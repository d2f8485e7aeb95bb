/**
 * Reads a write-ahead file after whatever ended its last life (docs/journal.md, section 6).
 *
 * Invariant: what is taken is the longest beginning of what was appended that verifies, and it is final where a later segment
 * went on: that one's `before` says where the chain was left, and frames behind that place, whole or not, are dropped. What the file held
 * when it was another segment lies behind the last frame, and does not verify.
 *
 * A segment that goes on nowhere means that a synced part before it is damaged. It is reported, never silent. A read error is an
 * error: taken for an end it would drop what was confirmed.
 */
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { recordsOf, type JournalRecord } from '../records.ts';
import { decodeFrame, decodeHeader, digestOfHeader, frameBodyBytes, FRAME_HEAD_BYTES, HEADER_BYTES, type DecodedFrame } from './segment.ts';

const SEGMENT = /^([0-9]{20})\.wal(\.unsound)?$/;
export const segmentName = (number: number): string => `${String(number).padStart(20, '0')}.wal`;

interface FramePlace {
  readonly path: string;
  readonly at: number;
  readonly first: number;
  readonly count: number;
  readonly before: Buffer;
}

/** A segment that belongs to the chain. */
export interface KnownSegment {
  readonly path: string;
  /** Number of its first record, or of the one that was to be. */
  readonly next: number;
}

/** Where the chain stood: at the beginning of a segment, or after a frame. */
interface Mark {
  readonly digest: Buffer;
  readonly next: number;
  readonly frames: number;
}

export interface WriteAheadContents {
  /** Number after the last record; null: there is no segment. */
  readonly next: number | null;
  readonly digest: Buffer | null;
  readonly segments: readonly KnownSegment[];
  /** Files that go on nowhere, or cannot be read as segments, those that were set aside for it included: a synced part is damaged. */
  readonly unsound: readonly string[];
  /** Files in which nothing was ever confirmed. */
  readonly unfinished: readonly string[];
  /** Highest number that a segment ever had; 0: none. */
  readonly numberMax: number;
  /** The records from `from` on, in order; their data is the caller's. */
  records(from: number): AsyncGenerator<JournalRecord>;
}

export async function readWriteAhead(folder: string, journalId: Uint8Array): Promise<WriteAheadContents> {
  const found = await segmentsIn(folder);
  const marks: Mark[] = [];
  const frames: FramePlace[] = [];
  const segments: KnownSegment[] = [];
  const unsound = [...found.setAside];
  const unfinished: string[] = [];
  for (const { path, name } of found.live) {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const head = await readUpTo(file, 0, HEADER_BYTES);
    const header = decodeHeader(head, journalId, path);
    if (header === null || segmentName(header.number) !== name) {
      // A header is synced before the first frame is written behind it.
      (size <= HEADER_BYTES ? unfinished : unsound).push(path);
      continue;
    }
    const left = marks.findLastIndex((mark) => mark.digest.equals(header.before) && mark.next === header.next);
    if (left < 0 && marks.length > 0) {
      unsound.push(path);
      continue;
    }
    marks.length = left + 1;
    frames.length = marks.at(-1)?.frames ?? 0;
    segments.push({ path, next: header.next });
    await takeFrames(file, path, { digest: digestOfHeader(head), next: header.next, frames: frames.length }, marks, frames);
  }
  const last = marks.at(-1);
  return {
    next: last?.next ?? null,
    digest: last?.digest ?? null,
    segments,
    unsound,
    unfinished,
    numberMax: found.numberMax,
    records: (from) => recordsFrom(frames, from),
  };
}

interface Found {
  readonly live: readonly { readonly path: string; readonly name: string }[];
  readonly setAside: readonly string[];
  readonly numberMax: number;
}

async function segmentsIn(folder: string): Promise<Found> {
  const names = (await readdir(folder)).filter((name) => SEGMENT.test(name)).sort();
  return {
    live: names.filter((name) => name.endsWith('.wal')).map((name) => ({ path: join(folder, name), name })),
    setAside: names.filter((name) => !name.endsWith('.wal')).map((name) => join(folder, name)),
    numberMax: Math.max(0, ...names.map((name) => Number(SEGMENT.exec(name)?.[1]))),
  };
}

/** Adds the frames that verify from the beginning of a segment. */
async function takeFrames(file: FileHandle, path: string, begin: Mark, marks: Mark[], frames: FramePlace[]): Promise<void> {
  let mark = begin;
  let at = HEADER_BYTES;
  for (;;) {
    marks.push(mark);
    const frame = await readFrame(file, path, { at, first: mark.next, before: mark.digest });
    if (frame === null) return;
    frames.push({ path, at, first: mark.next, count: frame.rows.length, before: mark.digest });
    at += frame.bytes;
    mark = { digest: frame.digest, next: mark.next + frame.rows.length, frames: frames.length };
  }
}

type ReadFrame = DecodedFrame & { readonly bytes: number };

async function readFrame(file: FileHandle, path: string, place: Pick<FramePlace, 'at' | 'first' | 'before'>): Promise<ReadFrame | null> {
  const head = await readUpTo(file, place.at, FRAME_HEAD_BYTES);
  const length = frameBodyBytes(head);
  if (length === null) return null;
  const body = await readUpTo(file, place.at + FRAME_HEAD_BYTES, length);
  const frame = body.length < length ? null : decodeFrame(place.before, place.first, head, body, path);
  return frame && { ...frame, bytes: FRAME_HEAD_BYTES + length };
}

/** The bytes from `at` on, fewer where the file ends. */
async function readUpTo(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let got = 0;
  while (got < length) {
    const { bytesRead } = await file.read(bytes, got, length - got, at + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return bytes.subarray(0, got);
}

async function* recordsFrom(frames: readonly FramePlace[], from: number): AsyncGenerator<JournalRecord> {
  for (let i = frames.findIndex(({ first, count }) => first + count > from); i >= 0 && i < frames.length;) {
    const path = frames[i]?.path ?? '';
    await using file = await open(path, 'r');
    for (let place = frames[i]; place?.path === path; place = frames[++i]) {
      const frame = await readFrame(file, path, place);
      if (frame === null) throw new HoldfastError('DAMAGED', `${path} is no longer what was read`, { object: path, why: 'form' });
      for (const record of recordsOf(frame.rows, frame.data)) if (record.seq >= from) yield record;
    }
  }
}

/**
 * A segment of the write-ahead file, to the byte (docs/journal.md, section 6): a header that binds it to a journal and to what
 * was before it, then frames, each a group of records.
 *
 * Invariant: the digest of a frame binds it to everything before it, to its place and to its segment, whose beginning is random.
 * So whatever verifies was appended here, at this place, after all that verified before it; nothing left over from another
 * life of the disk passes.
 */
import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCH_DATA_BYTES_MAX, BATCH_RECORDS_MAX, MIB } from '../../../domain/limits.ts';
import { isNewer, upgradeRequired } from '../../../ground/sealing/magic.ts';
import { decodeRows, encodeGroup, ROW_BYTES, type JournalRecord, type Row } from '../records.ts';

const MAGIC = Buffer.from('HFW1');
const CONTEXT = 'holdfast wal';
const DIGESTED = 88;
export const HEADER_BYTES = 120;
export const FRAME_HEAD_BYTES = 40;
const FRAME_BODY_BYTES_MAX = BATCH_RECORDS_MAX * ROW_BYTES + BATCH_DATA_BYTES_MAX;

export interface SegmentHeader {
  readonly journalId: Uint8Array;
  readonly number: number;
  /** Number of the first record that will be in it. */
  readonly next: number;
  /** Where the chain stood when it was made. */
  readonly before: Uint8Array;
}

const headerDigest = (bytes: Buffer): Buffer => blake3(Buffer.concat([Buffer.from(CONTEXT), bytes.subarray(0, DIGESTED)]));

/** The header, which ends with the digest that the first frame follows. `random` is 16 bytes. */
export function encodeHeader({ journalId, number, next, before }: SegmentHeader, random: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.set(MAGIC, 0);
  bytes.set(journalId, 8);
  bytes.set(random, 24);
  bytes.writeBigUInt64BE(BigInt(number), 40);
  bytes.writeBigUInt64BE(BigInt(next), 48);
  bytes.set(before, 56);
  bytes.set(headerDigest(bytes), DIGESTED);
  return bytes;
}

export const digestOfHeader = (bytes: Buffer): Buffer => bytes.subarray(DIGESTED, HEADER_BYTES);

/** The header of a segment, or null when these bytes are none. BATCH_FOREIGN: of another journal; UPGRADE_REQUIRED. */
export function decodeHeader(bytes: Buffer, journalId: Uint8Array, path: string): SegmentHeader | null {
  const known = Buffer.from(bytes);
  MAGIC.copy(known, 0);
  const whole = bytes.length === HEADER_BYTES && headerDigest(known).equals(digestOfHeader(known));
  // With its version under a digest that fits version 1, it is a flipped bit.
  if (isNewer(bytes, MAGIC) && !whole) throw upgradeRequired(path, path);
  if (!whole || !MAGIC.equals(bytes.subarray(0, 4))) return null;
  if (!bytes.subarray(8, 24).equals(journalId))
    throw new HoldfastError('BATCH_FOREIGN', `${path} is of another journal`, { object: path, why: 'journal' });
  const [number, next] = [Number(bytes.readBigUInt64BE(40)), Number(bytes.readBigUInt64BE(48))];
  return { journalId, number, next, before: bytes.subarray(56, DIGESTED) };
}

interface EncodedFrame {
  readonly bytes: Buffer;
  readonly digest: Buffer;
}

/** The frame of records that go on from `next`, after what has the digest `before`. Its bytes may be the next frame's when that is asked for. */
type Frames = (before: Uint8Array, next: number, records: readonly JournalRecord[]) => EncodedFrame;

/** Frames up to this share a buffer: fresh memory for each costs more than the copy. */
const SHARED_BYTES = MIB;

export function createFrames(): Frames {
  let shared: Buffer | null = null;
  return (before, next, records) => {
    const { rows, data, count, dataBytes } = encodeGroup(next, records, 'number');
    const length = FRAME_HEAD_BYTES + rows.length + dataBytes;
    const bytes =
      length > SHARED_BYTES ? Buffer.allocUnsafe(length) : (shared ??= Buffer.allocUnsafeSlow(SHARED_BYTES)).subarray(0, length);
    bytes.writeUInt32BE(rows.length + dataBytes, 0);
    bytes.writeUInt32BE(count, 4);
    let at = FRAME_HEAD_BYTES;
    for (const part of [rows, ...data]) {
      bytes.set(part, at);
      at += part.length;
    }
    const digest = frameDigest(before, bytes.subarray(0, 8), bytes.subarray(FRAME_HEAD_BYTES));
    digest.copy(bytes, 8);
    return { bytes, digest };
  };
}

const frameDigest = (before: Uint8Array, sizes: Buffer, body: Buffer): Buffer =>
  new Blake3Hasher().update(CONTEXT).update(Buffer.from(before)).update(sizes).update(body).digestBuffer();

/** Length of what follows a frame's head, or null when no frame begins here. */
export function frameBodyBytes(head: Buffer): number | null {
  if (head.length < FRAME_HEAD_BYTES) return null;
  const [bytes, count] = [head.readUInt32BE(0), head.readUInt32BE(4)];
  return count === 0 || bytes > FRAME_BODY_BYTES_MAX || count * ROW_BYTES > bytes ? null : bytes;
}

export interface DecodedFrame {
  readonly rows: readonly Row[];
  readonly data: Buffer;
  readonly digest: Buffer;
}

/** The frame, or null when it is not what was appended here. */
export function decodeFrame(before: Uint8Array, next: number, head: Buffer, body: Buffer, path: string): DecodedFrame | null {
  const digest = Buffer.from(head.subarray(8, FRAME_HEAD_BYTES));
  if (!frameDigest(before, head.subarray(0, 8), body).equals(digest)) return null;
  const rowBytes = head.readUInt32BE(4) * ROW_BYTES;
  const data = body.subarray(rowBytes);
  const decoded = decodeRows(body.subarray(0, rowBytes), next, data.length, 'number');
  if ('rows' in decoded) return { rows: decoded.rows, data, digest };
  // Under the digest, so somebody meant it.
  if (decoded.fault === 'op') throw upgradeRequired(path, path);
  throw new HoldfastError('DAMAGED', `${path} has a frame that is not of the form`, { object: path, why: 'form' });
}

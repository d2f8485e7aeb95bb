/**
 * What a broker answers to a fetch: batches of records (message format 2, which all brokers since 0.11 write), taken apart.
 *
 *     base offset i64 | length i32 | leader epoch i32 | magic i8 | crc32c u32 | attributes i16 | last offset delta i32
 *     base time i64 | max time i64 | producer id i64 | producer epoch i16 | base sequence i32 | count i32 | records
 *
 * Our own and not kafkajs's, for an archive has to know what a consumer need not: which offsets are marks of Kafka's transactions or were
 * taken back with one, where a batch ends whose last records compaction has removed, and that the bytes are those that were produced
 * (its decoder checks no sum). Keys and values are views of what was given.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { crc32c } from './crc32c.ts';
import { decompress } from './decompression.ts';

export interface FetchedRecord {
  readonly offset: number;
  /** The broker's or the producer's time, as the topic is set; 0 or less when there is none. */
  readonly timeMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/** Offsets [from, to). */
export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}

export interface FetchedRecords {
  /** Ascending by offset, none below what was asked for. */
  readonly records: readonly FetchedRecord[];
  /** Marks of Kafka's own transactions, and records that one of them took back; ascending. */
  readonly controls: readonly OffsetRange[];
  /** All that is below was in the answer, or is not in the topic any more. */
  readonly next: number;
}

/** Transactions that were taken back and reach into an answer, ascending by first offset. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

const HEADER_BYTES = 61;
const LENGTH_AT = 8;
const MAGIC_AT = 16;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT_MARK = 0;

const damaged = (what: string): HoldfastError => new HoldfastError('DAMAGED', `a batch of Kafka records ${what}`);

/** Records from `from` on, of the complete batches; what is cut off at the end comes with the next fetch. DAMAGED, RECORD_INVALID. */
export function decodeBatches(bytes: Buffer, from: number, aborted: readonly AbortedTransaction[]): FetchedRecords {
  const records: FetchedRecord[] = [];
  const controls: OffsetRange[] = [];
  const takenBack = takingBack(aborted);
  let next = from;
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const end = at + LENGTH_AT + 4 + bytes.readInt32BE(at + LENGTH_AT);
    if (end > bytes.length) break;
    if (end <= at) throw damaged('says that it has no length');
    const batch = bytes.subarray(at, end);
    at = end;
    check(batch);
    const base = Number(batch.readBigInt64BE(0));
    const after = base + batch.readInt32BE(23) + 1;
    const content = takenBack(batch, after);
    if (content === null) controls.push({ from: Math.max(base, from), to: Math.max(after, from) });
    else decodeRecords(batch, base, content, from, records);
    next = Math.max(next, after);
  }
  return { records, controls: controls.filter((range) => range.to > range.from), next };
}

function check(batch: Buffer): void {
  if (batch.length < HEADER_BYTES) throw damaged('is shorter than its own head');
  const magic = batch.readInt8(MAGIC_AT);
  if (magic !== 2)
    throw new HoldfastError('RECORD_INVALID', `the topic holds messages of format ${magic}`, {
      expected: 'format 2 (Kafka 0.11 and later)',
    });
  if (crc32c(batch.subarray(ATTRIBUTES_AT)) !== batch.readUInt32BE(CRC_AT)) throw damaged('does not have the sum that it says');
}

/** The records of a batch, opened; null where it is a mark, or of a transaction that was taken back. */
function takingBack(aborted: readonly AbortedTransaction[]): (batch: Buffer, after: number) => Buffer | null {
  const producers = new Set<bigint>();
  let begun = 0;
  return (batch, after) => {
    const attributes = batch.readInt16BE(ATTRIBUTES_AT);
    const producerId = batch.readBigInt64BE(43);
    for (let one = aborted[begun]; one !== undefined && one.firstOffset < after; one = aborted[++begun]) producers.add(one.producerId);
    if ((attributes & CONTROL) === 0 && (attributes & TRANSACTIONAL) !== 0 && producers.has(producerId)) return null;
    const content = decompress(attributes & COMPRESSION_MASK, batch.subarray(HEADER_BYTES));
    if ((attributes & CONTROL) === 0) return content;
    if (isAbort(content)) producers.delete(producerId);
    return null;
  };
}

/** Of a mark: its key is a version and a type, 16 bits each. */
function isAbort(content: Buffer): boolean {
  if (content.length === 0) return false;
  const mark = createCursor(content);
  mark.varint();
  mark.skip(1);
  mark.varint();
  mark.varint();
  const key = mark.bytes();
  return key !== null && key.length >= 4 && key.readInt16BE(2) === ABORT_MARK;
}

function decodeRecords(batch: Buffer, base: number, content: Buffer, from: number, into: FetchedRecord[]): void {
  const baseMs = Number(batch.readBigInt64BE(27));
  const appended = (batch.readInt16BE(ATTRIBUTES_AT) & LOG_APPEND_TIME) !== 0 ? Number(batch.readBigInt64BE(35)) : null;
  const cursor = createCursor(content);
  for (let left = batch.readInt32BE(57); left > 0; left--) {
    const length = cursor.varint();
    const end = cursor.at() + length;
    cursor.skip(1);
    const timeMs = baseMs + cursor.varint();
    const offset = base + cursor.varint();
    const key = cursor.bytes();
    const value = cursor.bytes();
    // Headers are nothing that a table knows.
    cursor.seek(end);
    if (offset >= from) into.push({ offset, timeMs: appended ?? timeMs, key, value });
  }
}

interface Cursor {
  /** Zigzag, as a number: times and lengths are far below 2^53. */
  varint(): number;
  /** A length and as many bytes; a negative length is none. */
  bytes(): Buffer | null;
  skip(count: number): void;
  seek(to: number): void;
  at(): number;
}

function createCursor(bytes: Buffer): Cursor {
  let at = 0;
  const varint = (): number => {
    let byte = bytes[at++] ?? 0;
    if (byte < 0x80) return byte & 1 ? -((byte + 1) >>> 1) : byte >>> 1;
    let result = byte & 0x7f;
    let scale = 128;
    do {
      byte = bytes[at++] ?? 0;
      result += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    return result % 2 === 1 ? -(result + 1) / 2 : result / 2;
  };
  const seek = (to: number): void => {
    if (to < at || to > bytes.length) throw damaged('ends before its records do');
    at = to;
  };
  return {
    varint,
    bytes() {
      const length = varint();
      if (length < 0) return null;
      const from = at;
      seek(at + length);
      return bytes.subarray(from, at);
    },
    skip: (count) => seek(at + count),
    seek,
    at: () => at,
  };
}

/**
 * Records of a journal, and the rows that say where their bytes go (docs/journal.md, sections 4 and 6).
 *
 * A group of records is kept as rows of 24 bytes, one a record, and the data of its writes end to end in the order of their
 * numbers. Batches and the write-ahead file share this; only the order of the rows differs.
 *
 * Invariant: there is exactly one form for given records and a given order, and nothing else is read. So equal records have
 * equal digests, and whatever is read back is what some writer could have meant.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { BATCH_DATA_BYTES_MAX, BATCH_RECORDS_MAX, JOURNAL_WRITE_BYTES_MAX } from '../../domain/limits.ts';

export type JournalRecord =
  | { readonly kind: 'write'; readonly seq: number; readonly volume: number; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: 'zero'; readonly seq: number; readonly volume: number; readonly offset: number; readonly length: number }
  /** All before it may be recovered as a point. */
  | { readonly kind: 'flush'; readonly seq: number }
  /** Order was lost before it: what it and later records add up to needs a base that begins here, or later. */
  | { readonly kind: 'gap'; readonly seq: number };

/** A record without its bytes: where they go, and where they begin in the data. */
export interface Row {
  readonly kind: JournalRecord['kind'];
  readonly seq: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly place: number;
}

/** By number (the write-ahead file, a replay), or by volume, offset, number (a batch: searched by place). */
export type RowOrder = 'number' | 'place';

export const ROW_BYTES = 24;
/** The volume of a flush or gap: of none, and after all others. */
const NO_VOLUME = 0xffff;
const OPS = ['write', 'zero', 'flush', 'gap'] as const;

const byPlace = (a: Row, b: Row): number => a.volume - b.volume || a.offset - b.offset || a.seq - b.seq;
const byNumber = (a: Row, b: Row): number => a.seq - b.seq;

export interface Group {
  /** Number of the first record; of none, the number that comes next. */
  readonly first: number;
  readonly count: number;
  readonly rows: Buffer;
  readonly data: readonly Uint8Array[];
  readonly dataBytes: number;
}

/** The form of these records, which follow each other from `first` on. The data is not copied. */
export function encodeGroup(first: number, records: readonly JournalRecord[], order: RowOrder): Group {
  const rows: Row[] = [];
  const data: Uint8Array[] = [];
  let place = 0;
  for (const [i, record] of records.entries()) {
    rows.push(rowOf(record, place, first + i));
    if (record.kind !== 'write') continue;
    data.push(record.data);
    place += record.data.length;
  }
  if (records.length > BATCH_RECORDS_MAX || place > BATCH_DATA_BYTES_MAX)
    throw new HoldfastError('INTERNAL', 'more records than a group of a journal holds', { records: records.length, dataBytes: place });
  if (order === 'place') rows.sort(byPlace);
  const bytes = Buffer.alloc(rows.length * ROW_BYTES);
  for (const [i, row] of rows.entries()) writeRow(bytes, i * ROW_BYTES, row, first);
  return { first, count: rows.length, rows: bytes, data, dataBytes: place };
}

function rowOf(record: JournalRecord, place: number, seq: number): Row {
  if (record.seq !== seq || !isHoldable(record))
    throw new HoldfastError('INTERNAL', 'a record that a journal cannot hold', { kind: record.kind, seq: record.seq, expected: seq });
  return fieldsOf(record, place);
}

function fieldsOf(record: JournalRecord, place: number): Row {
  const { kind, seq } = record;
  if (kind === 'write') return { kind, seq, volume: record.volume, offset: record.offset, length: record.data.length, place };
  if (kind === 'zero') return { kind, seq, volume: record.volume, offset: record.offset, length: record.length, place: 0 };
  return { kind, seq, volume: NO_VOLUME, offset: 0, length: 0, place: 0 };
}

/** Whether there is a row for this record: within the limits of section 9. */
export const isHoldable = (record: JournalRecord): boolean => !wrongRow(fieldsOf(record, 0));

/** Whether the fields of a row do not fit its kind. */
function wrongRow({ kind, volume, offset, length, place }: Row): boolean {
  if (kind === 'flush' || kind === 'gap') return volume !== NO_VOLUME || offset !== 0 || length !== 0 || place !== 0;
  const most = kind === 'write' ? JOURNAL_WRITE_BYTES_MAX : 0xffff_ffff;
  if (kind === 'zero' && place !== 0) return true;
  return volume < 0 || volume >= NO_VOLUME || length < 1 || length > most || offset < 0 || !Number.isSafeInteger(offset + length);
}

function writeRow(into: Buffer, at: number, row: Row, first: number): void {
  into.writeUInt16BE(row.volume, at);
  into.writeUInt8(OPS.indexOf(row.kind) + 1, at + 2);
  into.writeUInt32BE(row.seq - first, at + 4);
  into.writeBigUInt64BE(BigInt(row.offset), at + 8);
  into.writeUInt32BE(row.length, at + 16);
  into.writeUInt32BE(row.place, at + 20);
}

/** What is wrong with stored rows; who reads them says where they lay. */
export type RowFault = 'form' | 'op';
export type DecodedRows = { readonly rows: readonly Row[] } | { readonly fault: RowFault };

/** The rows in the order of their numbers, or what is wrong. `dataBytes` is the length of the data that they speak of. */
export function decodeRows(bytes: Buffer, first: number, dataBytes: number, order: RowOrder): DecodedRows {
  if (bytes.length % ROW_BYTES !== 0) return { fault: 'form' };
  const rows: Row[] = [];
  for (let at = 0; at < bytes.length; at += ROW_BYTES) {
    const kind = OPS[bytes.readUInt8(at + 2) - 1];
    if (kind === undefined) return { fault: 'op' };
    const row = {
      kind,
      volume: bytes.readUInt16BE(at),
      seq: first + bytes.readUInt32BE(at + 4),
      offset: Number(bytes.readBigUInt64BE(at + 8)),
      length: bytes.readUInt32BE(at + 16),
      place: bytes.readUInt32BE(at + 20),
    };
    const before = rows.at(-1);
    if (bytes.readUInt8(at + 3) !== 0 || wrongRow(row)) return { fault: 'form' };
    if (before !== undefined && (order === 'place' ? byPlace : byNumber)(before, row) >= 0) return { fault: 'form' };
    rows.push(row);
  }
  if (order === 'place') rows.sort(byNumber);
  return fillsData(rows, first, dataBytes) ? { rows } : { fault: 'form' };
}

/** Whether each number occurs once, and the writes fill the data end to end. */
function fillsData(rows: readonly Row[], first: number, dataBytes: number): boolean {
  let place = 0;
  for (const [i, row] of rows.entries()) {
    if (row.seq !== first + i) return false;
    if (row.kind !== 'write') continue;
    if (row.place !== place) return false;
    place += row.length;
  }
  return place === dataBytes;
}

/** The records of rows that stand in the order of their numbers. Their data is a view of `data`, not a copy. */
export function recordsOf(rows: readonly Row[], data: Buffer): readonly JournalRecord[] {
  return rows.map(({ kind, seq, volume, offset, length, place }) => {
    if (kind === 'write') return { kind, seq, volume, offset, data: data.subarray(place, place + length) };
    return kind === 'zero' ? { kind, seq, volume, offset, length } : { kind, seq };
  });
}

/**
 * A batch: records of one epoch in one object, chained to the batch before (docs/journal.md, section 4).
 *
 * Invariant: a batch that is read is what its owner formed in that place, or it is refused by name. Its digest says all that was
 * before it, so two chains that end in one digest hold the same records; it is computed from the head alone.
 */
import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash';
import { zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { BATCH_DATA_BYTES_MAX, BATCH_FOLD_BYTES_MAX, BATCH_RECORDS_MAX } from '../../domain/limits.ts';
import { packInto, packedBytesMax } from '../../ground/sealing/closing.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { upgradeRequired } from '../../ground/sealing/magic.ts';
import type { Sealed } from '../../ground/sealing/opening.ts';
import { decodeRows, encodeGroup, recordsOf, ROW_BYTES, type Group, type JournalRecord, type Row } from './records.ts';
import { openBody, openHead, refusedObject, sealedBody, sealObject, type OpenedHead, type Place } from './sealed-object.ts';

const RAW = 0;
const ZSTD = 1;
const FIXED_BYTES = 140;
export const DIGEST_BYTES = 32;
/** The digest before the first batch of a journal. */
export const NO_DIGEST: Uint8Array = Buffer.alloc(DIGEST_BYTES);

/** What a batch says besides its records. */
export interface BatchNotes extends Place {
  /** Number of its first record; of an empty batch the number that comes next. */
  readonly first: number;
  /** Digest of the chain before it. */
  readonly before: Uint8Array;
  /** Newest number that was acknowledged when it was formed, and how many batches of this epoch. */
  readonly acknowledged: number;
  readonly acknowledgedBatches: number;
  /** The owner's clock, never lower than in the batch before. */
  readonly labelUs: number;
  /** The journal's state at the OPEN, in batch 0; elsewhere empty. */
  readonly fold: Uint8Array;
}

export interface BatchHead extends BatchNotes {
  readonly count: number;
  readonly dataBytes: number;
  readonly after: Buffer;
  readonly dataDigest: Buffer;
  /** In the order of their numbers. */
  readonly rows: readonly Row[];
}

export interface Batch extends BatchHead {
  readonly records: readonly JournalRecord[];
  /** The bytes of its writes, end to end: what the records' data are views of. */
  readonly data: Buffer;
}

/** Number of the last record; of an empty batch the one before its first. */
export const lastOf = ({ first, count }: { readonly first: number; readonly count: number }): number => first + count - 1;

export interface Forming {
  /** zstd level of the body; null: it stays raw. */
  readonly level: number | null;
  /** 32 random bytes, never used twice. */
  readonly salt: Uint8Array;
}

export interface FormedBatch {
  readonly stored: Buffer;
  readonly after: Buffer;
}

/** Forms a batch of records that follow each other from `notes.first` on. */
export function formBatch(key: SealingKey, notes: BatchNotes, records: readonly JournalRecord[], forming: Forming): FormedBatch {
  if (notes.fold.length > BATCH_FOLD_BYTES_MAX)
    throw new HoldfastError('INTERNAL', 'the state of a journal does not fit a batch', { bytes: notes.fold.length });
  const group = encodeGroup(notes.first, records, 'place');
  const data = endToEnd(group);
  const dataDigest = blake3(data);
  const after = digestAfter(notes, group, dataDigest);
  const head = Buffer.concat([fixedPart(notes, group, dataDigest, after), group.rows, notes.fold]);
  const body = packed(data, forming.level);
  return { stored: sealObject(key, { ...notes, kind: 'batch', ...body, head }, forming.salt), after };
}

function digestAfter(notes: BatchNotes, { count, rows }: Pick<Group, 'count' | 'rows'>, dataDigest: Buffer): Buffer {
  const numbers = Buffer.alloc(28);
  numbers.writeBigUInt64BE(BigInt(notes.epoch), 0);
  numbers.writeBigUInt64BE(BigInt(notes.index), 8);
  numbers.writeBigUInt64BE(BigInt(notes.first), 16);
  numbers.writeUInt32BE(count, 24);
  const hasher = new Blake3Hasher().update('holdfast batch').update(Buffer.from(notes.before)).update(numbers);
  return hasher.update(rows).update(dataDigest).digestBuffer();
}

function fixedPart(notes: BatchNotes, group: Group, dataDigest: Buffer, after: Buffer): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed.writeBigUInt64BE(BigInt(notes.first), 0);
  fixed.writeUInt32BE(group.count, 8);
  fixed.writeUInt32BE(group.dataBytes, 12);
  fixed.set(notes.before, 16);
  fixed.set(after, 48);
  fixed.set(dataDigest, 80);
  fixed.writeBigUInt64BE(BigInt(notes.acknowledged), 112);
  fixed.writeBigUInt64BE(BigInt(notes.acknowledgedBatches), 120);
  fixed.writeBigUInt64BE(BigInt(notes.labelUs), 128);
  fixed.writeUInt32BE(notes.fold.length, 136);
  return fixed;
}

/** Memory of the batch at hand, used again by the next: fresh memory for each would have the garbage collector busy all the time. */
const rooms = { data: Buffer.alloc(0), packed: Buffer.alloc(0) };

function roomFor(what: keyof typeof rooms, bytes: number): Buffer {
  if (rooms[what].length < bytes) rooms[what] = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * rooms[what].length));
  return rooms[what];
}

/** Valid until the next batch is formed. */
function endToEnd({ data, dataBytes }: Pick<Group, 'data' | 'dataBytes'>): Buffer {
  const room = roomFor('data', dataBytes);
  let at = 0;
  for (const part of data) {
    room.set(part, at);
    at += part.length;
  }
  return room.subarray(0, dataBytes);
}

function packed(data: Buffer, level: number | null): { readonly codec: number; readonly body: Uint8Array } {
  const body = level === null || data.length === 0 ? null : packInto(data, level, roomFor('packed', packedBytesMax(data.length)));
  return body === null ? { codec: RAW, body: data } : { codec: ZSTD, body };
}

/**
 * The head of the batch read under the name `object`, of which `stored` are the first bytes or all; null: a seal stands there.
 * DAMAGED, BATCH_FOREIGN or UPGRADE_REQUIRED.
 */
export function readBatchHead(key: SealingKey, place: Place, object: string, stored: Buffer): BatchHead | null {
  const opened = openHead(key, place, object, stored);
  return opened.kind === 'seal' ? null : headOf(opened, place, object);
}

/** The same of the whole object, with its records. */
export function readBatch(key: SealingKey, place: Place, object: string, stored: Buffer): Batch | null {
  const opened = openHead(key, place, object, stored);
  const body = openBody(key, object, stored);
  if (opened.kind === 'seal') return null;
  const head = headOf(opened, place, object);
  const data = unpacked(body, opened.codec, head.dataBytes, object);
  if (data.length !== head.dataBytes || !blake3(data).equals(head.dataDigest)) throw refusedObject('DAMAGED', object, 'form');
  return { ...head, records: recordsOf(head.rows, data), data };
}

/** What a body must be, and the body, still sealed: what is left to do of `readBatch` for who knows the rows of a batch with this digest. */
export interface ClosedBody {
  readonly after: Buffer;
  readonly isZstd: boolean;
  readonly dataBytes: number;
  readonly dataDigest: Buffer;
  /** Null: it has no data. */
  readonly sealed: Sealed | null;
}

/** The same of the whole object without opening its body or reading its rows, which its digest stands for. */
export function readClosedBody(key: SealingKey, place: Place, object: string, stored: Buffer): ClosedBody | null {
  const opened = openHead(key, place, object, stored);
  const sealed = sealedBody(key, object, stored);
  if (opened.kind === 'seal') return null;
  const fields = fieldsOf(opened, place, object);
  refuseOtherDigest(fields, object);
  const { after, dataBytes, dataDigest } = fields;
  if ((sealed === null) !== (dataBytes === 0)) throw refusedObject('DAMAGED', object, 'form');
  return { after, dataBytes, dataDigest, sealed, isZstd: isPacked(opened.codec, object) };
}

interface HeadFields extends BatchNotes {
  readonly count: number;
  readonly dataBytes: number;
  readonly after: Buffer;
  readonly dataDigest: Buffer;
  /** As they are stored. */
  readonly rows: Buffer;
}

function headOf(opened: OpenedHead, place: Place, object: string): BatchHead {
  const { rows, ...fields } = fieldsOf(opened, place, object);
  // Rows first: a newer version may make its digest in another way.
  const decoded = decodeRows(rows, fields.first, fields.dataBytes, 'place');
  // Under the tag: an op that is not known is no accident.
  if ('fault' in decoded) throw decoded.fault === 'op' ? upgradeRequired(object, object) : refusedObject('DAMAGED', object, 'form');
  refuseOtherDigest({ ...fields, rows }, object);
  return { ...fields, rows: decoded.rows };
}

function refuseOtherDigest(fields: HeadFields, object: string): void {
  if (!digestAfter(fields, fields, fields.dataDigest).equals(fields.after)) throw refusedObject('DAMAGED', object, 'form');
}

/** The head, but for what its rows say. */
function fieldsOf({ head }: OpenedHead, place: Place, object: string): HeadFields {
  const wrong = (): HoldfastError => refusedObject('DAMAGED', object, 'form');
  if (head.length < FIXED_BYTES) throw wrong();
  const [count, dataBytes, foldBytes] = [head.readUInt32BE(8), head.readUInt32BE(12), head.readUInt32BE(136)];
  const rowsEnd = FIXED_BYTES + count * ROW_BYTES;
  if (count > BATCH_RECORDS_MAX || dataBytes > BATCH_DATA_BYTES_MAX || foldBytes > BATCH_FOLD_BYTES_MAX) throw wrong();
  if (head.length !== rowsEnd + foldBytes) throw wrong();
  const [first, acknowledged, acknowledgedBatches, labelUs] = [0, 112, 120, 128].map((at) => Number(head.readBigUInt64BE(at)));
  if (first === undefined || acknowledged === undefined || acknowledgedBatches === undefined || labelUs === undefined) throw wrong();
  if (![first + count, acknowledged, acknowledgedBatches, labelUs].every(Number.isSafeInteger)) throw wrong();
  const rows = head.subarray(FIXED_BYTES, rowsEnd);
  const { epoch, index } = place;
  const [before, after, dataDigest] = [head.subarray(16, 48), head.subarray(48, 80), head.subarray(80, 112)];
  const notes = { epoch, index, first, before, acknowledged, acknowledgedBatches, labelUs, fold: head.subarray(rowsEnd) };
  return { ...notes, count, dataBytes, after, dataDigest, rows };
}

function isPacked(codec: number, object: string): boolean {
  // Under the tag, as above.
  if (codec !== RAW && codec !== ZSTD) throw upgradeRequired(object, object);
  return codec === ZSTD;
}

function unpacked(body: Buffer, codec: number, dataBytes: number, object: string): Buffer {
  if (!isPacked(codec, object)) return body;
  try {
    return zstdDecompressSync(body, { maxOutputLength: Math.max(dataBytes, 1) });
  } catch (cause) {
    throw new HoldfastError('DAMAGED', `${object} does not decompress`, { object, why: 'form' }, cause);
  }
}

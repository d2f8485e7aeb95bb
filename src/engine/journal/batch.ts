/**
 * A batch: records of one epoch in one object, chained to the batch before (docs/journal.md, section 4).
 *
 * Invariant: a batch that is read is what its owner formed in that place, or it is refused by name. Its digest says all that was
 * before it, so two chains that end in one digest hold the same records; it is computed from the head alone.
 */
import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { BATCH_DATA_BYTES_MAX, BATCH_FOLD_BYTES_MAX, BATCH_RECORDS_MAX } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { upgradeRequired } from '../../ground/sealing/magic.ts';
import { decodeRows, encodeGroup, recordsOf, ROW_BYTES, type Group, type JournalRecord, type Row } from './records.ts';
import { openBody, openHead, refusedObject, sealObject, type OpenedHead, type Place } from './sealed-object.ts';

const RAW = 0;
const ZSTD = 1;
/** zstd must save at least 5 % or the bytes stay raw. */
const RAW_SHARE = 0.95;
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
  const data = Buffer.concat(group.data, group.dataBytes);
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

function packed(data: Buffer, level: number | null): { readonly codec: number; readonly body: Buffer } {
  if (level === null || data.length === 0) return { codec: RAW, body: data };
  const body = zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: level } });
  return body.length < data.length * RAW_SHARE ? { codec: ZSTD, body } : { codec: RAW, body: data };
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
  return { ...head, records: recordsOf(head.rows, data) };
}

function headOf({ head }: OpenedHead, place: Place, object: string): BatchHead {
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
  const decoded = decodeRows(rows, first, dataBytes, 'place');
  // Under the tag: an op that is not known is no accident.
  if ('fault' in decoded) throw decoded.fault === 'op' ? upgradeRequired(object, object) : wrong();
  const { epoch, index } = place;
  const [before, after, dataDigest] = [head.subarray(16, 48), head.subarray(48, 80), head.subarray(80, 112)];
  const notes = { epoch, index, first, before, acknowledged, acknowledgedBatches, labelUs, fold: head.subarray(rowsEnd) };
  if (!digestAfter(notes, { count, rows }, dataDigest).equals(after)) throw wrong();
  return { ...notes, count, dataBytes, after, dataDigest, rows: decoded.rows };
}

function unpacked(body: Buffer, codec: number, dataBytes: number, object: string): Buffer {
  if (codec === RAW) return body;
  // Under the tag, as above.
  if (codec !== ZSTD) throw upgradeRequired(object, object);
  try {
    return zstdDecompressSync(body, { maxOutputLength: Math.max(dataBytes, 1) });
  } catch (cause) {
    throw new HoldfastError('DAMAGED', `${object} does not decompress`, { object, why: 'form' }, cause);
  }
}

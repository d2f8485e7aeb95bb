/**
 * What one record of a topic says about a table. Decoders make these, purely; placing.ts gives them their position.
 *
 * Nothing is passed over: a record is a change, says expressly that no row changes, or is quarantined with a reason.
 */
import { isUtf8 } from 'node:buffer';

/** One record as a consumer hands it over. */
export interface TableRecord {
  readonly offset: number;
  /** The broker's time of it; 0 or less when it has none. */
  readonly timeMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

/** Stands in a row where the source did not say what the column holds. No JSON text, so no value is taken for it. */
export const UNAVAILABLE = '?';

/** A place in the source's log. */
export interface LogPlace {
  readonly major: bigint;
  readonly minor: bigint;
}

/**
 * Where a change stands: in its source's log; where it stands in the partition (but not below `least`, which the connector
 * had reached); the same, as a row of an initial snapshot; by its time. `anew`: the connector knew of no commit before that snapshot, so what it
 * sends goes on from there and from nowhere else.
 */
export type Place =
  | ({ readonly kind: 'source' } & LogPlace)
  | { readonly kind: 'here'; readonly least: LogPlace | null }
  | { readonly kind: 'initial'; readonly least: LogPlace | null; readonly anew: boolean }
  | { readonly kind: 'time' };

export interface SchemaColumn {
  readonly name: string;
  /** Kafka Connect's literal type. */
  readonly type: string;
  /** Its semantic type, such as io.debezium.time.Date. */
  readonly semantic: string | null;
  readonly optional: boolean;
  /** Digits after the point, of a decimal whose events hold nothing but the digits. */
  readonly scale: number | null;
}
/** The columns of a table, as the schema of a record has them. */
export type TableSchema = readonly SchemaColumn[];

export interface ChangeEvent {
  readonly kind: 'change';
  readonly op: 'put' | 'delete' | 'truncate';
  /** Canonical JSON; null for a truncate, which has none. */
  readonly key: string | null;
  /** Column -> canonical JSON text or UNAVAILABLE; null unless `put`. */
  readonly row: ReadonlyMap<string, string> | null;
  readonly place: Place;
  /** When the source committed it, microseconds; null where only its place counts. */
  readonly stampUs: number | null;
  readonly transaction: string | null;
  readonly schema: TableSchema | null;
  /** A record without a value: says nothing new right after the delete of its key. */
  readonly tombstone: boolean;
}

export const QUARANTINE_REASONS = [
  'NOT_JSON',
  'NOT_AN_OBJECT',
  'OP_UNKNOWN',
  'KEY_MISSING',
  'ROW_MISSING',
  'SOURCE_MISSING',
  'POSITION_INVALID',
  'STAMP_INVALID',
  'STAMP_IN_FUTURE',
  'TOO_LARGE',
  'TOO_WIDE',
] as const;
export type QuarantineReason = (typeof QUARANTINE_REASONS)[number];

export interface Quarantined {
  readonly kind: 'quarantined';
  readonly reason: QuarantineReason;
}

export type Decoded = ChangeEvent | Quarantined | { readonly kind: 'nothing' };
export type Decoder = (record: TableRecord) => Decoded;

export const NOTHING: Decoded = { kind: 'nothing' };
export const quarantined = (reason: QuarantineReason): Quarantined => ({ kind: 'quarantined', reason });

/** The text of bytes that must be UTF-8; null when they are not. */
export function textOf(bytes: Uint8Array): string | null {
  return isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8') : null;
}

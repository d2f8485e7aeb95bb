/**
 * Debezium's change events as they really are, from PostgreSQL, MySQL and MariaDB, in JSON (docs/tables.md, section 2).
 *
 * The traps: a snapshot row is valid where it stands and not at its own time; a key change is three records; a tombstone
 * usually repeats the delete before it, and is all that compaction has left of it when it does not; a column that was not
 * logged holds a placeholder; `snapshot` is a boolean or a string, numbers are numbers or strings; the stamp is that of
 * `source`, not the connector's.
 */
import { COLUMNS_MAX, EVENT_BYTES_MAX } from '../../../domain/limits.ts';
import { createUnwrap, type Unwrap } from './envelope.ts';
import {
  NOTHING,
  quarantined,
  UNAVAILABLE,
  type ChangeEvent,
  type Decoded,
  type Decoder,
  type LogPlace,
  type Place,
  type TableRecord,
  type TableSchema,
} from './event.ts';
import { canonicalKey, canonicalText, membersOf, unquoted } from './json-text.ts';
import { checkStamp, safeInteger, wholeNumber } from './stamp.ts';

export interface DebeziumSettings {
  /** The connector's `unavailable.value.placeholder`; `hex:` and digits for one of bytes. */
  readonly placeholder: string;
}

export const PLACEHOLDER_DEFAULT = '__debezium_unavailable_value';

export function createDebeziumDecoder(settings: DebeziumSettings): Decoder {
  const placeholders = placeholderTexts(settings.placeholder);
  const unwrapKey = createUnwrap();
  const unwrapValue = createUnwrap();
  return (record) => {
    if ((record.key?.length ?? 0) + (record.value?.length ?? 0) > EVENT_BYTES_MAX) return quarantined('TOO_LARGE');
    if (record.value === null) return tombstone(record, unwrapKey);
    const value = unwrapValue(record.value);
    if (!value.ok) return quarantined(value.reason);
    const envelope = membersOf(value.payload);
    return envelope === null ? quarantined('NOT_AN_OBJECT') : decode(record, envelope, value.schema, unwrapKey, placeholders);
  };
}

/** Every way that the placeholder is written: as text, as bytes in base64, as the one item of an array. */
function placeholderTexts(placeholder: string): ReadonlySet<string> {
  const bytes = placeholder.startsWith('hex:') ? Buffer.from(placeholder.slice(4), 'hex') : Buffer.from(placeholder);
  const texts = [bytes.toString('utf8'), bytes.toString('base64'), bytes.toString('hex'), placeholder].map((text) => JSON.stringify(text));
  return new Set([...texts, ...texts.map((text) => `[${text}]`)]);
}

type Members = ReadonlyMap<string, string>;

/** A key as canonical text; null when the record has none. */
function keyOf(record: TableRecord, unwrap: Unwrap): string | null | { readonly reason: 'NOT_JSON' } {
  if (record.key === null) return null;
  const key = unwrap(record.key);
  if (!key.ok) return { reason: 'NOT_JSON' };
  return key.payload === 'null' ? null : canonicalKey(key.payload);
}

const HERE: Place = { kind: 'here', least: null };

function tombstone(record: TableRecord, unwrap: Unwrap): Decoded {
  const key = keyOf(record, unwrap);
  if (key === null) return quarantined('KEY_MISSING');
  if (typeof key === 'object') return quarantined(key.reason);
  return { kind: 'change', op: 'delete', key, row: null, place: HERE, stampUs: null, transaction: null, schema: null, tombstone: true };
}

function decode(
  record: TableRecord,
  envelope: Members,
  schema: TableSchema | null,
  unwrap: Unwrap,
  placeholders: ReadonlySet<string>,
): Decoded {
  const op = unquoted(envelope.get('op') ?? '');
  if (op === 'm') return NOTHING;
  if (op === null || !OPS.has(op)) return quarantined('OP_UNKNOWN');
  const source = membersOf(envelope.get('source') ?? '');
  const placing = source === null ? null : placingOf(source);
  if (source === null || placing === null) return quarantined('SOURCE_MISSING');
  const place =
    op === 'r' || placing.snapshot !== 'no' ? snapshotPlace(placing) : placing.place && ({ kind: 'source', ...placing.place } as const);
  if (place === null) return quarantined('POSITION_INVALID');
  const stampUs = stampOf(source);
  const bad = checkStamp(stampUs, record);
  if (bad !== null) return bad;
  // The number in a snapshot's rows is that of the snapshot, or of whoever was last.
  const transaction = place.kind === 'source' ? transactionOf(source, envelope) : null;
  const change = { kind: 'change', place, stampUs, transaction, schema, tombstone: false } as const;
  if (op === 't') return { ...change, op: 'truncate', key: null, row: null };
  const key = keyOf(record, unwrap);
  if (key === null) return quarantined('KEY_MISSING');
  if (typeof key === 'object') return quarantined(key.reason);
  if (op === 'd') return { ...change, op: 'delete', key, row: null };
  return withRow({ ...change, op: 'put', key }, envelope.get('after'), placeholders);
}

const OPS: ReadonlySet<string> = new Set(['c', 'u', 'd', 'r', 't']);

function withRow(change: Omit<ChangeEvent, 'row'>, after: string | undefined, placeholders: ReadonlySet<string>): Decoded {
  const members = membersOf(after ?? '');
  if (members === null) return quarantined('ROW_MISSING');
  if (members.size > COLUMNS_MAX) return quarantined('TOO_WIDE');
  for (const [column, text] of members) {
    const canonical = canonicalText(text);
    members.set(column, placeholders.has(canonical) ? UNAVAILABLE : canonical);
  }
  return { ...change, row: members };
}

interface Placing {
  /** Null: the source block has none. */
  readonly place: LogPlace | null;
  readonly snapshot: 'no' | 'initial' | 'incremental';
  /** Whether the connector has seen no commit yet. */
  readonly anew: boolean;
}

function placingOf(source: Members): Placing | null {
  const connector = unquoted(source.get('connector') ?? '');
  const snapshot = snapshotOf(source.get('snapshot'));
  switch (connector) {
    case 'postgresql':
      return { place: postgresPlace(source), snapshot, anew: lastCommitted(source) === null };
    case 'mysql':
    case 'mariadb':
      return { place: binlogPlace(source), snapshot, anew: false };
    default:
      return null;
  }
}

/** `true`, `"true"`, `"first"`, `"last_in_data_collection"`, `"incremental"`, `false`, `"false"`, null or nothing at all. */
function snapshotOf(text: string | undefined): Placing['snapshot'] {
  const said = text === undefined ? 'false' : (unquoted(text) ?? text);
  if (said === 'incremental') return 'incremental';
  return said === 'false' || said === 'null' || said === '' ? 'no' : 'initial';
}

/** An `r` row that says nothing more is one of an incremental snapshot: it only claims to be valid where it stands. */
const snapshotPlace = ({ snapshot, place, anew }: Placing): Place =>
  snapshot === 'initial' ? { kind: 'initial', least: place, anew } : { kind: 'here', least: place };

/**
 * [last committed, lsn]: rises with the emission where the lsn alone does not, for concurrent transactions interleave. A connector that has just taken a
 * snapshot has seen no commit yet: its rows and its first transaction stand at their own lsn, above all that an earlier run of it had sent.
 */
function postgresPlace(source: Members): LogPlace | null {
  const lsn = wholeNumber(source.get('lsn'));
  if (lsn === null) return null;
  return { major: atLeastOne(lastCommitted(source) ?? lsn), minor: lsn };
}

function lastCommitted(source: Members): bigint | null {
  const committed = /^\[\s*"([0-9]{1,20})"\s*,/.exec(unquoted(source.get('sequence') ?? '') ?? '')?.[1];
  return committed === undefined ? null : BigInt(committed);
}

const BINLOG_FILE = /\.([0-9]{1,6})$/;
const BINLOG_POSITION_BITS = 36n;

function binlogPlace(source: Members): LogPlace | null {
  const file = BINLOG_FILE.exec(unquoted(source.get('file') ?? '') ?? '')?.[1];
  const at = wholeNumber(source.get('pos'));
  if (file === undefined || at === null || at < 0n || at >> BINLOG_POSITION_BITS !== 0n) return null;
  return { major: (BigInt(file) << BINLOG_POSITION_BITS) | at, minor: wholeNumber(source.get('row')) ?? 0n };
}

function stampOf(source: Members): number | null {
  const us = safeInteger(source.get('ts_us'));
  if (us !== null) return us;
  const ms = safeInteger(source.get('ts_ms'));
  return ms === null ? null : ms * 1000;
}

/** The name that all events of one transaction share. */
function transactionOf(source: Members, envelope: Members): string | null {
  const own = nameOf(source.get('txId')) ?? nameOf(source.get('gtid'));
  if (own !== null) return own;
  const block = membersOf(envelope.get('transaction') ?? '');
  const id = block === null ? null : nameOf(block.get('id'));
  return id === null ? null : transactionName(id);
}

/** `571:53195829` -> `571`: what follows the colon differs between BEGIN, the events and END. A GTID (`<uuid>:<n>`) is whole. */
export const transactionName = (id: string): string => /^([0-9]+):[0-9]+$/.exec(id)?.[1] ?? id;

const nameOf = (text: string | undefined): string | null => {
  const name = text === undefined ? null : (unquoted(text) ?? text);
  return name === null || name === 'null' || name === '' ? null : name;
};

/** Major 0 belongs to the rows of an initial snapshot, which stand before everything. */
const atLeastOne = (major: bigint): bigint => (major > 0n ? major : 1n);

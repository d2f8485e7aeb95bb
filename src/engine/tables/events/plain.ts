/**
 * Plain keyed JSON, from producers without Debezium: the value is the row, an empty value deletes it.
 *
 * There is no source log to order by, so a change stands by its time (docs/tables.md, section 3): the highest that its
 * partition has shown so far, then the offset. Which key and which time is the table's setting.
 */
import { COLUMNS_MAX, EVENT_BYTES_MAX } from '../../../domain/limits.ts';
import { quarantined, textOf, type Decoded, type Decoder, type QuarantineReason, type TableRecord } from './event.ts';
import { canonicalKey, canonicalText, membersOf, parsed, unquoted } from './json-text.ts';
import { checkStamp, safeInteger } from './stamp.ts';

export interface PlainSettings {
  /** `json`, `text`: the record's key, read so; a list: these fields of the value (then an empty value needs the record's key, as JSON). */
  readonly key: 'json' | 'text' | readonly string[];
  /** `record`: the broker's; else a field of the value. */
  readonly time: 'record' | { readonly field: string; readonly unit: 'ms' | 'us' | 'iso' };
}

export function createPlainDecoder(settings: PlainSettings): Decoder {
  return (record) => {
    if ((record.key?.length ?? 0) + (record.value?.length ?? 0) > EVENT_BYTES_MAX) return quarantined('TOO_LARGE');
    const value = record.value === null || record.value.length === 0 ? null : rowOf(record.value);
    if (typeof value === 'string') return quarantined(value);
    const key = keyOf(record, value, settings.key);
    if (typeof key === 'object') return quarantined(key.reason);
    return change(record, key, value, settings.time);
  };
}

type Members = ReadonlyMap<string, string>;

function rowOf(bytes: Uint8Array): Members | QuarantineReason {
  const text = textOf(bytes);
  if (text === null || parsed(text) === undefined) return 'NOT_JSON';
  const members = membersOf(text);
  if (members === null) return 'NOT_AN_OBJECT';
  if (members.size > COLUMNS_MAX) return 'TOO_WIDE';
  return new Map([...members].map(([column, written]) => [column, canonicalText(written)]));
}

function keyOf(record: TableRecord, row: Members | null, from: PlainSettings['key']): string | { readonly reason: QuarantineReason } {
  if (typeof from !== 'string' && row !== null) {
    const fields = from.map((name) => [name, row.get(name)] as const);
    if (fields.some(([, text]) => text === undefined || text === 'null')) return { reason: 'KEY_MISSING' };
    return canonicalKey(`{${fields.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`);
  }
  if (record.key === null || record.key.length === 0) return { reason: 'KEY_MISSING' };
  const text = textOf(record.key);
  if (text === null) return { reason: 'NOT_JSON' };
  if (from === 'text') return JSON.stringify(text);
  const value = parsed(text);
  if (value === undefined) return { reason: 'NOT_JSON' };
  return value === null ? { reason: 'KEY_MISSING' } : canonicalKey(text.trim());
}

function change(record: TableRecord, key: string, row: Members | null, time: PlainSettings['time']): Decoded {
  // Without a value there is no field to take the time from.
  const stampUs = time === 'record' || row === null ? Math.trunc(record.timeMs * 1000) : timeIn(row.get(time.field), time.unit);
  const bad = checkStamp(stampUs, record);
  if (bad !== null) return bad;
  return {
    kind: 'change',
    op: row === null ? 'delete' : 'put',
    key,
    row,
    place: { kind: 'time' },
    stampUs,
    transaction: null,
    schema: null,
    tombstone: false,
  };
}

const ISO = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$/;

function timeIn(text: string | undefined, unit: 'ms' | 'us' | 'iso'): number | null {
  if (unit !== 'iso') {
    const whole = safeInteger(text);
    return whole === null ? null : unit === 'us' ? whole : whole * 1000;
  }
  const said = text === undefined ? null : unquoted(text);
  const match = said === null ? null : ISO.exec(said);
  if (said === null || match === null) return null;
  // Date knows milliseconds; the digits after them are added by hand.
  const micros = (match[1] ?? '.').slice(1).padEnd(6, '0').slice(3, 6);
  return Date.parse(said) * 1000 + Number(micros);
}

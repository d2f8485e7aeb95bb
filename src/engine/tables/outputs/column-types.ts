/**
 * Types of a table's columns, from the schemas that came with its events (docs/tables.md, section 12). Pure.
 *
 * A type says two things in DuckDB's SQL: how the canonical JSON text of a cell becomes a value, and how a value is written as text that
 * PostgreSQL and a reader of CSV take back. The first gives NULL for whatever is not exactly such a value, so that a
 * column in which one cell does not fit its type is found, and stays the JSON text that it was: no digit is ever lost to a type.
 */
import type { SchemaColumn } from '../events/event.ts';

export type ColumnType =
  | { readonly kind: 'boolean' | 'int16' | 'int32' | 'int64' | 'float32' | 'float64' }
  | { readonly kind: 'text' | 'bytes' | 'uuid' | 'date' | 'timestamptz' }
  /** A decimal of any length; scale null: each value has its own. */
  | { readonly kind: 'decimal'; readonly scale: number | null }
  /** From a whole number of units since midnight, or since 1970. */
  | { readonly kind: 'time' | 'timestamp'; readonly unit: 'ms' | 'us' | 'ns' }
  /** JSON: the cell as it came, or the text that the cell is. */
  | { readonly kind: 'json'; readonly of: 'cell' | 'text' };

export const UNTYPED: ColumnType = { kind: 'json', of: 'cell' };

/** What the name of a semantic type decides, whatever the literal type is. */
const SEMANTIC: Readonly<Record<string, ColumnType>> = {
  'org.apache.kafka.connect.data.Date': { kind: 'date' },
  'org.apache.kafka.connect.data.Time': { kind: 'time', unit: 'ms' },
  'org.apache.kafka.connect.data.Timestamp': { kind: 'timestamp', unit: 'ms' },
  'io.debezium.time.Date': { kind: 'date' },
  'io.debezium.time.Time': { kind: 'time', unit: 'ms' },
  'io.debezium.time.MicroTime': { kind: 'time', unit: 'us' },
  'io.debezium.time.Timestamp': { kind: 'timestamp', unit: 'ms' },
  'io.debezium.time.MicroTimestamp': { kind: 'timestamp', unit: 'us' },
  'io.debezium.time.NanoTimestamp': { kind: 'timestamp', unit: 'ns' },
  'io.debezium.time.ZonedTimestamp': { kind: 'timestamptz' },
  'io.debezium.data.Json': { kind: 'json', of: 'text' },
  'io.debezium.data.Uuid': { kind: 'uuid' },
  'io.debezium.data.VariableScaleDecimal': { kind: 'decimal', scale: null },
};

/** Literal types; a struct, an array or a map stays JSON. */
const LITERAL: Readonly<Record<string, ColumnType>> = {
  boolean: { kind: 'boolean' },
  int8: { kind: 'int16' },
  int16: { kind: 'int16' },
  int32: { kind: 'int32' },
  int64: { kind: 'int64' },
  float: { kind: 'float32' },
  float32: { kind: 'float32' },
  double: { kind: 'float64' },
  float64: { kind: 'float64' },
  string: { kind: 'text' },
  bytes: { kind: 'bytes' },
};

const DECIMAL = 'org.apache.kafka.connect.data.Decimal';

export function typeOf({ type, semantic, scale }: Pick<SchemaColumn, 'type' | 'semantic' | 'scale'>): ColumnType {
  // Without its scale a decimal is bytes: where the point stands is not known.
  if (semantic === DECIMAL) return scale === null ? { kind: 'bytes' } : { kind: 'decimal', scale };
  return (semantic === null ? undefined : SEMANTIC[semantic]) ?? LITERAL[type] ?? UNTYPED;
}

export const sameType = (a: ColumnType, b: ColumnType): boolean => JSON.stringify(a) === JSON.stringify(b);

const WIDER = ['int16', 'int32', 'int64'] as const;
const rank = ({ kind }: ColumnType): number => WIDER.findIndex((one) => one === kind);

/** The type that has the values of both; null when there is none but text. */
export function commonType(a: ColumnType, b: ColumnType): ColumnType | null {
  if (sameType(a, b)) return a;
  if (rank(a) >= 0 && rank(b) >= 0) return rank(a) > rank(b) ? a : b;
  if (a.kind === 'decimal' && b.kind === 'decimal') return { kind: 'decimal', scale: null };
  if ([a.kind, b.kind].every((kind) => kind === 'float32' || kind === 'float64')) return { kind: 'float64' };
  return null;
}

const UNIT_US = { ms: '* 1000', us: '', ns: '' } as const;
const DAY_US = 86_400_000_000;

/** What a JSON string says: unescaped only where there is something to unescape. */
const textIn = (cell: string): string =>
  `(CASE WHEN NOT starts_with(${cell}, '"') THEN NULL WHEN contains(${cell}, '\\') THEN TRY(${cell}::JSON ->> '$') ELSE substring(${cell}, 2, length(${cell}) - 2) END)`;
/** A whole number as it is written, else NULL: a cast alone would round. */
const wholeIn = (cell: string, type: string): string =>
  `(CASE WHEN TRY_CAST(${cell} AS ${type})::VARCHAR = ${cell} THEN TRY_CAST(${cell} AS ${type}) END)`;
const floatIn = (cell: string, type: string): string =>
  `(CASE WHEN ${cell} IN ('"NaN"', '"Infinity"', '"-Infinity"') THEN trim(${cell}, '"')::${type} WHEN isfinite(TRY_CAST(${cell} AS ${type})) THEN TRY_CAST(${cell} AS ${type}) END)`;
const ZONED = String.raw`'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6}0*)?(Z|[+-][0-9]{2}:[0-9]{2})'`;

/** The SQL of a cell's value; NULL where the cell is null, absent, or not exactly a value of the type. */
export function valueSql(type: ColumnType, cell: string): string {
  const text = textIn(cell);
  switch (type.kind) {
    case 'boolean':
      return `(CASE ${cell} WHEN 'true' THEN true WHEN 'false' THEN false END)`;
    case 'int16':
      return wholeIn(cell, 'SMALLINT');
    case 'int32':
      return wholeIn(cell, 'INTEGER');
    case 'int64':
      return wholeIn(cell, 'BIGINT');
    case 'float32':
      return floatIn(cell, 'FLOAT');
    case 'float64':
      return floatIn(cell, 'DOUBLE');
    case 'text':
      return text;
    case 'bytes':
      return `(CASE WHEN to_base64(TRY(from_base64(${text}))) = ${text} THEN TRY(from_base64(${text})) END)`;
    case 'uuid':
      return `(CASE WHEN TRY_CAST(${text} AS UUID)::VARCHAR = lower(${text}) THEN TRY_CAST(${text} AS UUID) END)`;
    case 'decimal':
      return type.scale === null
        ? `decimal_text(TRY(${cell}::JSON ->> '$.value'), TRY((${cell}::JSON ->> '$.scale')::INTEGER))`
        : `decimal_text(${text}, ${type.scale})`;
    case 'date':
      return `TRY(DATE '1970-01-01' + ${wholeIn(cell, 'INTEGER')})`;
    case 'time': {
      const us = `(${wholeIn(cell, 'BIGINT')}${UNIT_US[type.unit]})`;
      return `(CASE WHEN TRY(${us}) BETWEEN 0 AND ${DAY_US - 1} THEN TIME '00:00:00' + to_microseconds(${us}) END)`;
    }
    case 'timestamp':
      return type.unit === 'ns'
        ? `TRY(make_timestamp_ns(${wholeIn(cell, 'BIGINT')}))`
        : `TRY(make_timestamp(${wholeIn(cell, 'BIGINT')}${UNIT_US[type.unit]}))`;
    case 'timestamptz':
      return `(CASE WHEN regexp_full_match(${text}, ${ZONED}) THEN TRY_CAST(${text} AS TIMESTAMPTZ) END)`;
    case 'json':
      return type.of === 'text' ? `TRY(${text}::JSON)::VARCHAR` : `NULLIF(${cell}, 'null')`;
  }
}

/** The SQL of a value's text: what CSV, SQL and rows of PostgreSQL hold. */
export function textSql(type: ColumnType, value: string): string {
  switch (type.kind) {
    case 'bytes':
      return String.raw`('\x' || lower(hex(${value})))`;
    case 'date':
    case 'timestamp':
      // A year before the first.
      return `replace(${value}::VARCHAR, '(BC)', 'BC')`;
    case 'timestamptz':
      return `(replace(make_timestamp(epoch_us(${value}))::VARCHAR || '+00', ' (BC)+00', '+00 BC'))`;
    case 'float32':
    case 'float64':
      return `(CASE WHEN isnan(${value}) THEN 'NaN' WHEN isinf(${value}) THEN (CASE WHEN ${value} > 0 THEN 'Infinity' ELSE '-Infinity' END) ELSE ${value}::VARCHAR END)`;
    default:
      return `${value}::VARCHAR`;
  }
}

const POSTGRES: Readonly<Record<ColumnType['kind'], string>> = {
  ...{ boolean: 'boolean', int16: 'smallint', int32: 'integer', int64: 'bigint', float32: 'real', float64: 'double precision' },
  ...{ text: 'text', bytes: 'bytea', uuid: 'uuid', date: 'date', timestamptz: 'timestamp with time zone', decimal: 'numeric' },
  ...{ time: 'time', timestamp: 'timestamp', json: 'json' },
};

/** PostgreSQL's name of a type. Of nanoseconds it has none, so they are text. */
export const postgresType = (type: ColumnType): string => (type.kind === 'timestamp' && type.unit === 'ns' ? 'text' : POSTGRES[type.kind]);

/** In words, for reports. */
export const typeName = (type: ColumnType): string =>
  type.kind === 'decimal' && type.scale !== null ? `decimal(${type.scale})` : type.kind === 'json' ? 'json' : type.kind;

/**
 * The rows of a past state with names, types and a key: what every output writes, and what a difference compares.
 *
 * A type is given where each version of the schema that a column's cells came with agrees on one, or on a wider one, and where every
 * cell is exactly a value of it. Where not, the column is the JSON text of its cells, and the report says how many did not fit.
 */
import { cellColumn } from '../archive/rows.ts';
import { sqlText, type Duck } from '../archive/duck.ts';
import type { TableState } from '../archive/state.ts';
import { membersOf } from '../events/json-text.ts';
import type { PastColumn } from '../past-state/past-state.ts';
import { commonType, postgresType, sameType, textSql, typeName, typeOf, UNTYPED, valueSql, type ColumnType } from './column-types.ts';
import { decimalFunction } from './decimal.ts';
import { outputNames } from './names.ts';

export interface OutputColumn {
  readonly name: string;
  /** As the source calls it; null: the key itself, as JSON, where the rows do not have it. */
  readonly source: string | null;
  readonly type: ColumnType;
  /** Part of the key. */
  readonly key: boolean;
  /** Cells that are not what the schema says; for them the column is JSON text. */
  readonly misfits: number;
  /** SQL over the table: the cell's JSON text, the value, the value as text. */
  readonly cell: string;
  readonly value: string;
  readonly text: string;
  /** SQL of the value as a file of typed columns has it. */
  readonly typed: string;
}

export interface TypedRows {
  /** The table in the session: `_key`, `_schema` and cells. */
  readonly table: string;
  readonly columns: readonly OutputColumn[];
}

/** What a report says of a column. */
export const columnReport = ({ name, source, type, key, misfits }: OutputColumn) => ({ name, source, type: typeName(type), key, misfits });
export type ColumnReport = ReturnType<typeof columnReport>;

/** PostgreSQL's type of a column. JSON has no equality there, so it is no key. */
export const postgresColumnType = ({ type, key }: OutputColumn): string => (key && type.kind === 'json' ? 'text' : postgresType(type));

/** SQL that orders rows by their key. */
export const keyOrder = ({ columns }: TypedRows): string =>
  [...columns.filter(({ key }) => key).map(({ value }) => value), '_key'].join(', ');

const DECIMAL_DIGITS_MAX = 38;
const FAST_DIGITS_MAX = 18;

/** Types the table `table` of a session, which has these columns. */
export async function typeRows(
  duck: Duck,
  state: Pick<TableState, 'schemas'>,
  columns: readonly PastColumn[],
  table: string,
): Promise<TypedRows> {
  await registerOnce(duck);
  const versions = await versionsOf(duck, table, columns);
  const keys = await keyNames(duck, table, columns);
  const names = outputNames([...columns.map(({ name }) => name), ...(keys === null ? ['_key'] : [])]);
  const wanted = columns.map((column, i) => ({
    ...{ name: names[i] ?? '', source: column.name, cell: cellColumn(column.number), key: keys?.has(column.name) ?? false },
    ...plannedType(state, column, versions[i] ?? []),
  }));
  const checked = await check(duck, table, wanted);
  if (keys !== null) return { table, columns: checked };
  const key = { ...typed({ name: names.at(-1) ?? '', source: null, cell: '_key', key: true }, UNTYPED, '_key'), misfits: 0 };
  return { table, columns: [key, ...checked] };
}

const registered = new WeakSet<Duck>();

async function registerOnce(duck: Duck): Promise<void> {
  if (registered.has(duck)) return;
  registered.add(duck);
  duck.register(decimalFunction());
}

/** For each column the versions of the schema (null: none came along) of rows in which it is something. */
async function versionsOf(duck: Duck, table: string, columns: readonly PastColumn[]): Promise<(number | null)[][]> {
  const counts = columns.map(({ number }) => `count(*) FILTER (WHERE ${cellColumn(number)} <> 'null') > 0`);
  const rows = await duck.rows(`SELECT ${['_schema', ...counts].join(', ')} FROM ${table} GROUP BY _schema ORDER BY _schema`);
  return columns.map((_, i) => rows.filter((row) => row[i + 1] === true).map(([version]) => (version === null ? null : Number(version))));
}

interface Planned {
  readonly type: ColumnType;
  readonly value: string;
}

const untyped = (cell: string): Planned => ({ type: UNTYPED, value: valueSql(UNTYPED, cell) });

/** The type that the schemas of a column's cells agree on, and the SQL of its value. */
function plannedType({ schemas }: Pick<TableState, 'schemas'>, column: PastColumn, versions: readonly (number | null)[]): Planned {
  const cell = cellColumn(column.number);
  const typeIn = (version: number | null): ColumnType => {
    const found = version === null ? undefined : schemas[version]?.find(({ name }) => name === column.name);
    return found === undefined ? UNTYPED : typeOf(found);
  };
  const all = schemas.flatMap((schema, version) => (schema.some(({ name }) => name === column.name) ? [version] : []));
  // Nothing there: what its newest schema says.
  const relevant = versions.length > 0 ? (column.merged && !versions.includes(null) ? all : versions) : all.slice(-1);
  const types = relevant.map((version) => ({ version, type: typeIn(version) }));
  const [first] = types;
  if (first === undefined) return untyped(cell);
  if (types.every(({ type }) => sameType(type, first.type))) return { type: first.type, value: valueSql(first.type, cell) };
  const common = types.reduce<ColumnType | null>((so, { type }) => (so === null ? null : commonType(so, type)), first.type);
  // Whose schema a merged cell came with is not known.
  if (common === null || column.merged) return untyped(cell);
  const cases = types.map(
    ({ version, type }) => `WHEN _schema ${version === null ? 'IS NULL' : `= ${version}`} THEN ${valueSql(type, cell)}`,
  );
  return { type: common, value: `(CASE ${cases.join(' ')} END)` };
}

type Wanted = Pick<OutputColumn, 'name' | 'source' | 'cell' | 'key'>;

const typed = (column: Wanted, type: ColumnType, value: string, digits = 0): Omit<OutputColumn, 'misfits'> => ({
  ...{ name: column.name, source: column.source, cell: column.cell, key: column.key },
  ...{ type, value, typed: typedSql(type, value, digits), text: textSql(type, value) },
});

/** One look at all cells: what is not exactly a value of its type makes its column text. */
async function check(duck: Duck, table: string, columns: readonly (Wanted & Planned)[]): Promise<OutputColumn[]> {
  if (columns.length === 0) return [];
  const found = await duck.rows(
    `SELECT ${columns
      .map(({ cell, value, type }) => {
        const misfits = `count(*) FILTER (WHERE ${cell} <> 'null' AND ${value} IS NULL)`;
        return `${misfits}, ${type.kind === 'decimal' ? `coalesce(max(length(replace(replace(${value}, '-', ''), '.', ''))), 0)` : '0'}`;
      })
      .join(', ')} FROM ${table}`,
  );
  return columns.map((column, i) => {
    const [misfits, digits] = [Number(found[0]?.[i * 2]), Number(found[0]?.[i * 2 + 1])];
    if (misfits > 0) return { ...typed(column, UNTYPED, valueSql(UNTYPED, column.cell)), misfits };
    return { ...typed(column, column.type, column.value, digits), misfits };
  });
}

/** Decimals are text in the session; in a file they are decimals, where DuckDB's hold them. */
function typedSql(type: ColumnType, value: string, digits: number): string {
  if (type.kind === 'json') return type.of === 'text' ? `CAST(${value} AS JSON)` : value;
  if (type.kind !== 'decimal' || type.scale === null || type.scale < 0) return value;
  const { scale } = type;
  const width = Math.max(digits, scale);
  if (width <= FAST_DIGITS_MAX) return `CAST(${value} AS DECIMAL(${FAST_DIGITS_MAX}, ${scale}))`;
  if (width > DECIMAL_DIGITS_MAX) return value;
  return scale <= FAST_DIGITS_MAX ? wideDecimal(value, scale) : `CAST(${value} AS DECIMAL(${DECIMAL_DIGITS_MAX}, ${scale}))`;
}

/** DuckDB reads a decimal of more than 18 digits from text a thousand times slower than from its two halves: 1.5.5, 60 us each. */
function wideDecimal(value: string, scale: number): string {
  const wide = `DECIMAL(${DECIMAL_DIGITS_MAX}, ${scale})`;
  if (scale === 0) return `CAST(CAST(${value} AS HUGEINT) AS ${wide})`;
  const fraction = `(CASE WHEN starts_with(${value}, '-') THEN '-0.' ELSE '0.' END || split_part(${value}, '.', 2))`;
  const halves = `CAST(CAST(split_part(${value}, '.', 1) AS HUGEINT) AS ${wide}) + CAST(CAST(${fraction} AS DECIMAL(${FAST_DIGITS_MAX}, ${scale})) AS ${wide})`;
  return `CAST(${halves} AS ${wide})`;
}

/** The columns that the key consists of, if rows have them just as the key has; else null. No row has no key. */
async function keyNames(duck: Duck, table: string, columns: readonly PastColumn[]): Promise<ReadonlySet<string> | null> {
  const [[key] = []] = await duck.rows(`SELECT _key FROM ${table} LIMIT 1`);
  if (key === undefined) return new Set();
  const members = typeof key === 'string' ? membersOf(key) : null;
  if (members === null || members.size === 0) return null;
  const byName = new Map(columns.map(({ name, number }) => [name, cellColumn(number)]));
  const pieces: string[] = [];
  for (const name of [...members.keys()].sort()) {
    const cell = byName.get(name);
    if (cell === undefined) return null;
    pieces.push(`${sqlText(`${pieces.length === 0 ? '' : ','}${JSON.stringify(name)}:`)} || ${cell}`);
  }
  // Canonical text both: the same value is the same text. A null in a key is no primary key's.
  const other = `_key IS DISTINCT FROM ('{' || ${pieces.join(' || ')} || '}')`;
  const nulls = [...members.keys()].map((name) => `${byName.get(name) ?? ''} = 'null'`).join(' OR ');
  const [[against] = []] = await duck.rows(`SELECT count(*) FROM ${table} WHERE ${other} OR ${nulls}`);
  return Number(against) === 0 ? new Set(members.keys()) : null;
}

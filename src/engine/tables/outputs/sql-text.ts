/**
 * Rows as SQL that PostgreSQL takes (and, but for types, others): names and values quoted as the standard says, which is right wherever
 * `standard_conforming_strings` is on, its default since 2010. No value can end its quotes; a NUL, which no text of PostgreSQL holds, is refused.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { postgresColumnType, type OutputColumn, type TypedRows } from './typed-rows.ts';

/** A table by its name, perhaps in a schema. */
export interface SqlTable {
  readonly schema: string | null;
  readonly name: string;
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const quoteTable = ({ schema, name }: SqlTable): string =>
  schema === null ? quoteName(name) : `${quoteName(schema)}.${quoteName(name)}`;

/** `orders`, `shop.orders`; ARGUMENT_INVALID. */
export function parseSqlTable(text: string): SqlTable {
  const parts = text.split('.');
  const [first = '', second] = parts;
  if (parts.length > 2 || parts.some((part) => part === '' || part.includes('\0') || Buffer.byteLength(part) > 63))
    throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 80))} is no name of a table`, {
      field: 'table',
      expected: 'NAME or SCHEMA.NAME, each of up to 63 bytes',
    });
  return second === undefined ? { schema: null, name: first } : { schema: first, name: second };
}

const BARE = new Set(['int16', 'int32', 'int64', 'decimal', 'float32', 'float64', 'boolean']);
/** What a number or a boolean looks like without quotes; `NaN` needs them. */
const BARE_TEXT = /^(-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|true|false)$/;

/** The literal of a value's text; it becomes a value of the column that it is compared with or put into. */
export function literal({ type, name }: Pick<OutputColumn, 'type' | 'name'>, text: string | null): string {
  if (text === null) return 'NULL';
  if (BARE.has(type.kind) && BARE_TEXT.test(text)) return text;
  if (text.includes('\0'))
    throw new HoldfastError('TARGET_UNWRITABLE', `column ${name} has a text with a NUL in it, which PostgreSQL cannot hold`, {
      column: name,
    });
  return `'${text.replaceAll("'", "''")}'`;
}

export function createTableSql(table: SqlTable, { columns }: Pick<TypedRows, 'columns'>): string {
  const lines = columns.map((column) => `  ${quoteName(column.name)} ${postgresColumnType(column)}`);
  const keys = columns.filter(({ key }) => key).map(({ name }) => quoteName(name));
  if (keys.length > 0) lines.push(`  PRIMARY KEY (${keys.join(', ')})`);
  return `CREATE TABLE ${quoteTable(table)} (\n${lines.join(',\n')}\n)`;
}

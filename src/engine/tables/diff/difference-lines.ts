/**
 * Differences as lines: JSON, a change each, or SQL that makes them in one transaction.
 *
 * The SQL takes nothing for granted: an UPDATE or DELETE finds its row only while that is as the younger state had it, column by column, so
 * what somebody has changed meanwhile stays. Values are quoted texts, which take the type of the column that they stand beside.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { Duck } from '../archive/duck.ts';
import type { Course } from '../outputs/course.ts';
import { objectSql } from '../outputs/row-json.ts';
import { literal, quoteName, quoteTable, type SqlTable } from '../outputs/sql-text.ts';
import type { OutputColumn } from '../outputs/typed-rows.ts';
import type { Differences } from './differences.ts';

/** `{"op","key","changedSince"?,"from"?,"to"?}`: of an update the columns that differ, else the whole row. As the source wrote them. */
export async function* jsonDifferences(duck: Duck, { rows }: Differences, { signal }: Course): AsyncGenerator<string> {
  const { columns } = rows;
  const named = columns.filter(({ source }) => source !== null);
  const side = (name: string): string =>
    `(SELECT _key, ${[...named.map(({ cell }) => cell), ...named.map(({ text }, i) => `${text} AS t${i}`)].join(', ') || 'NULL'} FROM ${name})`;
  // Of an update the cells whose values differ.
  const cells = (own: string, other: string): string =>
    objectSql(
      named.map(({ source, cell }, i) => ({
        source,
        cell: `(CASE WHEN op <> 'update' OR ${own}.t${i} IS DISTINCT FROM ${other}.t${i} THEN coalesce(${own}.${cell}, CASE WHEN op = 'update' THEN 'null' END) END)`,
      })),
    );
  const query = `SELECT '{"op":"' || op || '","key":' || c._key || CASE WHEN since THEN ',"changedSince":true' ELSE '' END
      || CASE WHEN op = 'insert' THEN '' ELSE ',"from":' || ${cells('l', 'w')} END
      || CASE WHEN op = 'delete' THEN '' ELSE ',"to":' || ${cells('w', 'l')} END || '}'
    FROM changes c LEFT JOIN ${side('wanted')} w ON w._key = c._key LEFT JOIN ${side('live')} l ON l._key = c._key ORDER BY c._key`;
  for await (const chunk of duck.chunks(query)) {
    signal?.throwIfAborted();
    for (const [line] of chunk) yield String(line);
  }
}

/** Lines of one transaction. ARGUMENT_INVALID when the rows do not have their keys, so that no statement could name one. */
export async function* sqlDifferences(
  duck: Duck,
  { rows, counts }: Differences,
  table: SqlTable,
  { signal }: Course,
): AsyncGenerator<string> {
  const { columns } = rows;
  if (columns.some(({ source }) => source === null))
    throw new HoldfastError('ARGUMENT_INVALID', 'the rows do not have their key as columns, so SQL cannot name them', {
      field: 'format',
      expected: 'jsonl',
    });
  const side = (name: string): string =>
    `(SELECT _key, ${columns.map(({ text }, i) => `${text} AS t${i}`).join(', ') || 'NULL'} FROM ${name})`;
  const texts = (name: string): string => columns.map((_, i) => `${name}.t${i}`).join(', ') || 'NULL';
  const query = `SELECT op, since, ${texts('l')}, ${texts('w')}
    FROM changes c LEFT JOIN ${side('wanted')} w ON w._key = c._key LEFT JOIN ${side('live')} l ON l._key = c._key
    ORDER BY CASE op WHEN 'delete' THEN 0 WHEN 'update' THEN 1 ELSE 2 END, c._key`;
  yield `-- ${counts.delete} rows to delete, ${counts.update} to change, ${counts.insert} to insert`;
  if (counts.changedSince > 0) yield `-- ${counts.changedSince} of them were changed again since; look at those first`;
  yield 'BEGIN;';
  for await (const chunk of duck.chunks(query)) {
    signal?.throwIfAborted();
    for (const [op, since, ...values] of chunk) {
      const of = (from: number): (string | null)[] => columns.map((_, i) => (values[from + i] === null ? null : String(values[from + i])));
      const said = statement(String(op), table, columns, { live: of(0), wanted: of(columns.length) });
      yield since === true ? `${said} -- changed since` : said;
    }
  }
  yield 'COMMIT;';
}

interface Sides {
  readonly live: readonly (string | null)[];
  readonly wanted: readonly (string | null)[];
}

/** Of a table that is the source's own, so by the source's names. */
const nameOf = ({ source, name }: OutputColumn): string => quoteName(source ?? name);
/** Always quoted: `real = 0.1` compares as another type, `real = '0.1'` as its own. */
const quoted = (column: OutputColumn, text: string): string => literal({ type: { kind: 'text' }, name: column.name }, text);

function statement(op: string, table: SqlTable, columns: readonly OutputColumn[], { live, wanted }: Sides): string {
  const set = (column: OutputColumn, text: string | null): string => (text === null ? 'NULL' : quoted(column, text));
  const name = quoteTable(table);
  if (op === 'insert')
    return `INSERT INTO ${name} (${columns.map(nameOf).join(', ')}) VALUES (${columns.map((column, i) => set(column, wanted[i] ?? null)).join(', ')});`;
  const changed = columns.map((column, i) => ({ column, i })).filter(({ i }) => op === 'delete' || live[i] !== wanted[i]);
  // JSON has no equality, and the key is said already.
  const guards = changed
    .filter(({ column }) => !column.key && column.type.kind !== 'json')
    .map(({ column, i }) => {
      const was = live[i] ?? null;
      return was === null ? `${nameOf(column)} IS NULL` : `${nameOf(column)} = ${quoted(column, was)}`;
    });
  const key = columns.flatMap((column, i) => (column.key ? [`${nameOf(column)} = ${set(column, live[i] ?? null)}`] : []));
  const where = [...key, ...guards].join(' AND ');
  if (op === 'delete') return `DELETE FROM ${name} WHERE ${where};`;
  return `UPDATE ${name} SET ${changed.map(({ column, i }) => `${nameOf(column)} = ${set(column, wanted[i] ?? null)}`).join(', ')} WHERE ${where};`;
}

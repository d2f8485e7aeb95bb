/** Rows as a file of JSON lines or of SQL statements, in bounded memory. */
import { MIB } from '../../../domain/limits.ts';
import type { Duck } from '../archive/duck.ts';
import type { Course } from './course.ts';
import { openLineFile } from './line-file.ts';
import { jsonRows } from './row-json.ts';
import { createTableSql, literal, quoteName, quoteTable, type SqlTable } from './sql-text.ts';
import { textRows } from './text-rows.ts';
import type { TypedRows } from './typed-rows.ts';

export async function writeJsonLines(duck: Duck, rows: TypedRows, aside: string, course: Course): Promise<void> {
  await using file = await openLineFile(aside);
  for await (const some of jsonRows(duck, rows, course)) {
    for (const { row } of some) await file.write(row);
    course.onRows?.(some.length);
  }
  await file.end();
}

/** Of one INSERT: fast enough, and short enough for whoever has to look at one that failed. */
const STATEMENT_ROWS = 500;

/** One transaction: the table with all its rows, or nothing. */
export async function writeSql(duck: Duck, rows: TypedRows, table: SqlTable, aside: string, course: Course): Promise<void> {
  await using file = await openLineFile(aside);
  await file.write('BEGIN;');
  await file.write(`${createTableSql(table, rows)};`);
  const names = rows.columns.map(({ name }) => quoteName(name)).join(', ');
  let held: string[] = [];
  let length = 0;
  const statement = async (): Promise<void> => {
    if (held.length > 0) await file.write(`INSERT INTO ${quoteTable(table)} (${names}) VALUES\n${held.join(',\n')};`);
    held = [];
    length = 0;
  };
  for await (const some of textRows(duck, rows, course)) {
    for (const row of some) {
      const line = `(${rows.columns.map((column, i) => literal(column, row[i] ?? null)).join(', ')})`;
      held.push(line);
      length += line.length;
      if (held.length >= STATEMENT_ROWS || length >= MIB) await statement();
    }
    course.onRows?.(some.length);
  }
  await statement();
  await file.write('COMMIT;');
  await file.end();
}

/**
 * Rows as JSON objects, just as their source wrote each value: every digit, and whatever encoding its connector has for decimals and times. What was
 * absent stays absent. So the object is what a producer of plain keyed JSON would send, and has the same hash again when it is archived.
 */
import { sqlText, type Duck } from '../archive/duck.ts';
import type { Course } from './course.ts';
import { keyOrder, type OutputColumn, type TypedRows } from './typed-rows.ts';

/** SQL of an object with those of the columns that the row has. */
export const objectSql = (columns: readonly Pick<OutputColumn, 'source' | 'cell'>[]): string =>
  columns.length === 0
    ? `'{}'`
    : `'{' || concat_ws(',', ${columns.map(({ source, cell }) => `${sqlText(`${JSON.stringify(source ?? '_key')}:`)} || ${cell}`).join(', ')}) || '}'`;

export interface JsonRow {
  readonly key: string;
  readonly row: string;
}

/** The rows ascending by key, some at a time. */
export async function* jsonRows(duck: Duck, rows: TypedRows, { signal }: Course): AsyncGenerator<readonly JsonRow[]> {
  const query = `SELECT _key, ${objectSql(rows.columns)} FROM ${rows.table} ORDER BY ${keyOrder(rows)}`;
  for await (const chunk of duck.chunks(query)) {
    signal?.throwIfAborted();
    yield chunk.map(([key, row]) => ({ key: String(key), row: String(row) }));
  }
}

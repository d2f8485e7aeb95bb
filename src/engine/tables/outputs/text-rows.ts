/** Rows as texts that PostgreSQL takes, ascending by key, some at a time. */
import type { Duck } from '../archive/duck.ts';
import type { Course } from './course.ts';
import { keyOrder, type TypedRows } from './typed-rows.ts';

export type TextRow = readonly (string | null)[];

export async function* textRows(duck: Duck, rows: TypedRows, { signal }: Course): AsyncGenerator<readonly TextRow[]> {
  const query = `SELECT ${rows.columns.map(({ text }) => text).join(', ') || 'NULL'} FROM ${rows.table} ORDER BY ${keyOrder(rows)}`;
  for await (const chunk of duck.chunks(query)) {
    signal?.throwIfAborted();
    yield chunk.map((row) => row.map((text) => (text === null ? null : String(text))));
  }
}

/**
 * Rows as one Parquet or CSV file, written by DuckDB ascending by key, in bounded memory: it sorts in its folder and writes as it reads.
 *
 * Parquet has the types. CSV has a line of names; a value is as PostgreSQL reads it (`COPY ... FROM ... CSV HEADER`): bytes as `\x` and hex, times
 * in UTC, null as nothing, and an empty text as `""`.
 */
import { chmod, copyFile, rename, rm } from 'node:fs/promises';
import { hasErrno } from '../../../ground/stores/file-errors.ts';
import { sqlName, sqlText, type Duck } from '../archive/duck.ts';
import { parquetCopy } from '../archive/rows.ts';
import { unwritable } from '../../../ground/stores/landing.ts';
import { keyOrder, type TypedRows } from './typed-rows.ts';

export type ColumnarFormat = 'parquet' | 'csv';

/** Writes the file `aside`. */
export async function writeColumnar(duck: Duck, rows: TypedRows, format: ColumnarFormat, aside: string): Promise<void> {
  const columns = rows.columns.map((column) => `${format === 'csv' ? column.text : column.typed} AS ${sqlName(column.name)}`);
  // A file has a column at least.
  const query = `(SELECT ${columns.join(', ') || 'NULL AS nothing'} FROM ${rows.table} ORDER BY ${keyOrder(rows)})`;
  const path = duck.file(`output.${format}`);
  try {
    await duck.run(format === 'parquet' ? parquetCopy(query, path) : `COPY ${query} TO ${sqlText(path)} (FORMAT csv, HEADER true)`);
    await moveTo(path, aside);
  } catch (error) {
    throw unwritable(aside, error);
  } finally {
    await rm(path, { force: true });
  }
}

/** The session's folder may be on another file system. */
async function moveTo(path: string, aside: string): Promise<void> {
  await chmod(path, 0o600);
  try {
    await rename(path, aside);
  } catch (error) {
    if (!hasErrno(error, 'EXDEV')) throw error;
    await copyFile(path, aside);
  }
}

/**
 * Rows of a segment, in columns: what stands in a Parquet file (docs/tables.md, section 5), and how it gets there.
 *
 * Columns of the table are `c<number>`: the log says which name a number has. Names are the source's, may differ in case
 * only, and DuckDB's do not.
 */
import { BIGINT, BLOB, DuckDBBlobValue, DuckDBDataChunk, INTEGER, UBIGINT, VARCHAR, type DuckDBValue } from '@duckdb/node-api';
import { lowerHalf, upperHalf, type Position } from '../events/position.ts';
import { CHUNK_ROWS } from '../../../domain/limits.ts';
import type { Duck } from './duck.ts';
import { sqlText } from './duck.ts';

export interface SegmentRow {
  readonly partition: number;
  readonly offset: number;
  readonly position: Position;
  readonly stampUs: number | null;
  readonly op: 'p' | 'd' | 'q';
  readonly key: string;
  readonly transaction: string | null;
  readonly schema: number | null;
  readonly raw: Buffer | null;
  /** Text by column number. */
  readonly cells: ReadonlyMap<number, string> | null;
}

/** Name, SQL type, DuckDB type and value of each fixed column. */
const FIXED = [
  ['_partition', 'INTEGER', INTEGER, (row: SegmentRow): DuckDBValue => row.partition],
  ['_offset', 'BIGINT', BIGINT, (row: SegmentRow): DuckDBValue => BigInt(row.offset)],
  ['_hi', 'UBIGINT', UBIGINT, (row: SegmentRow): DuckDBValue => upperHalf(row.position)],
  ['_lo', 'UBIGINT', UBIGINT, (row: SegmentRow): DuckDBValue => lowerHalf(row.position)],
  ['_stamp', 'BIGINT', BIGINT, (row: SegmentRow): DuckDBValue => (row.stampUs === null ? null : BigInt(row.stampUs))],
  ['_op', 'VARCHAR', VARCHAR, (row: SegmentRow): DuckDBValue => row.op],
  ['_key', 'VARCHAR', VARCHAR, (row: SegmentRow): DuckDBValue => row.key],
  ['_tx', 'VARCHAR', VARCHAR, (row: SegmentRow): DuckDBValue => row.transaction],
  ['_schema', 'INTEGER', INTEGER, (row: SegmentRow): DuckDBValue => row.schema],
  ['_raw', 'BLOB', BLOB, (row: SegmentRow): DuckDBValue => (row.raw === null ? null : new DuckDBBlobValue(row.raw))],
] as const;

export const FIXED_COLUMNS: readonly string[] = FIXED.map(([name]) => name);
export const cellColumn = (column: number): string => `c${column}`;
export const columnDefinitions = (columns: readonly number[]): string =>
  [...FIXED.map(([name, type]) => `${name} ${type}`), ...columns.map((column) => `${cellColumn(column)} VARCHAR`)].join(', ');

/** Rows a row group: DuckDB's own, and what docs/tables.md promises. */
const ROW_GROUP = 122_880;
export const parquetCopy = (from: string, path: string): string =>
  `COPY ${from} TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP})`;

/** Writes rows, in their order, as the Parquet file `path`. */
export async function encodeRows(duck: Duck, rows: readonly SegmentRow[], columns: readonly number[], path: string): Promise<void> {
  await duck.run(`CREATE OR REPLACE TABLE segment (${columnDefinitions(columns)})`);
  const appender = await duck.appender('segment');
  const types = [...FIXED.map(([, , type]) => type), ...columns.map(() => VARCHAR)];
  for (let at = 0; at < rows.length; at += CHUNK_ROWS) {
    const slice = rows.slice(at, at + CHUNK_ROWS);
    const chunk = DuckDBDataChunk.create(types, slice.length);
    chunk.setColumns([
      ...FIXED.map(([, , , valueOf]) => slice.map(valueOf)),
      ...columns.map((column) => slice.map((row) => row.cells?.get(column) ?? null)),
    ]);
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
  await duck.run(parquetCopy('segment', path));
  await duck.run('DROP TABLE segment');
}

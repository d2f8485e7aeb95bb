/**
 * Brings the files of bases and parts into a DuckDB session as one view of events.
 *
 * `events` has the columns of a segment, `_pos`, the position as one number, and `_id`, partition and offset as one; of each partition only what the plan takes
 * (rows of its base, and rows of its parts from the base's offset on). Files are opened a few at a time, each once.
 */
import type { TableArchive } from '../archive/archive.ts';
import type { Duck } from '../archive/duck.ts';
import { sqlText } from '../archive/duck.ts';
import { closeAllBut, openFiles } from '../archive/opened-files.ts';
import { cellColumn, columnDefinitions, FIXED_COLUMNS } from '../archive/rows.ts';
import type { PartitionPlan } from './plan.ts';

export interface LoadedEvents {
  /** Numbers of the table's columns that occur in the files. */
  readonly columns: readonly number[];
  /** Numbers of those that are unavailable somewhere. */
  readonly unavailable: readonly number[];
  /** Below the cut, offsets of each partition rise with positions: nothing since its base was late. (Files may hold later parts, which are not asked for.) */
  readonly inOrder: boolean;
}

/** Of an event's `_id`, below its partition's number. */
export const OFFSET_BITS = 48;

export async function loadEvents(archive: TableArchive, duck: Duck, partitions: readonly PartitionPlan[]): Promise<LoadedEvents> {
  const baseFiles = partitions.map(({ base }) => base?.file ?? null);
  const segmentFiles = partitions.flatMap(({ parts }) => parts.map((part) => part.file));
  const bases = await openFiles(archive, duck, baseFiles);
  const segments = await openFiles(archive, duck, segmentFiles);
  const columns = new Set<number>();
  await createView(duck, 'bases', bases, columns);
  await createView(duck, 'segments', segments, columns);
  await createPlanTable(duck, partitions);
  await closeAllBut(duck, [...baseFiles, ...segmentFiles]);
  await duck.run(
    `CREATE OR REPLACE VIEW events AS SELECT *, ((_hi::UHUGEINT << 64) | _lo::UHUGEINT) AS _pos, ((_partition::UBIGINT << ${OFFSET_BITS}) | _offset::UBIGINT) AS _id FROM (
       SELECT * FROM bases UNION ALL BY NAME
       SELECT segments.* FROM segments JOIN taken ON segments._partition = taken.number
       WHERE segments._offset >= taken.since AND segments._op <> 'q')`,
  );
  const unavailable = new Set(
    partitions.flatMap(({ base, parts }) => [...(base?.unavailable ?? []), ...parts.flatMap((part) => part.unavailable)]),
  );
  return {
    inOrder: partitions.every(({ parts }) => parts.every(({ late }) => late === 0)),
    columns: [...columns].sort((a, b) => a - b),
    unavailable: [...unavailable].filter((column) => columns.has(column)).sort((a, b) => a - b),
  };
}

async function createView(duck: Duck, name: string, paths: readonly string[], columns: Set<number>): Promise<void> {
  if (paths.length === 0) {
    await duck.run(`CREATE OR REPLACE TEMP TABLE no_${name} (${columnDefinitions([])}); CREATE OR REPLACE VIEW ${name} AS FROM no_${name}`);
    return;
  }
  await duck.run(`CREATE OR REPLACE VIEW ${name} AS SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = true)`);
  for (const [column] of await duck.rows(`SELECT column_name FROM (DESCRIBE ${name})`)) {
    const text = String(column);
    if (!FIXED_COLUMNS.includes(text) && text === cellColumn(Number(text.slice(1)))) columns.add(Number(text.slice(1)));
  }
}

async function createPlanTable(duck: Duck, partitions: readonly PartitionPlan[]): Promise<void> {
  await duck.run('CREATE OR REPLACE TABLE taken (number INTEGER, since BIGINT)');
  const taken = partitions.filter(({ parts }) => parts.length > 0);
  if (taken.length === 0) return;
  await duck.run(`INSERT INTO taken VALUES ${taken.map(({ number, base }) => `(${number}, ${base?.offset ?? 0})`).join(', ')}`);
}

/**
 * Brings the files of bases and parts into a DuckDB session as one view of events.
 *
 * `events` has the columns of a segment, `_pos`, the position as one number, and `_id`, partition and offset as one; of each partition only what the plan takes
 * (rows of its base, and rows of its parts from the base's offset on). Files are opened a few at a time, each once.
 */
import { rm } from 'node:fs/promises';
import pLimit from 'p-limit';
import type { TableArchive } from '../archive/archive.ts';
import type { Duck } from '../archive/duck.ts';
import { sqlText } from '../archive/duck.ts';
import type { FileRef } from '../archive/entries.ts';
import { cellColumn, columnDefinitions, FIXED_COLUMNS } from '../archive/rows.ts';
import { openSealedFile } from '../archive/sealed-file.ts';
import { FILES_IN_FLIGHT } from '../../../domain/limits.ts';
import type { PartitionPlan } from './plan.ts';

export interface LoadedEvents {
  /** Numbers of the table's columns that occur in the files. */
  readonly columns: readonly number[];
  /** Numbers of those that are unavailable somewhere. */
  readonly unavailable: readonly number[];
}

export async function loadEvents(archive: TableArchive, duck: Duck, partitions: readonly PartitionPlan[]): Promise<LoadedEvents> {
  const wanted = new Set<string>();
  const fetchAll = async (files: readonly (FileRef | null)[]): Promise<string[]> => {
    const limit = pLimit(FILES_IN_FLIGHT);
    const named = new Map(files.flatMap((file) => (file === null ? [] : [[file.packs[0]?.name ?? '', file] as const])));
    for (const name of named.keys()) wanted.add(name);
    // All of them, before one's failure is told: the session's folder must not go while a file is still being written there.
    const opened = await Promise.allSettled([...named].map(([name, file]) => limit(() => openOnce(archive, duck, name, file))));
    return opened.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    });
  };
  const bases = await fetchAll(partitions.map(({ base }) => base?.file ?? null));
  const segments = await fetchAll(partitions.flatMap(({ parts }) => parts.map((part) => part.file)));
  const columns = new Set<number>();
  await createView(duck, 'bases', bases, columns);
  await createView(duck, 'segments', segments, columns);
  await createPlanTable(duck, partitions);
  await closeAllBut(duck, wanted);
  await duck.run(
    `CREATE OR REPLACE VIEW events AS SELECT *, ((_hi::UHUGEINT << 64) | _lo::UHUGEINT) AS _pos, ((_partition::UBIGINT << 48) | _offset::UBIGINT) AS _id FROM (
       SELECT * FROM bases UNION ALL BY NAME
       SELECT segments.* FROM segments JOIN taken ON segments._partition = taken.number
       WHERE segments._offset >= taken.since AND segments._op <> 'q')`,
  );
  const unavailable = new Set(
    partitions.flatMap(({ base, parts }) => [...(base?.unavailable ?? []), ...parts.flatMap((part) => part.unavailable)]),
  );
  return {
    columns: [...columns].sort((a, b) => a - b),
    unavailable: [...unavailable].filter((column) => columns.has(column)).sort((a, b) => a - b),
  };
}

async function openOnce(archive: TableArchive, duck: Duck, name: string, file: FileRef): Promise<string> {
  const known = duck.opened.get(name);
  if (known !== undefined) return known;
  const path = duck.file(`${name.replaceAll('/', '-')}.parquet`);
  await openSealedFile(archive.store, archive.key, file, path);
  duck.opened.set(name, path);
  return path;
}

/** What an earlier load of the session left open and this one has no use for. */
async function closeAllBut(duck: Duck, wanted: ReadonlySet<string>): Promise<void> {
  for (const [name, path] of duck.opened) {
    if (wanted.has(name)) continue;
    duck.opened.delete(name);
    await rm(path, { force: true });
  }
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

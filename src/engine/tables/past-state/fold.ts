/**
 * The fold: for each key the event with the highest position decides. DuckDB does it, over the view that loading.ts made.
 *
 * A column that an event says is unavailable is taken from the newest event of its key that has it. Such columns are named by the
 * log, so a table without them pays nothing for it.
 */
import type { Duck } from '../archive/duck.ts';
import { cellColumn } from '../archive/rows.ts';
import { UNAVAILABLE } from '../events/event.ts';
import type { Position } from '../events/position.ts';
import type { LoadedEvents } from './loading.ts';

/** Fields of the deciding event beside its cells, as they stand in a segment. */
const DECIDING = ['_partition', '_offset', '_hi', '_lo', '_stamp', '_op', '_tx', '_schema', '_pos'];
const sqlPosition = (position: Position): string => `${position}::UHUGEINT`;

/** A query of the deciding event of each key below the cut (null: of all), with `unavailable` columns merged where they can be. */
export function decidingEvents({ columns, unavailable }: LoadedEvents, cut: Position | null): string {
  const cells = columns.map(cellColumn);
  const merged = new Set(unavailable.map(cellColumn));
  const fields = [...DECIDING, ...cells];
  const newest = `arg_max(struct_pack(${fields.map((name) => `${name} := ${name}`).join(', ')}), _pos) AS _s`;
  const lastKnown = [...merged].map((name) => `arg_max(${name}, _pos) FILTER (WHERE ${name} <> '${UNAVAILABLE}') AS _m_${name}`);
  const cell = (name: string): string =>
    merged.has(name)
      ? `CASE WHEN _s.${name} = '${UNAVAILABLE}' THEN coalesce(_m_${name}, '${UNAVAILABLE}') ELSE _s.${name} END AS ${name}`
      : `_s.${name} AS ${name}`;
  const where = cut === null ? '' : `WHERE _pos < ${sqlPosition(cut)}`;
  return `SELECT _key, ${[...DECIDING.map((name) => `_s.${name} AS ${name}`), ...cells.map(cell)].join(', ')}
    FROM (SELECT _key, ${[newest, ...lastKnown].join(', ')} FROM events ${where} GROUP BY _key)`;
}

/** What counts of deciding events: rows that no truncate has taken. */
export const isLive = (truncated: Position | null): string =>
  truncated === null ? `_op = 'p'` : `_op = 'p' AND _pos > ${sqlPosition(truncated)}`;

/** Makes the table `past`: the key and the cells of each live row; a cell that could not be merged is absent. Returns how many those are. */
export async function foldPast(duck: Duck, loaded: LoadedEvents, cut: Position | null, truncated: Position | null): Promise<number> {
  const cells = loaded.columns.map(cellColumn);
  const unknown = loaded.unavailable.map((column) => `(CASE WHEN ${cellColumn(column)} = '${UNAVAILABLE}' THEN 1 ELSE 0 END)`).join(' + ');
  await duck.run(
    `CREATE OR REPLACE TABLE past AS SELECT ${['_key', ...cells].join(', ')} FROM (${decidingEvents(loaded, cut)}) WHERE ${isLive(truncated)}`,
  );
  if (unknown === '') return 0;
  const [[unresolved] = []] = await duck.rows(`SELECT coalesce(sum(${unknown}), 0)::BIGINT FROM past`);
  for (const column of loaded.unavailable)
    await duck.run(`UPDATE past SET ${cellColumn(column)} = NULL WHERE ${cellColumn(column)} = '${UNAVAILABLE}'`);
  return Number(unresolved);
}

/**
 * The cut of a time: the least position of an event with a stamp above it, moved back to the first event of its transaction.
 * Null when there is none. A transaction's number (PostgreSQL) comes again some day, within one major it does not.
 */
export async function cutOfTime(duck: Duck, timeUs: number): Promise<Position | null> {
  const [[position, transaction] = []] = await duck.rows(
    `SELECT min(_pos)::VARCHAR, arg_min({'tx': _tx}, _pos).tx FROM events WHERE _stamp > ${timeUs}`,
  );
  if (typeof position !== 'string') return null;
  if (typeof transaction !== 'string') return BigInt(position);
  const name = `'${transaction.replaceAll("'", "''")}'`;
  const once = /^[0-9]+$/.test(transaction) ? `AND (_pos >> 72) = (${sqlPosition(BigInt(position))} >> 72)` : '';
  const [[first] = []] = await duck.rows(`SELECT min(_pos)::VARCHAR FROM events WHERE _tx = ${name} ${once}`);
  return typeof first === 'string' && BigInt(first) < BigInt(position) ? BigInt(first) : BigInt(position);
}

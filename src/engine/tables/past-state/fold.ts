/**
 * The fold: for each key the event with the highest position decides. DuckDB does it, over the view that loading.ts made.
 *
 * Two looks: the first finds which event decides, and keeps a key and two numbers; the second fetches those events. One look that carried
 * the rows along would keep every row that ever decided for a moment, in memory that cannot spill: five million events needed
 * more than 2 GB.
 *
 * A column that an event says is unavailable is taken from the newest event of its key that says something of it. Where that is a delete, or a
 * truncate came in between, nothing is known: the row got this key by a change of keys, and what an earlier row of the key had is not its.
 * Such columns are named by the log, so a table without them pays nothing for it.
 */
import { sqlText, type Duck } from '../archive/duck.ts';
import { cellColumn } from '../archive/rows.ts';
import { UNAVAILABLE } from '../events/event.ts';
import type { Position } from '../events/position.ts';
import { OFFSET_BITS, type LoadedEvents } from './loading.ts';
import { isNumbered } from './targets.ts';

/** Fields of the deciding event beside its cells, as they stand in a segment. */
const DECIDING = ['_partition', '_offset', '_hi', '_lo', '_stamp', '_op', '_tx', '_schema', '_pos'];
const sqlPosition = (position: Position): string => `${position}::UHUGEINT`;

/** For each column the newest event of a key that says what it holds, or that the row is gone. */
const givers = (unavailable: readonly number[]): readonly string[] =>
  unavailable.map((column) => `arg_max(_id, _pos) FILTER (WHERE ${cellColumn(column)} IS DISTINCT FROM '${UNAVAILABLE}') AS _m${column}`);

interface Between {
  /** Exclusive; null: no bound. */
  readonly above: Position | null;
  readonly below: Position | null;
}

/**
 * Makes the table `winners`: of each key the deciding event of those in between, `_w`, and for each unavailable column its giver, `_m<column>`. Where
 * nothing was late, offsets of a partition rise with positions, and the highest offset is found in half the time; unless a key
 * turns out to have events in several partitions.
 */
export async function findWinners(duck: Duck, { unavailable, inOrder }: LoadedEvents, { above, below }: Between): Promise<void> {
  const bounds = [...(below === null ? [] : [`_pos < ${sqlPosition(below)}`]), ...(above === null ? [] : [`_pos > ${sqlPosition(above)}`])];
  const from = `FROM events ${bounds.length === 0 ? '' : `WHERE ${bounds.join(' AND ')}`} GROUP BY _key`;
  if (inOrder && unavailable.length === 0) {
    await duck.run(`CREATE OR REPLACE TEMP TABLE winners AS SELECT max(_id) AS _w, min(_id) AS _first ${from}`);
    const [[apart] = []] = await duck.rows(`SELECT count(*) FROM winners WHERE _w >> ${OFFSET_BITS} <> _first >> ${OFFSET_BITS}`);
    if (Number(apart) === 0) return;
  }
  await duck.run(
    `CREATE OR REPLACE TEMP TABLE winners AS SELECT ${['arg_max(_id, _pos) AS _w', ...givers(unavailable)].join(', ')} ${from}`,
  );
}

/** A query of these fields of the deciding events, with `unavailable` columns merged where they can be. */
function decidingEvents({ columns, unavailable }: LoadedEvents, fields: readonly string[]): string {
  if (unavailable.length === 0)
    return `SELECT ${[...fields, ...columns.map(cellColumn)].join(', ')} FROM events SEMI JOIN winners ON _id = _w`;
  const merged = new Set(unavailable);
  const cell = (column: number): string => {
    const name = cellColumn(column);
    if (!merged.has(column)) return `e.${name}`;
    return `CASE WHEN e.${name} = '${UNAVAILABLE}' THEN coalesce(k${column}.${name}, '${UNAVAILABLE}') ELSE e.${name} END AS ${name}`;
  };
  const joins = unavailable.map(
    (column) =>
      `LEFT JOIN (SELECT _id, ${cellColumn(column)} FROM events SEMI JOIN winners ON events._id = winners._m${column}) k${column}
         ON e.${cellColumn(column)} = '${UNAVAILABLE}' AND w._m${column} = k${column}._id`,
  );
  return `SELECT ${[...fields.map((name) => `e.${name}`), ...columns.map(cell)].join(', ')} FROM events e JOIN winners w ON e._id = w._w ${joins.join(' ')}`;
}

/**
 * A query of those of the winners that `counts` takes and, where one has a placeholder, of the events it would be taken from: all as they came. A
 * partition does not merge by itself, for where keys have moved between partitions the value may be another one's.
 */
export function keptEvents({ columns, unavailable }: LoadedEvents, counts: string): string {
  const fields = `SELECT ${['_key', ...DECIDING, ...columns.map(cellColumn)].join(', ')} FROM events SEMI JOIN`;
  if (unavailable.length === 0) return `${fields} winners ON _id = _w WHERE ${counts}`;
  const kept = unavailable.map(
    (column) => ` UNION SELECT _m${column} FROM deciding WHERE ${cellColumn(column)} = '${UNAVAILABLE}' AND _m${column} IS NOT NULL`,
  );
  return `WITH deciding AS MATERIALIZED (SELECT * FROM events JOIN winners ON _id = _w WHERE ${counts})
    ${fields} (SELECT _w AS _kept FROM deciding${kept.join('')}) ON _id = _kept`;
}

/** What counts of deciding events: rows that no truncate has taken. */
export const isLive = (truncated: Position | null): string =>
  truncated === null ? `_op = 'p'` : `_op = 'p' AND _pos > ${sqlPosition(truncated)}`;

/**
 * Makes the table `past`: the key, the version of the schema that the row came with, and the cells of each live row; a cell that could not be
 * merged is absent. Returns how many those are.
 */
export async function foldPast(duck: Duck, loaded: LoadedEvents, cut: Position | null, truncated: Position | null): Promise<number> {
  const cells = loaded.columns.map(cellColumn);
  const unknown = loaded.unavailable.map((column) => `(CASE WHEN ${cellColumn(column)} = '${UNAVAILABLE}' THEN 1 ELSE 0 END)`).join(' + ');
  // What is not above the last truncate decides nothing and gives nothing.
  await findWinners(duck, loaded, { above: truncated, below: cut });
  const deciding = decidingEvents(loaded, ['_key', '_schema', '_op', '_pos']);
  await duck.run(
    `CREATE OR REPLACE TABLE past AS SELECT ${['_key', '_schema', ...cells].join(', ')} FROM (${deciding}) WHERE ${isLive(truncated)}`,
  );
  if (unknown === '') return 0;
  const [[unresolved] = []] = await duck.rows(`SELECT coalesce(sum(${unknown}), 0)::BIGINT FROM past`);
  for (const column of loaded.unavailable)
    await duck.run(`UPDATE past SET ${cellColumn(column)} = NULL WHERE ${cellColumn(column)} = '${UNAVAILABLE}'`);
  return Number(unresolved);
}

/**
 * The cut of a time: the least position of an event with a stamp above it, moved back to the first event of its transaction.
 * Null when there is none. A transaction that is a number is PostgreSQL's: all its events have the one stamp of its commit, so none
 * is before the cut, and the number comes again some day.
 */
export async function cutOfTime(duck: Duck, timeUs: number): Promise<Position | null> {
  const [[position, transaction] = []] = await duck.rows(
    `SELECT min(_pos)::VARCHAR, arg_min({'tx': _tx}, _pos).tx FROM events WHERE _stamp > ${timeUs}`,
  );
  if (typeof position !== 'string') return null;
  if (typeof transaction !== 'string' || isNumbered(transaction)) return BigInt(position);
  const [[first] = []] = await duck.rows(`SELECT min(_pos)::VARCHAR FROM events WHERE _tx = ${sqlText(transaction)}`);
  return typeof first === 'string' && BigInt(first) < BigInt(position) ? BigInt(first) : BigInt(position);
}

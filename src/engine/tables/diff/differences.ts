/**
 * What would change if a past state were applied to a younger one: for each key a row to put, to change or to delete. For undoing one bad batch
 * it can be narrowed to some keys, to rows that a predicate takes, or to what one transaction touched.
 *
 * Both states lie in one DuckDB session, `wanted` and `live`, and are compared value by value under common types, so that a row that
 * merely came again under another version of its schema is the same row. Nothing is applied here: docs/tables.md, section 13.
 */
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import type { TableArchive } from '../archive/archive.ts';
import { sqlName, sqlText, type Duck } from '../archive/duck.ts';
import { cellColumn } from '../archive/rows.ts';
import type { TableState } from '../archive/state.ts';
import { buildPastState, type PastColumn, type PastOutcome, type PastProof } from '../past-state/past-state.ts';
import type { Target } from '../past-state/plan.ts';
import { findTransaction, truncatesOf, type FoundTransaction, type TransactionTarget } from '../past-state/targets.ts';
import { windowOf } from '../past-state/window.ts';
import { columnReport, typeRows, type ColumnReport, type TypedRows } from '../outputs/typed-rows.ts';

export interface DifferenceFilter {
  /** Only these keys, in canonical JSON. */
  readonly keys?: readonly string[];
  /** Only keys whose wanted or younger row this expression of SQL takes; columns by their names, of their types. */
  readonly where?: string;
  /** Only keys that this transaction touched; those that changed again since are marked. */
  readonly transaction?: string;
}

export interface DifferenceRequest extends DifferenceFilter {
  readonly wanted: Target | TransactionTarget;
  readonly live: Target | TransactionTarget;
}

export interface DifferenceCounts {
  readonly insert: number;
  readonly update: number;
  readonly delete: number;
  /** Of those, keys that somebody changed again after the transaction. */
  readonly changedSince: number;
}

export interface Differences {
  readonly kind: 'found';
  /** Over `wanted` and `live`, whose rows have the same columns. */
  readonly rows: TypedRows;
  readonly columns: readonly ColumnReport[];
  readonly counts: DifferenceCounts;
  readonly wanted: PastProof;
  readonly live: PastProof;
}

export type DifferenceOutcome = Differences | Exclude<PastOutcome, { kind: 'built' }>;

/** Finds them, as the table `changes` (`_key`, `op`, `since`) of the session. */
export async function findDifferences(archive: TableArchive, duck: Duck, request: DifferenceRequest): Promise<DifferenceOutcome> {
  const { transaction } = request;
  const touched = transaction === undefined ? null : await touchedKeys(archive, duck, transaction);
  if (touched !== null && touched.kind !== 'touched') return touched;
  const sides: { readonly proof: PastProof; readonly columns: readonly PastColumn[] }[] = [];
  for (const [name, target] of sidesOf(request, transaction)) {
    const built = await buildPastState(archive, duck, target);
    if (built.kind !== 'built') return built;
    await duck.run(`DROP TABLE IF EXISTS ${sqlName(name)}; ALTER TABLE past RENAME TO ${sqlName(name)}`);
    sides.push(built);
  }
  const [wanted, live] = sides;
  if (wanted === undefined || live === undefined) throw new HoldfastError('INTERNAL', 'a difference has two sides');
  const columns = await alignColumns(duck, sides, transaction === undefined ? ['wanted', 'live'] : ['wanted', 'live', 'then']);
  const rows = await typeRows(duck, archive.known(), columns, 'sides');
  const filters = await filtersOf(duck, rows, request, touched);
  await createChanges(duck, rows, filters, transaction !== undefined);
  return {
    ...{ kind: 'found', rows, columns: rows.columns.map(columnReport), counts: await countChanges(duck) },
    ...{ wanted: wanted.proof, live: live.proof },
  };
}

type Side = readonly [name: string, target: Target | TransactionTarget];

const sidesOf = ({ wanted, live }: DifferenceRequest, transaction: string | undefined): readonly Side[] => [
  ['wanted', wanted],
  ['live', live],
  ...(transaction === undefined ? [] : [['then', { kind: 'transaction', id: transaction, edge: 'after' }] as const]),
];

type Touched = { readonly kind: 'touched'; readonly all: boolean } | Exclude<PastOutcome, { kind: 'built' }>;

/** Makes the table `touched` of a transaction's keys. `all`: it has emptied the table, so every key is touched. */
async function touchedKeys(archive: TableArchive, duck: Duck, id: string): Promise<Touched> {
  const state = archive.known();
  const found = await findTransaction(archive, duck, state, id);
  if (found.kind === 'several') return found;
  if (found.kind === 'none') return { kind: 'unknown', window: windowOf(state) };
  await duck.run(
    `CREATE OR REPLACE TABLE touched AS SELECT DISTINCT _key FROM events
     WHERE _tx = ${sqlText(id)} AND _pos BETWEEN ${found.first}::UHUGEINT AND ${found.last}::UHUGEINT`,
  );
  return { kind: 'touched', all: truncatesWithin(state, found) };
}

const truncatesWithin = (state: TableState, { first, last }: Extract<FoundTransaction, { kind: 'found' }>): boolean =>
  truncatesOf(state).some(({ position }) => position >= first && position <= last);

/** Gives all sides the columns of each, and makes the view `sides` of both that are compared. */
async function alignColumns(
  duck: Duck,
  sides: readonly { readonly columns: readonly PastColumn[] }[],
  names: readonly string[],
): Promise<readonly PastColumn[]> {
  const all = new Map<number, PastColumn>();
  for (const { columns } of sides)
    for (const column of columns) all.set(column.number, { ...column, merged: column.merged || all.get(column.number)?.merged === true });
  const columns = [...all.values()].sort((a, b) => a.number - b.number);
  for (const name of names)
    for (const { number } of columns) await duck.run(`ALTER TABLE ${sqlName(name)} ADD COLUMN IF NOT EXISTS ${cellColumn(number)} VARCHAR`);
  const fields = ['_key', '_schema', ...columns.map(({ number }) => cellColumn(number))].join(', ');
  await duck.run(`CREATE OR REPLACE VIEW sides AS SELECT ${fields} FROM wanted UNION ALL SELECT ${fields} FROM live`);
  return columns;
}

/** SQL over `_key`, all of which must hold. */
async function filtersOf(duck: Duck, rows: TypedRows, { keys, where }: DifferenceFilter, touched: Touched | null): Promise<string[]> {
  const filters: string[] = [];
  if (keys !== undefined) filters.push(`_key IN (${keys.map(sqlText).join(', ') || 'NULL'})`);
  if (touched?.kind === 'touched' && !touched.all) filters.push('_key IN (SELECT _key FROM touched)');
  if (where !== undefined) {
    const names = rows.columns.map((column) => `${column.typed} AS ${sqlName(column.name)}`).join(', ');
    await duck.run(`CREATE OR REPLACE VIEW named AS SELECT _key AS _row_key, ${names} FROM sides`);
    await select(duck, where);
    filters.push('_key IN (SELECT _row_key FROM selected)');
  }
  return filters;
}

/** Makes the table `selected` of the keys that a predicate takes. ARGUMENT_INVALID when it is none. */
async function select(duck: Duck, where: string): Promise<void> {
  try {
    // Each of these alone refuses text that ends the expression to begin something else.
    const query = `SELECT DISTINCT _row_key FROM named WHERE (${where}\n)`;
    const [[parsed] = []] = await duck.rows(`SELECT json_serialize_sql(${sqlText(query)})::VARCHAR`);
    const {
      error,
      error_message: message,
      statements,
    } = JSON.parse(String(parsed)) as {
      readonly error: boolean;
      readonly error_message?: string;
      readonly statements?: readonly unknown[];
    };
    if (error || statements?.length !== 1) throw new Error(message ?? 'it is not one expression');
    await duck.run(`CREATE OR REPLACE TABLE selected AS ${query}`);
  } catch (cause) {
    throw new HoldfastError('ARGUMENT_INVALID', `the predicate does not fit: ${messageOf(cause).split('\n')[0] ?? ''}`, {
      field: 'where',
      expected: "an expression of SQL over the table's columns, as amount > 100 AND city = 'Rome'",
    });
  }
}

async function createChanges(duck: Duck, { columns }: TypedRows, filters: readonly string[], marked: boolean): Promise<void> {
  const texts = columns.map(({ text }, i) => `${text} AS t${i}`).join(', ');
  const kept = filters.length === 0 ? '' : `WHERE ${filters.join(' AND ')}`;
  const side = (name: string): string => `(SELECT _key, ${texts} FROM ${name} ${kept})`;
  const differ = (a: string, b: string): string => columns.map((_, i) => `${a}.t${i} IS DISTINCT FROM ${b}.t${i}`).join(' OR ') || 'false';
  const op = `CASE WHEN l._key IS NULL THEN 'insert' WHEN w._key IS NULL THEN 'delete' ELSE 'update' END`;
  await duck.run(
    `CREATE OR REPLACE TABLE changes AS SELECT coalesce(w._key, l._key) AS _key, ${op} AS op, false AS since
     FROM ${side('wanted')} w FULL OUTER JOIN ${side('live')} l ON w._key = l._key
     WHERE w._key IS NULL OR l._key IS NULL OR ${differ('w', 'l')}`,
  );
  if (!marked) return;
  await duck.run(
    `UPDATE changes SET since = true WHERE _key IN (
       SELECT coalesce(t._key, l._key) FROM ${side('"then"')} t FULL OUTER JOIN ${side('live')} l ON t._key = l._key
       WHERE t._key IS NULL OR l._key IS NULL OR ${differ('t', 'l')})`,
  );
}

async function countChanges(duck: Duck): Promise<DifferenceCounts> {
  const count = (op: string): string => `count(*) FILTER (WHERE op = '${op}')`;
  const [[insert, update, removed, since] = []] = await duck.rows(
    `SELECT ${count('insert')}, ${count('update')}, ${count('delete')}, count(*) FILTER (WHERE since) FROM changes`,
  );
  return { insert: Number(insert), update: Number(update), delete: Number(removed), changedSince: Number(since) };
}

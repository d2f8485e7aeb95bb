/**
 * Rows into a new table of PostgreSQL, in one transaction: all of them are seen at once, or nothing ever was there.
 *
 * The table's comment names the job that made it and is part of the transaction: by it a try that comes after a lost answer knows the table as
 * its own work, and not as somebody's that is in the way. Rows go over as arrays of texts, one a column, and the server makes
 * values of them, so nothing is quoted here and no digit passes through a JavaScript number.
 */
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import type { PostgresServer } from '../../../domain/past-states.ts';
import { resolvePassphrase } from '../../../ground/sealing/passphrase.ts';
import type { Duck } from '../archive/duck.ts';
import type { Course } from './course.ts';
import { createTableSql, literal, quoteName, quoteTable, type SqlTable } from './sql-text.ts';
import { textRows } from './text-rows.ts';
import { postgresColumnType, type OutputColumn, type TypedRows } from './typed-rows.ts';

const CONNECT_MS = 10_000;

type Variables = Readonly<Record<string, string | undefined>>;

const noted = (owner: string): string => `Holdfast: a past state, by ${owner}`;

/** Connects. POSTGRES_UNREACHABLE, POSTGRES_DENIED, PASSPHRASE_MISSING, CONFIG_INVALID. */
async function connect(server: PostgresServer, variables: Variables): Promise<pg.Client> {
  const { host, port, database, user, tls } = server;
  const password = server.password === null ? undefined : await resolvePassphrase(server.password, variables);
  const client = new pg.Client({
    ...{ host, port, database, user, password, connectionTimeoutMillis: CONNECT_MS, application_name: 'holdfast' },
    ssl: tls === null ? false : { rejectUnauthorized: true, ...(tls.ca === null ? {} : { ca: await readCa(tls.ca) }) },
  });
  // What breaks a connection is thrown by the query under way, too.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw failure(error, server);
  }
  return client;
}

async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new HoldfastError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(cause)}`, { field: 'postgres.tls.ca' }, cause);
  }
}

/** SQLSTATE of what the server said; null: it said nothing. */
const stateOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : null;

/** Classes of SQLSTATE that trying again may mend: connections, resources, the operator, serialisation. */
const PASSING = new Set(['08', '53', '57', '40', '55']);

/** What went wrong, as one of the table's codes. Never with a value of a row: the server's details may have one. */
function failure(error: unknown, { host, port }: PostgresServer): unknown {
  if (error instanceof HoldfastError || (error instanceof Error && error.name === 'AbortError')) return error;
  const state = stateOf(error);
  const details = { host, port, ...(state === null ? {} : { state }) };
  if (state?.startsWith('28') === true || state === '42501')
    return new HoldfastError('POSTGRES_DENIED', `PostgreSQL at ${host}:${port} refuses: ${messageOf(error)}`, details);
  if (state === null || PASSING.has(state.slice(0, 2)))
    return new HoldfastError('POSTGRES_UNREACHABLE', `PostgreSQL at ${host}:${port}: ${messageOf(error)}`, details);
  return new HoldfastError('TARGET_UNWRITABLE', `PostgreSQL at ${host}:${port} refuses: ${messageOf(error)}`, details);
}

/** Whether the table is there, and by whom. */
async function look(client: pg.Client, table: SqlTable, owner: string): Promise<'none' | 'own' | 'other'> {
  const found = await client.query<{ oid: string | null; comment: string | null }>(
    `SELECT to_regclass($1)::oid::text AS oid, obj_description(to_regclass($1)) AS comment`,
    [quoteTable(table)],
  );
  const [row] = found.rows;
  if (row?.oid === null || row === undefined) return 'none';
  return row.comment === noted(owner) ? 'own' : 'other';
}

const tableExists = (table: SqlTable, { host, port }: PostgresServer): HoldfastError =>
  new HoldfastError('TARGET_EXISTS', `${quoteTable(table)} is there already at ${host}:${port}`, {
    ...{ table: quoteTable(table), expected: 'a table that is not there yet' },
  });

async function using<T>(server: PostgresServer, variables: Variables, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(server, variables);
  try {
    return await work(client);
  } catch (error) {
    throw failure(error, server);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** `landed`: this job has made the table before. TARGET_EXISTS when it is somebody else's. */
export const preparePostgres = (server: PostgresServer, table: SqlTable, owner: string, variables: Variables): Promise<'free' | 'landed'> =>
  using(server, variables, async (client) => {
    const there = await look(client, table, owner);
    if (there === 'other') throw tableExists(table, server);
    return there === 'own' ? 'landed' : 'free';
  });

export interface PostgresTarget {
  readonly server: PostgresServer;
  readonly table: SqlTable;
  readonly owner: string;
  readonly variables: Variables;
}

/** SQLSTATE: somebody else has made it since it was looked for. */
const DUPLICATE_TABLE = '42P07';

export const writePostgres = (duck: Duck, rows: TypedRows, target: PostgresTarget, course: Course): Promise<void> =>
  using(target.server, target.variables, async (client) => {
    const { table, server, owner } = target;
    await client.query('BEGIN');
    try {
      await client.query(createTableSql(table, rows));
    } catch (error) {
      if (stateOf(error) === DUPLICATE_TABLE) throw tableExists(table, server);
      throw error;
    }
    await client.query(`COMMENT ON TABLE ${quoteTable(table)} IS ${literal({ type: { kind: 'text' }, name: '' }, noted(owner))}`);
    if (rows.columns.length > 0) await insertAll(client, duck, rows, table, course);
    await client.query('COMMIT');
  });

async function insertAll(client: pg.Client, duck: Duck, rows: TypedRows, table: SqlTable, course: Course): Promise<void> {
  const { columns } = rows;
  const insert = insertSql(table, columns);
  for await (const some of textRows(duck, rows, course)) {
    await client.query({ name: 'holdfast-insert', text: insert, values: columns.map((_, i) => some.map((row) => row[i] ?? null)) });
    course.onRows?.(some.length);
  }
}

function insertSql(table: SqlTable, columns: readonly OutputColumn[]): string {
  const names = columns.map(({ name }) => quoteName(name)).join(', ');
  const values = columns.map((column, i) => `v.c${i}::${postgresColumnType(column)}`).join(', ');
  const arrays = columns.map((_, i) => `$${i + 1}::text[]`).join(', ');
  return `INSERT INTO ${quoteTable(table)} (${names}) SELECT ${values} FROM unnest(${arrays}) AS v(${columns.map((_, i) => `c${i}`).join(', ')})`;
}

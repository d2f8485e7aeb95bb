/**
 * The database that the chain is shown on: three tables, with what is hard about each.
 *
 * customers: large texts that an update does not log (TOAST), keys that change, REPLICA IDENTITY FULL, a column that comes later.
 * orders: 64-bit ids, large text and bytes, arrays, REPLICA IDENTITY as it is by default. items: a key of two columns, in bulk, truncated.
 * `pulse` is written by the connector's heartbeat: its events show how far the source was read when nothing else happens.
 */
import type pg from 'pg';

export const TABLES = ['customers', 'orders', 'items'] as const;
export type TableName = (typeof TABLES)[number];
export const PULSE = 'pulse';
export const PREFIX = 'shop';
export const topicOf = (table: string): string => `${PREFIX}.public.${table}`;
/** Partitions of each topic: keys that change move between them. */
export const PARTITIONS: Readonly<Record<TableName, number>> = { customers: 3, orders: 2, items: 1 };

const SCHEMA = `
  CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, note text, balance numeric(14,2), seen timestamptz, doc jsonb);
  ALTER TABLE customers ALTER note SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
  CREATE TABLE orders (id bigint PRIMARY KEY, customer int, weight double precision, big text, photo bytea, tags text[], paid boolean);
  ALTER TABLE orders ALTER big SET STORAGE EXTERNAL, ALTER photo SET STORAGE EXTERNAL;
  CREATE TABLE items (shop int, line int, sku text, sold date, PRIMARY KEY (shop, line));
  CREATE TABLE pulse (id int PRIMARY KEY, at timestamptz);
  INSERT INTO pulse VALUES (1, now());
  INSERT INTO customers SELECT g, 'customer ' || g, CASE WHEN g % 3 = 0 THEN repeat(md5(g::text), 100) END, g * 1.25, now(), jsonb_build_object('g', g)
    FROM generate_series(1, 120) g;
  INSERT INTO orders SELECT 9007199254740993 + g, g, g + 0.5, repeat('b', 5000), decode(repeat('ab', 4000), 'hex'), ARRAY['x', NULL, '"quoted", ' || g], g % 2 = 0
    FROM generate_series(1, 80) g;
  INSERT INTO items SELECT g % 7, g, 'sku ' || g, date '2026-01-01' + g FROM generate_series(1, 300) g;
`;

export async function createShop(client: pg.Client): Promise<void> {
  await client.query(SCHEMA);
}

export type Row = Readonly<Record<string, string>>;

/** A column's value as JSON text, as Debezium writes it; of a null nothing is said. */
type Writing = (text: string) => string;
const asIs: Writing = (text) => text;
const asText: Writing = (text) => JSON.stringify(text);

/** How each column is asked for, as a text, and what its text becomes. */
const COLUMNS: Readonly<Record<TableName, Readonly<Record<string, readonly [string, Writing]>>>> = {
  customers: {
    id: ['id', asIs],
    name: ['name', asText],
    note: ['note', asText],
    balance: ['balance', asText],
    seen: [`to_char(seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`, asText],
    doc: ['doc', asText],
    tier: ['tier', asIs],
  },
  orders: {
    id: ['id', asIs],
    customer: ['customer', asIs],
    weight: ['weight', asIs],
    big: ['big', asText],
    photo: [`replace(encode(photo, 'base64'), E'\\n', '')`, asText],
    tags: ['array_to_json(tags)', asIs],
    paid: ['paid', asIs],
  },
  items: { shop: ['shop', asIs], line: ['line', asIs], sku: ['sku', asText], sold: [`sold - date '1970-01-01'`, asIs] },
};
const KEYS: Readonly<Record<TableName, readonly string[]>> = { customers: ['id'], orders: ['id'], items: ['line', 'shop'] };

/** All rows of a table as its transaction sees them, by canonical key. `tier` is there once it was added. */
export async function readTable(client: pg.Client, table: TableName): Promise<ReadonlyMap<string, Row>> {
  const { rows: known } = await client.query<{ column_name: string }>(
    `SELECT attname AS column_name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
    [table],
  );
  const there = new Set(known.map(({ column_name }) => column_name));
  const columns = Object.entries(COLUMNS[table]).filter(([name]) => there.has(name));
  const { rows } = await client.query<Record<string, string | null>>(
    `SELECT ${columns.map(([name, [sql]]) => `(${sql})::text AS "${name}"`).join(', ')} FROM ${table}`,
  );
  return new Map(
    rows.map((row) => {
      const cells = columns.flatMap(([name, [, write]]) => {
        const text = row[name];
        return text === null || text === undefined ? [] : [[name, write(text)] as const];
      });
      const written = Object.fromEntries(cells);
      return [`{${KEYS[table].map((name) => `${JSON.stringify(name)}:${written[name]}`).join(',')}}`, written];
    }),
  );
}

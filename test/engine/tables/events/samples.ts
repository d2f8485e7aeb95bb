/** Records in the forms that Debezium documents (connectors/postgresql.adoc, connectors/mysql.adoc), as bytes. */
import type { TableRecord } from '../../../../src/engine/tables/events/event.ts';

export const bytes = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

export const record = (value: unknown, key: unknown = { id: 1 }, timeMs = 1_700_000_000_000): TableRecord => ({
  offset: 0,
  timeMs,
  key: key === null ? null : bytes(key),
  value: value === null ? null : bytes(value),
});

const column = (field: string, type: string) => ({ type, optional: false, field });
const row = (field: string) => ({
  type: 'struct',
  fields: [column('id', 'int32'), column('first_name', 'string'), column('last_name', 'string'), column('email', 'string')],
  optional: true,
  name: 'PostgreSQL_server.inventory.customers.Value',
  field,
});
export const ENVELOPE_SCHEMA = {
  type: 'struct',
  fields: [row('before'), row('after'), { type: 'struct', fields: [], name: 'io.debezium.connector.postgresql.Source', field: 'source' }],
  optional: false,
  name: 'PostgreSQL_server.inventory.customers.Envelope',
};
export const KEY_WITH_SCHEMA = {
  schema: {
    type: 'struct',
    name: 'PostgreSQL_server.public.customers.Key',
    optional: false,
    fields: [{ name: 'id', index: '0', schema: { type: 'INT32', optional: 'false' } }],
  },
  payload: { id: '1' },
};

export const postgresSource = {
  version: '3.2.0.Final',
  connector: 'postgresql',
  name: 'PostgreSQL_server',
  ts_ms: 1559033904863,
  ts_us: 1559033904863123,
  ts_ns: 1559033904863123000n,
  snapshot: false as boolean | string | null,
  db: 'postgres',
  sequence: '["24023119","24023128"]' as string | undefined,
  schema: 'public',
  table: 'customers',
  txId: 555,
  lsn: 24023128,
  xmin: null,
};
/**
 * Written from memory, then held against the update event of connectors/mysql.adoc: the same fields. What differs is that `ts_us` is of later versions than the
 * page that was at hand, and that `query` is a text only with `include.query`.
 */
export const mysqlSource = {
  version: '3.2.0.Final',
  connector: 'mysql',
  name: 'mysql-server-1',
  ts_ms: 1465491411000,
  ts_us: 1465491411000000,
  snapshot: false,
  db: 'inventory',
  table: 'customers',
  server_id: 223344,
  gtid: null as string | null,
  file: 'mysql-bin.000003',
  pos: 484,
  row: 0,
  thread: 7,
  query: null,
};

const ANNE = { id: 1, first_name: 'Anne', last_name: 'Kretchmar', email: 'annek@noanswer.org' };

/** JSON with the nanoseconds as Java writes them, which no JavaScript number holds. */
export const json = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `<<${item}>>` : item)).replace(/"<<([0-9]+)>>"/g, '$1');

export const envelope = (op: string, rest: Readonly<Record<string, unknown>> = {}, source: object = postgresSource) => ({
  before: null,
  after: ANNE,
  source,
  op,
  ts_ms: 1559033904961,
  ts_us: 1559033904961654,
  ...rest,
});
export const withSchema = (payload: unknown): string => json({ schema: ENVELOPE_SCHEMA, payload });

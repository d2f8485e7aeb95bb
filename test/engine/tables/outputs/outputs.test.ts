/** Past states put somewhere new: whole or not at all, never over anything, again after a lost answer, and row by row what the database had. */
import { execFile } from 'node:child_process';
import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { Duck, sqlText } from '../../../../src/engine/tables/archive/duck.ts';
import { endOutput, isLanded, prepareOutput, writeOutput, type OutputOwner } from '../../../../src/engine/tables/outputs/output.ts';
import type { SettledOutput } from '../../../../src/engine/tables/outputs/targets.ts';
import { typeRows, type TypedRows } from '../../../../src/engine/tables/outputs/typed-rows.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { startPostgres, type RunningPostgres } from '../../../../src/faces/stack/postgres.ts';
import { seededRandom } from '../../../../src/ground/stores/faulty.ts';
import { describeWith, finder } from '../../../faces/stack/describe-with.ts';
import { openOrders, order, ORDERS_START_US } from '../orders-table.ts';
import { VALUE_KINDS } from './values.ts';

const run = promisify(execFile);
let duck: Duck;
let folder: string;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
});
afterAll(() => duck[Symbol.asyncDispose]());
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-outputs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ROWS = [
  ['1', '10.00', "it's", '2023-11-14 22:13:20.000005'],
  ['2', null, null, null],
  ['9007199254740993', '-0.01', 'a\nb;\\', '1970-01-01 00:00:00'],
];

async function pastOrders(): Promise<TypedRows> {
  const orders = await openOrders(duck, 2);
  await orders.commit(0, 1, 11, order(1, '10.00', "it's", ORDERS_START_US + 5), order(2));
  await orders.commit(1, 2, 12, order(9_007_199_254_740_993n, '-0.01', 'a\nb;\\', 0));
  await orders.commit(0, 8, 13, order(3));
  await orders.through(9);
  const built = await buildPastState(orders.archive, duck, { kind: 'time', us: ORDERS_START_US + 5 });
  if (built.kind !== 'built') throw new Error(built.kind);
  return typeRows(duck, orders.archive.known(), built.columns, 'past');
}

const mine: OutputOwner = { owner: 'run-1', variables: {} };
const file = (name: string, format: 'parquet' | 'csv' | 'jsonl' | 'sql'): Extract<SettledOutput, { kind: 'file' }> => ({
  ...{ kind: 'file', path: path.join(folder, name), format, table: 'shop.orders' },
});

test('JSON lines are as the source wrote them', async () => {
  await writeOutput(duck, await pastOrders(), file('orders', 'jsonl'), mine, {});
  expect(readFileSync(path.join(folder, 'orders'), 'utf8')).toBe(
    [
      '{"id":1,"amount":"A+g=","note":"it\'s","placed":1700000000000005}',
      '{"id":2,"amount":null,"note":null,"placed":null}',
      '{"id":9007199254740993,"amount":"/w==","note":"a\\nb;\\\\","placed":0}',
      '',
    ].join('\n'),
  );
});

test('Parquet has types, a decimal as a decimal', async () => {
  await writeOutput(duck, await pastOrders(), file('orders.parquet', 'parquet'), mine, {});
  await using reader = await Duck.open({ memoryBytes: 256e6, threads: 1, parent: folder });
  linkSync(path.join(folder, 'orders.parquet'), reader.file('copy'));
  const from = `read_parquet(${sqlText(reader.file('copy'))})`;
  expect(await reader.rows(`SELECT column_name, column_type FROM (DESCRIBE FROM ${from})`)).toEqual([
    ['id', 'BIGINT'],
    ['amount', 'DECIMAL(18,2)'],
    ['note', 'VARCHAR'],
    ['placed', 'TIMESTAMP'],
  ]);
  expect(await reader.rows(`SELECT COLUMNS(*)::VARCHAR FROM ${from} ORDER BY id`)).toEqual(ROWS);
});

test('what is there is never replaced, not even when it comes while a file is written', async () => {
  const rows = await pastOrders();
  const output = file('orders.csv', 'csv');
  writeFileSync(output.path, 'precious');
  await expect(prepareOutput(output, mine)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  await expect(writeOutput(duck, rows, output, mine, {})).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  await endOutput(output, mine, null);
  expect(readFileSync(output.path, 'utf8')).toBe('precious');
  expect(readdirSync(folder)).toEqual(['orders.csv']);
});

test('a try that died is followed by one that succeeds, and leaves nothing', async () => {
  const rows = await pastOrders();
  const output = file('orders.csv', 'csv');
  // Died while it wrote; and so did somebody else's job, long ago. A file of a like name belongs to another target.
  writeFileSync(path.join(folder, '.orders.csv.run-1_a.holdfast-part'), 'half');
  writeFileSync(path.join(folder, '.orders.csv.run-0_b.holdfast-part'), 'half');
  writeFileSync(path.join(folder, '.orders.csv.gz.run-0_a.holdfast-part'), 'other');
  expect(await prepareOutput(output, mine)).toBe('free');
  expect(readdirSync(folder)).toEqual(['.orders.csv.gz.run-0_a.holdfast-part']);
  await writeOutput(duck, rows, output, mine, {});
  // Its answer was lost: the next try finds its own work, another job somebody's.
  expect(await isLanded(output, mine)).toBe(true);
  await expect(prepareOutput(output, { ...mine, owner: 'run-2' })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  await endOutput(output, mine, null);
  await endOutput(output, mine, null);
  expect(readdirSync(folder)).toEqual(['.orders.csv.gz.run-0_a.holdfast-part', 'orders.csv']);
});

test('a folder that is not there, or a full one, is told', async () => {
  const nowhere = { ...file('x', 'jsonl'), path: path.join(folder, 'nowhere', 'x') };
  await expect(prepareOutput(nowhere, mine)).rejects.toMatchObject({ code: 'TARGET_UNWRITABLE' });
  const full = { ...file('x', 'jsonl'), path: '/dev/full/x' };
  await expect(prepareOutput(full, mine)).rejects.toMatchObject({ code: 'TARGET_UNWRITABLE' });
});

test('a cell that is no value of its type makes its column JSON text, and is counted', async () => {
  await duck.run(`CREATE OR REPLACE TABLE past (_key VARCHAR, _schema INTEGER, c0 VARCHAR, c1 VARCHAR, c2 VARCHAR)`);
  await duck.run(`INSERT INTO past VALUES ('{"id":1}', 0, '1', '1.5', '9223372036854775808'), ('{"id":2}', 0, '2', '7', '5')`);
  const schema = ['id', 'a', 'b'].map((name) => ({ name, type: 'int64', semantic: null, optional: true, scale: null }));
  const columns = schema.map(({ name }, number) => ({ name, number, merged: false }));
  const rows = await typeRows(duck, { schemas: [schema] }, columns, 'past');
  expect(rows.columns.map(({ name, type, misfits }) => [name, type.kind, misfits])).toEqual([
    ['id', 'int64', 0],
    ['a', 'json', 1],
    ['b', 'json', 1],
  ]);
  await writeOutput(duck, rows, file('x.csv', 'csv'), mine, {});
  expect(readFileSync(path.join(folder, 'x.csv'), 'utf8')).toBe('id,a,b\n1,1.5,9223372036854775808\n2,7,5\n');
});

test('versions of a schema: rows are read as they were written; where no type has both, they stay JSON', async () => {
  const version = (types: readonly (readonly [string, string | null])[]) => [
    { name: 'id', type: 'int32', semantic: null, optional: false, scale: null },
    ...types.map(([type, semantic], i) => ({ name: `c${i}`, type, semantic, optional: true, scale: null })),
  ];
  const schemas = [
    version([
      ['int32', null],
      ['int64', 'io.debezium.time.Timestamp'],
      ['int64', null],
    ]),
    version([
      ['int64', null],
      ['int64', 'io.debezium.time.Timestamp'],
      ['string', null],
    ]),
  ];
  await duck.run(
    `CREATE OR REPLACE TABLE past (_key VARCHAR, _schema INTEGER, c0 VARCHAR, c1 VARCHAR, c2 VARCHAR, c3 VARCHAR, c4 VARCHAR)`,
  );
  await duck.run(
    `INSERT INTO past VALUES ('{"id":1}', 0, '1', '7', '1000', '5', '"x"'), ('{"id":2}', 1, '2', '9007199254740993', '2000', '"5"', NULL)`,
  );
  const columns = ['id', 'c0', 'c1', 'c2', 'unknown'].map((name, number) => ({ name, number, merged: false }));
  const rows = await typeRows(duck, { schemas }, columns, 'past');
  expect(rows.columns.map(({ type }) => type.kind)).toEqual(['int32', 'int64', 'timestamp', 'json', 'json']);
  await writeOutput(duck, rows, file('x.csv', 'csv'), mine, {});
  expect(readFileSync(path.join(folder, 'x.csv'), 'utf8').split('\n').slice(1, 3)).toEqual([
    '1,7,1970-01-01 00:00:01,5,"""x"""',
    '2,9007199254740993,1970-01-01 00:00:02,"""5""",',
  ]);
});

test('rows that lack their key get it as a column; names that differ in case only are kept apart', async () => {
  await duck.run(`CREATE OR REPLACE TABLE past (_key VARCHAR, _schema INTEGER, c0 VARCHAR, c1 VARCHAR)`);
  await duck.run(`INSERT INTO past VALUES ('"k1"', NULL, '1', '"a"'), ('"k2"', NULL, '2', NULL)`);
  const columns = ['Name', 'name'].map((name, number) => ({ name, number, merged: false }));
  const rows = await typeRows(duck, { schemas: [] }, columns, 'past');
  expect(rows.columns.map(({ name, key }) => [name, key])).toEqual([
    ['_key', true],
    ['Name', false],
    ['name_2', false],
  ]);
  await writeOutput(duck, rows, file('x.jsonl', 'jsonl'), mine, {});
  expect(readFileSync(path.join(folder, 'x.jsonl'), 'utf8')).toBe('{"_key":"k1","Name":1,"name":"a"}\n{"_key":"k2","Name":2}\n');
});

const describePostgres = await describeWith('postgres');
describePostgres('PostgreSQL', () => {
  let server: RunningPostgres;
  let client: pg.Client;
  let variables: Record<string, string>;
  beforeAll(async () => {
    server = await startPostgres({}, finder);
    const { host, port, user, password, database } = server;
    variables = { SECRET: password };
    client = new pg.Client({ host, port, user, password, database });
    await client.connect();
    await client.query('CREATE SCHEMA shop');
  });
  afterAll(async () => {
    await client.end();
    await server.stop();
  });
  const target = (table: string): Extract<SettledOutput, { kind: 'postgres' }> => ({
    ...{ kind: 'postgres', table },
    server: { host: server.host, port: server.port, user: server.user, database: server.database, password: 'env:SECRET', tls: null },
  });
  const textsOf = async (table: string, columns: readonly string[]): Promise<unknown[][]> =>
    (
      await client.query({
        text: `SELECT ${columns.map((name) => `"${name}"::text`).join(', ')} FROM ${table} ORDER BY "id"`,
        rowMode: 'array',
      })
    ).rows;
  const owner = (): OutputOwner => ({ owner: 'run-1', variables });
  const NAMES = ['id', 'amount', 'note', 'placed'];

  test('a new table with the rows, their types and their key', async () => {
    expect(await prepareOutput(target('shop.orders'), owner())).toBe('free');
    await writeOutput(duck, await pastOrders(), target('shop.orders'), owner(), {});
    expect(await textsOf('shop.orders', NAMES)).toEqual(ROWS);
    const { rows } = await client.query<{ t: string }>(
      `SELECT format_type(atttypid, atttypmod) AS t FROM pg_attribute WHERE attrelid = 'shop.orders'::regclass AND attnum > 0 ORDER BY attnum`,
    );
    expect(rows.map(({ t }) => t)).toEqual(['bigint', 'numeric', 'text', 'timestamp without time zone']);
    await expect(client.query('INSERT INTO shop.orders VALUES (1)')).rejects.toMatchObject({ code: '23505' });
  });

  test('a table that is there is refused, but for the work of the same job, whose answer was lost', async () => {
    const rows = await pastOrders();
    await client.query('CREATE TABLE there (id int)');
    await expect(prepareOutput(target('there'), owner())).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await expect(writeOutput(duck, rows, target('there'), owner(), {})).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await writeOutput(duck, rows, target('own'), owner(), {});
    expect(await isLanded(target('own'), owner())).toBe(true);
    await expect(prepareOutput(target('own'), { owner: 'run-2', variables })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  });

  test('a write that ends in the middle leaves no table', async () => {
    const rows = await pastOrders();
    const course = {
      onRows() {
        throw new Error('killed');
      },
    };
    await expect(writeOutput(duck, rows, target('half'), owner(), course)).rejects.toThrow('killed');
    expect((await client.query<{ there: string | null }>(`SELECT to_regclass('half') AS there`)).rows).toEqual([{ there: null }]);
  });

  test('wrong credentials and nobody there are told apart, and without the password', async () => {
    const wrong = prepareOutput(target('x'), { owner: 'run-1', variables: { SECRET: 'hunter2' } });
    await expect(wrong).rejects.toMatchObject({ code: 'POSTGRES_DENIED' });
    await expect(wrong).rejects.not.toThrow('hunter2');
    const away = { ...target('x'), server: { ...target('x').server, port: 1 } };
    await expect(prepareOutput(away, owner())).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    await expect(prepareOutput(target('x'), { owner: 'run-1', variables: {} })).rejects.toMatchObject({ code: 'PASSPHRASE_MISSING' });
  });

  test('a file of SQL makes the same table, whatever the values are', async () => {
    await writeOutput(duck, await pastOrders(), { ...file('orders.sql', 'sql'), table: 'shop.from_sql' }, mine, {});
    await client.query(readFileSync(path.join(folder, 'orders.sql'), 'utf8'));
    expect(await textsOf('shop.from_sql', NAMES)).toEqual(ROWS);
  });

  test.each([1, 2, 3, 4, 5, 6])('values of every type, by rows, by SQL and by CSV: seed %i', async (seed) => {
    const random = seededRandom(seed);
    const values = Array.from({ length: 25 }, () => VALUE_KINDS.map((kind) => (random() < 0.1 ? null : kind.value(random))));
    const names = VALUE_KINDS.map((_, i) => `v${i}`);
    const cells = [0, ...names.keys()].map((_, i) => `c${i} VARCHAR`).join(', ');
    await duck.run(`CREATE OR REPLACE TABLE past (_key VARCHAR, _schema INTEGER, ${cells})`);
    await duck.run(
      `INSERT INTO past VALUES ${values.map((row, i) => `('{"id":${i}}', 0, '${i}', ${row.map((value) => (value === null ? "'null'" : sqlText(value.cell))).join(', ')})`).join(', ')}`,
    );
    const schema = [
      { name: 'id', type: 'int32', semantic: null, optional: false, scale: null },
      ...VALUE_KINDS.map(({ type, semantic, scale }, i) => ({ name: names[i]!, type, semantic, scale, optional: true })),
    ];
    const rows = await typeRows(
      duck,
      { schemas: [schema] },
      ['id', ...names].map((name, number) => ({ name, number, merged: false })),
      'past',
    );
    const expected = values.map((row) => row.map((value) => value?.text ?? null));
    await writeOutput(duck, rows, target(`rows_${seed}`), owner(), {});
    expect(await textsOf(`rows_${seed}`, names)).toEqual(expected);
    await writeOutput(duck, rows, { ...file(`${seed}.sql`, 'sql'), table: `sql_${seed}` }, mine, {});
    await client.query(readFileSync(path.join(folder, `${seed}.sql`), 'utf8'));
    expect(await textsOf(`sql_${seed}`, names)).toEqual(expected);
    await writeOutput(duck, rows, file(`${seed}.csv`, 'csv'), mine, {});
    await client.query(`CREATE TABLE csv_${seed} (LIKE rows_${seed})`);
    const { host, port, user, database, password } = server;
    await run(
      'psql',
      [
        '-q',
        '-h',
        host,
        '-p',
        String(port),
        '-U',
        user,
        '-d',
        database,
        '-c',
        `\\copy csv_${seed} FROM '${path.join(folder, `${seed}.csv`)}' CSV HEADER`,
      ],
      {
        env: { ...process.env, PGPASSWORD: password },
      },
    );
    expect(await textsOf(`csv_${seed}`, names)).toEqual(expected);
  });
});

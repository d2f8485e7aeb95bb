/** A restore that is killed with SIGKILL at a named point: nothing half-written is ever at the target, and the next try of the job succeeds. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { PastOutput } from '../../../src/domain/past-states.ts';
import { startPostgres, type RunningPostgres } from '../../../src/faces/stack/postgres.ts';
import { planRestoring, type RestoringPlan } from '../../../src/systems/tables/restoring.ts';
import { ORDERS_START_US } from '../../engine/tables/orders-table.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { createInstallation, type Installation } from '../../systems/installation.ts';
import { amountOf, archiveOrders, BAD_US, ROWS } from '../../systems/tables/orders-installation.ts';
import { raiseKafka, type KafkaStage } from '../../systems/tables/kafka-stage.ts';
import { FILE_POINTS, POSTGRES_POINTS, TOPIC_PREPARE_POINTS, TOPIC_WRITE_POINTS, type RestorePoint } from './restore-points.ts';

const SCRIPT = path.join(import.meta.dirname, 'restore-process.ts');

let installation: Installation;
beforeAll(async () => {
  installation = await createInstallation();
  await installation.addStore('a');
  await archiveOrders(installation);
});
afterAll(async () => installation[Symbol.asyncDispose]());

interface Try {
  readonly killed: boolean;
  readonly out: string;
}

interface Trying {
  readonly variables?: object;
  readonly prepared?: boolean;
}

const tryOnce = (plan: RestoringPlan, owner: string, point: RestorePoint | '-', { variables, prepared }: Trying = {}): Promise<Try> =>
  new Promise((resolve, reject) => {
    const args = [SCRIPT, installation.folder, JSON.stringify(plan), owner, point, ...(prepared ? ['prepared'] : [])];
    execFile(
      process.execPath,
      args,
      { env: { ...installation.variables, TMPDIR: installation.folder, ...variables } },
      (error, out, err) => {
        if (error === null || error.signal === 'SIGKILL') resolve({ killed: error !== null, out });
        else reject(new Error(`${String(error.code)}: ${err}`));
      },
    );
  });

const planTo = (output: PastOutput): Promise<RestoringPlan> =>
  planRestoring(installation.home, 'orders', { kind: 'time', us: ORDERS_START_US + BAD_US - 1 }, output);

/** One that DuckDB writes, and one of lines. */
describe.each(['csv', 'sql'] as const)('a file of %s', (format) => {
  const folder = (): string => path.join(installation.folder, 'restored');
  const target = (): string => path.join(folder(), `orders.${format}`);
  let reference: Buffer;
  let answer: string;
  beforeAll(async () => {
    rmSync(folder(), { recursive: true, force: true });
    mkdirSync(folder(), { recursive: true });
    ({ out: answer } = await tryOnce(await planTo({ kind: 'file', path: target(), format }), 'reference', '-'));
    reference = readFileSync(target());
    rmSync(target());
  });

  // What DuckDB has written comes at once.
  const points = FILE_POINTS.filter((point) => format === 'sql' || point !== 'rows half written');
  test.each(points)('killed: %s', async (point) => {
    const plan = await planTo({ kind: 'file', path: target(), format });
    expect(await tryOnce(plan, 'run', point)).toEqual({ killed: true, out: '' });
    // There, and whole, or not there.
    if (existsSync(target())) expect(readFileSync(target()).equals(reference)).toBe(true);
    else expect(['after the link', 'before tidying up']).not.toContain(point);
    expect(await tryOnce(plan, 'run', '-')).toEqual({ killed: false, out: answer });
    expect(readFileSync(target()).equals(reference)).toBe(true);
    expect(readdirSync(folder())).toEqual([`orders.${format}`]);
    rmSync(target());
  });

  test('the restored rows are those from before the bad batch', () => {
    expect(JSON.parse(answer)).toMatchObject({ rows: ROWS });
    if (format === 'csv')
      expect(reference.toString().split('\n').slice(1, -1)).toEqual(
        Array.from({ length: ROWS }, (_, id) => `${id},${amountOf(id)},n ${id},`),
      );
  });
});

const describePostgres = await describeWith('postgres');
describePostgres('a table of PostgreSQL', () => {
  let server: RunningPostgres;
  let client: pg.Client;
  beforeAll(async () => {
    server = await startPostgres({}, finder);
    const { host, port, user, password, database } = server;
    client = new pg.Client({ host, port, user, password, database });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await server.stop();
  });
  const count = async (): Promise<string | null> => {
    const there = await client.query<{ oid: string | null }>(`SELECT to_regclass('orders')::text AS oid`);
    return there.rows[0]?.oid === null ? null : (await client.query<{ n: string }>('SELECT count(*)::text AS n FROM orders')).rows[0]!.n;
  };

  test.each(POSTGRES_POINTS)('killed: %s', async (point) => {
    const { host, port, user, password, database } = server;
    const plan = await planTo({
      kind: 'postgres',
      table: 'orders',
      server: { host, port, user, database, password: 'env:SECRET', tls: null },
    });
    expect(await tryOnce(plan, 'run', point, { variables: { SECRET: password } })).toEqual({ killed: true, out: '' });
    expect(await count()).toBe(point === 'after the commit' ? String(ROWS) : null);
    expect(JSON.parse((await tryOnce(plan, 'run', '-', { variables: { SECRET: password } })).out)).toMatchObject({ rows: ROWS });
    const { rows } = await client.query<{ id: string; amount: string; note: string }>('SELECT id, amount, note FROM orders ORDER BY id');
    expect(rows).toEqual(Array.from({ length: ROWS }, (_, id) => ({ id: String(id), amount: amountOf(id), note: `n ${id}` })));
    await client.query('DROP TABLE orders');
  });
});

interface TopicRow {
  readonly id: number;
  readonly note: string;
}

const describeKafka = await describeWith('kafka');
describeKafka('a topic', () => {
  let kafka: KafkaStage;
  beforeAll(async () => {
    kafka = await raiseKafka();
  });
  afterAll(async () => kafka[Symbol.asyncDispose]());

  const planOf = (topic: string): Promise<RestoringPlan> =>
    planTo({ kind: 'topic', topic, partitions: 2, replicas: 1, cluster: { brokers: [...kafka.brokers], tls: null, sasl: null } });

  /** What compaction would leave: the last of each key. */
  const rowsIn = async (topic: string): Promise<ReadonlyMap<string, TopicRow>> => {
    const consumer = (await kafka.kafka()).consumer({ groupId: `look ${topic}` });
    const rows = new Map<string, TopicRow>();
    const ends = await kafka.admin.fetchTopicOffsets(topic);
    const left = new Set(ends.filter(({ high }) => high !== '0').map(({ partition }) => partition));
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachMessage: ({ partition, message: { key, value, offset } }) => {
            rows.set(String(key), JSON.parse(String(value)) as TopicRow);
            if (BigInt(offset) + 1n === BigInt(ends.find((end) => end.partition === partition)?.high ?? 0)) left.delete(partition);
            if (left.size === 0) resolve();
            return Promise.resolve();
          },
        })
        .catch(reject);
    });
    await consumer.disconnect();
    return rows;
  };

  test.each([...TOPIC_PREPARE_POINTS, ...TOPIC_WRITE_POINTS])('killed: %s', async (point) => {
    const topic = `past-${point.replaceAll(' ', '-')}`;
    const plan = await planOf(topic);
    const prepared = TOPIC_WRITE_POINTS.some((one) => one === point);
    expect(await tryOnce(plan, 'run', point)).toEqual({ killed: true, out: '' });
    expect(JSON.parse((await tryOnce(plan, 'run', '-', { prepared })).out)).toMatchObject({ rows: ROWS });
    const rows = await rowsIn(topic);
    // Amounts are as the connector has them, so that a consumer of the live topic can read this one.
    const seen = [...rows.values()].map(({ id, note }) => ({ id, note })).sort((one, other) => one.id - other.id);
    expect(seen).toEqual(Array.from({ length: ROWS }, (_, id) => ({ id, note: `n ${id}` })));
  });
});

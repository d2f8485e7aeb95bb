/** `holdfast table` against a real Temporal server, a real broker and a worker for tables. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NativeConnection, Worker } from '@temporalio/worker';
import { Registry } from 'prom-client';
import { createTableActivities } from '../../../activities/tables.ts';
import { QUEUE_TABLES } from '../../../src/domain/jobs.ts';
import type { TableStatus } from '../../../src/systems/tables/table-status.ts';
import { createTableMetrics } from '../../../src/systems/tables/table-metrics.ts';
import type { Retention } from '../../../src/systems/tables/upkeep.ts';
import { raiseKafka, until, type KafkaStage } from '../../systems/tables/kafka-stage.ts';
import { raiseStage, type Stage } from '../../workflows/stage.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf, type CliOptions, type CliRun } from './run-cli.ts';

const describeBoth = await describeWith('temporal', 'kafka');
describeBoth('holdfast table', () => {
  let stage: Stage;
  let kafka: KafkaStage;
  let options: CliOptions;
  let stopWorker: () => Promise<void>;
  const registry = new Registry();
  const run = (...args: readonly string[]): Promise<CliRun> => cli(['table', ...args], options);
  const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(['table', ...args], options);
  const refused = async (...args: readonly string[]) => errorOf(await run(...args, '--json'));
  const source = (): string[] => ['--store', 'a', '--brokers', kafka.brokers.join(','), '--topic', 'orders'];

  beforeAll(async () => {
    [stage, kafka] = await Promise.all([raiseStage(finder), raiseKafka()]);
    const { installation, temporal } = stage;
    await installation.addStore('a');
    await kafka.createTopic('orders', 2);
    options = {
      variables: {
        ...installation.variables,
        ...{ TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: temporal.namespace, NEXT: 'another passphrase' },
      },
    };
    const connection = await NativeConnection.connect({ address: temporal.address });
    const metrics = createTableMetrics(registry);
    const worker = await Worker.create({
      ...{ connection, namespace: temporal.namespace, taskQueue: QUEUE_TABLES, shutdownGraceTime: 0 },
      activities: createTableActivities({
        home: installation.home,
        onEvent: metrics.note,
        onOpen: (table, archive) => metrics.follow(table, archive),
      }),
      ...{ maxHeartbeatThrottleInterval: 500, defaultHeartbeatThrottleInterval: 500 },
    });
    const running = worker.run();
    stopWorker = async () => {
      worker.shutdown();
      await running;
      await connection.close();
    };
  }, 240_000);
  afterAll(async () => {
    await stopWorker();
    await kafka[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const send = (from: number, count: number) =>
    kafka.producer.send({
      topic: 'orders',
      messages: Array.from({ length: count }, (_, i) => ({ key: String(from + i), value: `{"n":${from + i}}` })),
    });
  const status = (): Promise<TableStatus> => json<TableStatus>('status', 'orders');

  test('what does not fit is refused with its field, before anything is entered', async () => {
    const plain = ['--form', 'plain', '--time', 'at'];
    expect(await refused('add', 'orders', ...source(), ...plain)).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: '--time' } });
    const sasl = ['--sasl', 'plain', '--username', 'u'];
    expect(await refused('add', 'orders', ...source(), ...sasl)).toMatchObject({ details: { field: '--password' } });
    const secret = await run('add', 'orders', ...source(), ...sasl, '--password', 'hunter2', '--json');
    expect(errorOf(secret).code).toBe('ARGUMENT_INVALID');
    expect(secret.err).not.toContain('hunter2');
    expect(await refused('add', 'orders', ...source().with(3, 'nowhere'))).toMatchObject({
      code: 'ARGUMENT_INVALID',
      message: expect.stringContaining('source.brokers'),
    });
    expect(await refused('status', 'orders')).toMatchObject({ code: 'TABLE_NOT_FOUND', exitCode: 3 });
    expect(await refused('archive', 'start', 'orders')).toMatchObject({ code: 'TABLE_NOT_FOUND' });
    expect(await json('list')).toEqual([]);
  });

  test('a table is added, archived, looked at, snapshotted, cut back and ended', async () => {
    await json('add', 'orders', ...source(), '--form', 'plain', '--snapshot-bytes', 'none', '--retain', '30d');
    expect(await refused('add', 'orders', ...source(), '--form', 'plain')).toMatchObject({ code: 'TABLE_EXISTS' });
    expect(await refused('set', 'orders', ...source())).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'form' } });
    expect(await refused('status', 'orders')).toMatchObject({ code: 'TABLE_NOT_ARCHIVED' });
    expect(await json('archive', 'start', 'orders')).toMatchObject({ job: 'archive.orders', joined: false });
    await send(0, 100);
    await kafka.producer.send({ topic: 'orders', messages: [{ key: 'x', value: 'no json', partition: 0 }] });
    const total = async () => (await status().catch(() => null))?.partitions.reduce((sum, { next }) => sum + next, 0);
    await until(async () => (await total()) === 101);
    const found = await status();
    expect(found.quarantined).toEqual([{ partition: 'orders/0', offset: expect.any(Number), reason: 'NOT_JSON' }]);
    expect(found.window.latestUs).toBeGreaterThan((Date.now() - 60_000) * 1000);
    expect((await run('archive', 'status', 'orders')).out).toMatch(/orders\/0 .*\n(.*\n)*.*NOT_JSON/);
    expect(await json('list')).toMatchObject([{ name: 'orders', archiving: true, retainMs: 30 * 86_400_000, snapshots: { bytes: null } }]);

    await json('snapshot', 'orders');
    const made = async () => (await status()).partitions.map(({ snapshots }) => snapshots);
    await until(async () => (await made()).every((count) => count > 0), made);
    const { plan, applied } = await json<Retention>('retain', 'orders', '--dry-run');
    expect([applied, plan.partitions.map(({ keptAll }) => keptAll)]).toEqual([false, Array(2).fill('NO_BASE_BEFORE_THE_WINDOW')]);
    expect((await json<Retention>('retain', 'orders', '--keep', '1s')).applied).toBe(true);
    expect((await run('retain', 'orders', '--dry-run')).out).toMatch(/would go/);

    const metrics = await registry.metrics();
    expect(metrics).toMatch(/holdfast_table_records_total\{table="orders"\} 101/);
    expect(metrics).toMatch(/holdfast_table_quarantined_total\{table="orders"\} 1/);
    expect(metrics).toMatch(/holdfast_table_lag_seconds\{table="orders"\} \d/);

    await json('archive', 'pause', 'orders');
    await json('archive', 'resume', 'orders');
    await json('archive', 'stop', 'orders');
    await until(async () => (await json<{ readonly archiving: boolean }[]>('list'))[0]?.archiving === false);
  });

  test("a store's changed passphrase opens the archives of its tables, too", async () => {
    const changed = await cliJson(['store', 'passphrase', 'a', '--new', 'env:NEXT'], options);
    expect(changed).toMatchObject({ tables: [{ table: 'orders', change: 'changed' }] });
    expect((await status()).partitions).toHaveLength(2);
  });

  test('partitions that lost records begin anew when an operator says so', async () => {
    expect(await json('whole', 'orders')).toEqual({ table: 'orders', whole: [] });
    expect(await json('whole', 'orders', '--partition', 'orders/1')).toEqual({ table: 'orders', whole: ['orders/1'] });
    expect(await refused('whole', 'orders', '--partition', 'orders/7')).toMatchObject({ code: 'ARGUMENT_INVALID' });
  });

  test('a table that is removed leaves its archive, and finds it when it is added again', async () => {
    await json('remove', 'orders');
    expect(await refused('status', 'orders')).toMatchObject({ code: 'TABLE_NOT_FOUND' });
    await json('add', 'orders', ...source(), '--form', 'plain');
    expect((await status()).partitions).toHaveLength(2);
  });
});

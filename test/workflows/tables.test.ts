/** archiveTable on a real server, over a real broker: steered by its updates, handed on from a worker that ends, ended by the catalog. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createTableActivities } from '../../activities/tables.ts';
import { storeName } from '../../src/domain/ids.ts';
import { PAUSE_UPDATE, QUEUE_TABLES, RESUME_UPDATE, SNAPSHOT_NOW_UPDATE } from '../../src/domain/jobs.ts';
import { tableDefinition, type TableDefinition } from '../../src/engine/catalog/tables.ts';
import type { TableState } from '../../src/engine/tables/archive/state.ts';
import { openTable } from '../../src/systems/tables/opening.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { PLAIN, raiseKafka, sourceOf, until as untilHolds, type KafkaStage } from '../systems/tables/kafka-stage.ts';
import { failureOf, raiseStage, statusOf, until, type Stage } from './stage.ts';

const describeBoth = await describeWith('temporal', 'kafka');
describeBoth('archiveTable', () => {
  let stage: Stage;
  let kafka: KafkaStage;
  let connection: NativeConnection;

  beforeAll(async () => {
    [stage, kafka] = await Promise.all([raiseStage(finder), raiseKafka()]);
    await stage.installation.addStore('a');
    connection = await NativeConnection.connect({ address: stage.temporal.address });
  }, 240_000);
  afterAll(async () => {
    await connection.close();
    await stage[Symbol.asyncDispose]();
    await kafka[Symbol.asyncDispose]();
  });

  /** A worker as `holdfast up` starts one; stopped when it is disposed of. */
  const startWorker = async (): Promise<AsyncDisposable> => {
    const activities = createTableActivities({ home: stage.installation.home });
    const { namespace } = stage.temporal;
    const worker = await Worker.create({
      ...{ connection, namespace, activities, taskQueue: QUEUE_TABLES, shutdownGraceTime: 0, shutdownForceTime: 5000 },
      ...{ maxHeartbeatThrottleInterval: 500, defaultHeartbeatThrottleInterval: 500 },
    });
    const running = worker.run();
    return {
      async [Symbol.asyncDispose]() {
        worker.shutdown();
        await running;
      },
    };
  };

  const addTable = async (name: string): Promise<TableDefinition> => {
    await kafka.createTopic(name, 2);
    const table = tableDefinition.parse({
      ...{ name, store: storeName('a'), form: PLAIN, source: sourceOf(kafka, name), retainMs: null },
      snapshots: { bytes: null, changed: null, ageMs: null },
    });
    await stage.installation.home.catalog.append(() => ({ kind: 'TABLE_ADD', table }));
    return table;
  };
  const send = (topic: string, from: number, count: number) =>
    kafka.producer.send({
      topic,
      messages: Array.from({ length: count }, (_, i) => ({ key: String(from + i), value: `{"n":${from + i}}` })),
    });
  const stateOf = async (name: string): Promise<TableState | null> => {
    const opened = await openTable(stage.installation.home, name).catch(() => null);
    return opened?.archive.known() ?? null;
  };
  const archived = async (name: string): Promise<number> =>
    [...((await stateOf(name))?.partitions.values() ?? [])].reduce((sum, { next }) => sum + next, 0);

  test('archives until it is cancelled; a pause ends the consumer, and what came meanwhile is archived after it', async () => {
    await addTable('orders');
    await using _ = await startWorker();
    const job = await stage.start('archiveTable', { table: 'orders' });
    await send('orders', 0, 50);
    await untilHolds(async () => (await archived('orders')) === 50);
    await job.executeUpdate(PAUSE_UPDATE);
    await until(job, ({ state }) => state === 'paused');
    await untilHolds(async () => (await job.describe()).raw.pendingActivities?.length === 0);
    await send('orders', 50, 50);
    expect(await archived('orders')).toBe(50);
    await job.executeUpdate(RESUME_UPDATE);
    await untilHolds(async () => (await archived('orders')) === 100);
    expect(await statusOf(job)).toMatchObject({ kind: 'archiveTable', state: 'running', phase: 'archiving' });
    await job.cancel();
    await expect(job.result()).rejects.toThrow('cancelled');
    const book = (await stage.installation.home.catalog.sync()).jobs.get('archive.orders');
    expect(book?.ended?.outcome).toBe('cancelled');
  });

  test('a snapshot that is asked for is made of each partition, and archiving goes on', async () => {
    await addTable('asked');
    await using _ = await startWorker();
    const job = await stage.start('archiveTable', { table: 'asked' });
    await send('asked', 0, 100);
    await untilHolds(async () => (await archived('asked')) === 100);
    await job.executeUpdate(SNAPSHOT_NOW_UPDATE);
    const snapshots = async () => [...((await stateOf('asked'))?.partitions.values() ?? [])].map((one) => one.snapshots.length);
    await untilHolds(async () => (await snapshots()).every((made) => made > 0), snapshots);
    await send('asked', 100, 10);
    await untilHolds(async () => (await archived('asked')) === 110);
    await job.cancel();
    await expect(job.result()).rejects.toThrow('cancelled');
  });

  test('a keeper whose claim was taken over claims again at once, and what was asked for is made', async () => {
    await addTable('overtaken');
    await using _ = await startWorker();
    const job = await stage.start('archiveTable', { table: 'overtaken' });
    await send('overtaken', 0, 20);
    await untilHolds(async () => (await archived('overtaken')) === 20);
    const claim = async () => (await stateOf('overtaken'))?.claims.snapshots ?? 0;
    await untilHolds(async () => (await claim()) > 0);
    const { archive } = await openTable(stage.installation.home, 'overtaken');
    await archive.append(() => ({ kind: 'CLAIM', role: 'snapshots', owner: 'a keeper that was told to end' }));
    const late = await claim();
    await untilHolds(async () => (await claim()) > late);
    await job.executeUpdate(SNAPSHOT_NOW_UPDATE);
    await untilHolds(async () => [...((await stateOf('overtaken'))?.partitions.values() ?? [])].every((one) => one.snapshots.length > 0));
    await job.cancel();
    await expect(job.result()).rejects.toThrow('cancelled');
  });

  test('a worker that is stopped hands on, and the next one goes on where the log says', async () => {
    await addTable('handed');
    const first = await startWorker();
    const job = await stage.start('archiveTable', { table: 'handed' });
    await send('handed', 0, 20);
    await untilHolds(async () => (await archived('handed')) === 20);
    await first[Symbol.asyncDispose]();
    await send('handed', 20, 20);
    await using _ = await startWorker();
    await untilHolds(async () => (await archived('handed')) === 40);
    const parts = [...((await stateOf('handed'))?.partitions.values() ?? [])].flatMap((partition) => partition.parts);
    expect(parts.reduce((sum, { rows }) => sum + rows, 0)).toBe(40);
    await job.cancel();
    await expect(job.result()).rejects.toThrow('cancelled');
  });

  test('follows what the catalog says of the table, and ends when it says nothing any more', async () => {
    const table = await addTable('changing');
    await kafka.createTopic('changing-more', 1);
    await using _ = await startWorker();
    const job = await stage.start('archiveTable', { table: 'changing' });
    await send('changing', 0, 10);
    await untilHolds(async () => (await archived('changing')) === 10);
    const { catalog } = stage.installation.home;
    const source = { ...table.source, topics: [...table.source.topics, 'changing-more'] };
    await catalog.append(() => ({ kind: 'TABLE_SET', table: { ...table, source } }));
    await send('changing-more', 10, 10);
    await untilHolds(async () => (await archived('changing')) === 20);
    await catalog.append(() => ({ kind: 'TABLE_REMOVE', name: 'changing' }));
    expect(await job.result()).toEqual({ table: 'changing' });
  });

  test('what waiting cannot mend ends the job with its code', async () => {
    await using _ = await startWorker();
    expect(await stage.failure('archiveTable', { table: 'nowhere' })).toBe('TABLE_NOT_FOUND');
    await addTable('taken');
    const job = await stage.start('archiveTable', { table: 'taken' });
    await untilHolds(async () => ((await stateOf('taken'))?.claims.archive ?? 0) > 0);
    const { archive } = await openTable(stage.installation.home, 'taken');
    await archive.append(() => ({ kind: 'CLAIM', role: 'archive', owner: 'another installation' }));
    expect(await failureOf(job)).toBe('CLAIM_LOST');
  });
});

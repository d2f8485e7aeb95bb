/** A run of archiveTable for its recorded history: archived, paused, resumed, asked for a snapshot, changed, and ended by the catalog. */
import { NativeConnection, Worker } from '@temporalio/worker';
import type { WorkflowHandle } from '@temporalio/client';
import { createTableActivities } from '../../activities/tables.ts';
import { storeName } from '../../src/domain/ids.ts';
import { PAUSE_UPDATE, QUEUE_TABLES, RESUME_UPDATE, SNAPSHOT_NOW_UPDATE } from '../../src/domain/jobs.ts';
import { tableDefinition } from '../../src/engine/catalog/tables.ts';
import { openTable } from '../../src/systems/tables/opening.ts';
import { PLAIN, raiseKafka, sourceOf, until as untilHolds } from '../systems/tables/kafka-stage.ts';
import { until, type Stage } from '../workflows/stage.ts';

/** Returns when the job has ended. The store must be in the catalog. */
export async function runTableArchive(stage: Stage, store: string): Promise<WorkflowHandle> {
  const { installation, temporal } = stage;
  const { catalog } = installation.home;
  await using kafka = await raiseKafka();
  await kafka.createTopic('orders', 1);
  const table = tableDefinition.parse({
    ...{ name: 'orders', store: storeName(store), form: PLAIN, source: sourceOf(kafka, 'orders'), retainMs: null },
    snapshots: { bytes: null, changed: null, ageMs: null },
  });
  await catalog.append(() => ({ kind: 'TABLE_ADD', table }));
  const connection = await NativeConnection.connect({ address: temporal.address });
  const activities = createTableActivities({ home: installation.home });
  const worker = await Worker.create({
    ...{ connection, namespace: temporal.namespace, activities, taskQueue: QUEUE_TABLES, shutdownGraceTime: 0 },
    ...{ maxHeartbeatThrottleInterval: 500, defaultHeartbeatThrottleInterval: 500 },
  });
  const running = worker.run();
  const send = (n: number) => kafka.producer.send({ topic: 'orders', messages: [{ key: String(n), value: `{"n":${n}}` }] });
  const state = async () => (await openTable(installation.home, 'orders').catch(() => null))?.archive.known().partitions.get('orders/0');

  const job = await stage.start('archiveTable', { table: 'orders' });
  await send(1);
  await untilHolds(async () => (await state())?.next === 1);
  await job.executeUpdate(PAUSE_UPDATE);
  await until(job, (status) => status.state === 'paused');
  await send(2);
  await job.executeUpdate(RESUME_UPDATE);
  await untilHolds(async () => (await state())?.next === 2);
  await job.executeUpdate(SNAPSHOT_NOW_UPDATE);
  await untilHolds(async () => (await state())?.snapshots.length === 1);
  await catalog.append(() => ({ kind: 'TABLE_SET', table: { ...table, retainMs: 86_400_000 } }));
  await untilHolds(async () => ((await state())?.snapshots.length ?? 0) > 0 && (await job.describe()).historyLength > 40);
  await catalog.append(() => ({ kind: 'TABLE_REMOVE', name: 'orders' }));
  await job.result();
  worker.shutdown();
  await running;
  await connection.close();
  return job;
}

/**
 * The process that archives tables: a worker on a queue of its own, for what it does lasts as long as a table is archived and must neither
 * hold up a controller's short work nor be held up by bulk work.
 *
 * Killed at any moment, the next one goes on where the archives' logs say.
 */
import { Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { createTableActivities } from '../activities/tables.ts';
import { messageOf } from '../src/domain/errors.ts';
import { QUEUE_TABLES } from '../src/domain/jobs.ts';
import { readConfiguration, type Variables } from '../src/ground/configuration/configuration.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { serveMetrics } from '../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../src/ground/metrics/registry.ts';
import { createStoreMetrics } from '../src/ground/stores/measured.ts';
import type { TableEvent } from '../src/systems/tables/running.ts';
import { createTableMetrics } from '../src/systems/tables/table-metrics.ts';
import { openProcessHome } from './process-home.ts';
import { connectTemporal } from './temporal-connection.ts';
import { quietLogger } from './worker-process.ts';

/** An archiver and a keeper each: 16 tables. */
const ACTIVITIES_AT_ONCE = 32;
/** A batch that is being put is finished; what comes after is the next worker's. */
const GRACE_MS = 1000;

/** Runs until SIGINT or SIGTERM. */
export async function runTablesProcess(variables: Variables): Promise<void> {
  tightenAllocator();
  const configuration = readConfiguration(variables);
  const log = pino({ name: 'holdfast-tables', level: variables['HOLDFAST_LOG_LEVEL'] ?? 'info' }, pino.destination(2));
  Runtime.install({ logger: quietLogger(log), shutdownSignals: [] });
  const registry = createMetricsRegistry({ role: 'tables' });
  await using stack = new AsyncDisposableStack();
  const connection = await connectTemporal(configuration.temporal, log);
  stack.defer(() => connection.close());
  const home = stack.use(await openProcessHome(configuration, variables, log, createStoreMetrics(registry)));
  const metrics = createTableMetrics(registry);
  if (configuration.metrics.port > 0) {
    const served = stack.use(await serveMetrics({ registry, ...configuration.metrics }));
    log.info({ url: served.url }, 'metrics are served');
  }
  const activities = createTableActivities({
    home,
    onOpen: (table, archive) => metrics.follow(table, archive),
    onEvent(event) {
      metrics.note(event);
      const line = lineOf(event);
      log[line.level](line.facts, line.text);
    },
  });
  const worker = await Worker.create({
    ...{ connection, namespace: configuration.temporal.namespace, activities, taskQueue: QUEUE_TABLES },
    ...{ identity: `tables@${configuration.host}/${process.pid}`, shutdownGraceTime: GRACE_MS },
    maxConcurrentActivityTaskExecutions: ACTIVITIES_AT_ONCE,
    // Told to pause, an archiver hears of it with its next beat.
    ...{ maxHeartbeatThrottleInterval: 2000, defaultHeartbeatThrottleInterval: 1000 },
  });
  const stop = (): void => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  log.info({ host: configuration.host, queues: [QUEUE_TABLES] }, 'tables is serving');
  await worker.run();
  log.info('tables has stopped');
}

interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function lineOf(event: TableEvent): Line {
  const { table } = event;
  switch (event.kind) {
    case 'put':
      return { level: 'debug', facts: { table, ...event.figures }, text: 'a batch was put' };
    case 'partitions':
      return { level: 'info', facts: { table, added: event.added }, text: 'partitions are archived that were not before' };
    case 'interrupted':
      return {
        ...{ level: 'warn', text: 'archiving is interrupted and tried again' },
        facts: { table, code: event.error.code, error: event.error.message, againInMs: event.againInMs },
      };
    case 'merged':
      return { level: 'debug', facts: { table, segments: event.segments, bytes: event.bytes }, text: 'segments were merged' };
    case 'snapshot':
      return {
        level: 'info',
        facts: { table, partition: event.partition, form: event.form, because: event.because },
        text: 'a partition has a snapshot',
      };
    case 'dropped':
      return { level: 'info', facts: { table, packs: event.packs, bytes: event.bytes }, text: 'packs that nothing needs were deleted' };
    case 'postponed':
      return { level: 'warn', facts: { table, error: messageOf(event.error) }, text: 'merging and snapshots are postponed' };
    case 'kafka':
      return { level: event.level === 'error' ? 'warn' : 'debug', facts: { table, ...event.facts }, text: event.message };
  }
}

/**
 * A worker process: a home, threads, clients built once, and workers on the queues of its role.
 *
 * Nodes and controllers run the same activities. A controller serves workflows, short work and bulk work; a node serves
 * its host's queue, where volumes and restore targets are. Either may be killed at any moment: what it was doing is taken
 * up by the next one that serves the queue.
 */
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, Runtime, type NativeConnection, Worker, type WorkflowBundle } from '@temporalio/worker';
import { pino, type Logger } from 'pino';
import { createActivities } from '../activities/index.ts';
import { hostQueue, QUEUE, QUEUE_DATA } from '../src/domain/jobs.ts';
import { openHost } from '../src/engine/volumes/host.ts';
import { readConfiguration, type Configuration, type Variables } from '../src/ground/configuration/configuration.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { serveMetrics } from '../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../src/ground/metrics/registry.ts';
import { createStoreMetrics } from '../src/ground/stores/measured.ts';
import { giveWay } from '../src/ground/processes/give-way.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { createRiskMetrics } from '../src/systems/protection/domain/risk-metrics.ts';
import { journalsOf } from './journals.ts';
import { createLagMetrics } from '../src/systems/replication/sender-metrics.ts';
import { startWorkerEvents } from './events.ts';
import { openProcessHome } from './process-home.ts';
import { connectTemporal } from './temporal-connection.ts';

export type Role = 'node' | 'controller';

/** Bulk activities at once: each uses all threads, so a second one only fills its pauses. */
const BULK_AT_ONCE = 2;
const SHORT_AT_ONCE = 32;
/** Longest wait for running activities when a worker is asked to stop; they resume elsewhere. */
const GRACE_MS = 5000;

/** Runs until SIGINT or SIGTERM. */
export async function runWorkerProcess(role: Role, variables: Variables): Promise<void> {
  tightenAllocator();
  // Nodes work beside the applications that they protect, and so do controllers that share a node's host and its work.
  giveWay();
  const configuration = readConfiguration(variables);
  const log = pino({ name: `holdfast-${role}`, level: variables['HOLDFAST_LOG_LEVEL'] ?? 'info' }, pino.destination(2));
  Runtime.install({ logger: quietLogger(log), shutdownSignals: [] });
  const registry = createMetricsRegistry({ role });
  await using stack = new AsyncDisposableStack();
  const connection = await connectTemporal(configuration.temporal, log);
  stack.defer(() => connection.close());
  const home = stack.use(await openProcessHome(configuration, variables, log, createStoreMetrics(registry)));
  const threads = stack.use(new Threads(configuration.threads === null ? {} : { count: configuration.threads }));
  if (configuration.metrics.port > 0) {
    // One process of an installation at the least, and seldom more: each looks it up for itself.
    if (role === 'controller') {
      createLagMetrics(registry, home);
      createRiskMetrics(registry, home.environment, journalsOf(home));
    }
    const served = stack.use(await serveMetrics({ registry, ...configuration.metrics }));
    log.info({ url: served.url }, 'metrics are served');
  }
  if (role === 'controller') {
    const { host, temporal } = configuration;
    stack.use(startWorkerEvents({ home, host, connection, namespace: temporal.namespace, registry, log }));
  }
  const workers = await createWorkers(
    role,
    configuration,
    connection,
    createActivities({ home, host: openHost(configuration.host, configuration.folder), threads }),
  );
  const stop = (): void => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  log.info({ host: configuration.host, queues: workers.map((worker) => worker.options.taskQueue) }, `${role} is serving`);
  await Promise.all(workers.map((worker) => worker.run()));
  log.info(`${role} has stopped`);
}

async function createWorkers(
  role: Role,
  { host, temporal }: Configuration,
  connection: NativeConnection,
  activities: ReturnType<typeof createActivities>,
): Promise<readonly Worker[]> {
  const common = {
    connection,
    namespace: temporal.namespace,
    activities,
    shutdownGraceTime: GRACE_MS,
    identity: `${role}@${host}/${process.pid}`,
  };
  const bulk = {
    maxConcurrentActivityTaskExecutions: BULK_AT_ONCE,
    maxHeartbeatThrottleInterval: 2000,
    defaultHeartbeatThrottleInterval: 1000,
  };
  const local = await Worker.create({ ...common, ...bulk, taskQueue: hostQueue(host) });
  if (role === 'node') return [local];
  const control = await Worker.create({
    ...common,
    taskQueue: QUEUE,
    workflowBundle: await bundleWorkflows(),
    maxConcurrentActivityTaskExecutions: SHORT_AT_ONCE,
    maxCachedWorkflows: 200,
  });
  return [control, await Worker.create({ ...common, ...bulk, taskQueue: QUEUE_DATA }), local];
}

/** The workflows as one bundle; the emitted package has .js files where the sources have .ts. */
export const bundleWorkflows = (): Promise<WorkflowBundle> => {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL(`../workflows/index.${extension}`, import.meta.url)),
    logger: {
      log: () => undefined,
      trace: () => undefined,
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: () => undefined,
    },
  });
};

type TemporalLogger = NonNullable<NonNullable<Parameters<typeof Runtime.install>[0]>['logger']>;

/** Temporal's log lines in ours; its INFO is our debug. */
export const quietLogger = (log: Logger): TemporalLogger => ({
  log: (_level, message, meta) => log.debug({ ...meta }, message),
  trace: (message, meta) => log.trace({ ...meta }, message),
  debug: (message, meta) => log.trace({ ...meta }, message),
  info: (message, meta) => log.debug({ ...meta }, message),
  warn: (message, meta) => log.info({ ...meta }, message),
  error: (message, meta) => log.error({ ...meta }, message),
});

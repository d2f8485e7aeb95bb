/** The process of a replica: its store, certificates and metrics around one replica. */
import { pino } from 'pino';
import { messageOf } from '../src/domain/errors.ts';
import type { EarEvent } from '../src/engine/replication/transport/ear.ts';
import { checkExposure, parseListen, readServerCertificates } from '../src/engine/volumes/listening.ts';
import { readConfiguration, type Variables } from '../src/ground/configuration/configuration.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { serveMetrics } from '../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../src/ground/metrics/registry.ts';
import { createStoreMetrics } from '../src/ground/stores/measured.ts';
import { openBehind } from '../src/systems/regions/replica/behind.ts';
import { readReplicaConfiguration, type ReplicaConfiguration } from '../src/systems/regions/replica/configuration.ts';
import { createReplicaMetrics } from '../src/systems/regions/replica/metrics.ts';
import type { ServiceEvent } from '../src/systems/regions/replica/service.ts';
import { serveReplica, type ServingOptions, type ServingReplica } from '../src/systems/regions/replica/serving.ts';

/** Runs until SIGINT or SIGTERM. What waits then is moved after the next start. */
export async function runReplicaProcess(variables: Variables): Promise<void> {
  tightenAllocator();
  const installation = readConfiguration(variables);
  const configuration = readReplicaConfiguration(variables, installation);
  const { folder, takeOver, limits } = configuration;
  const log = pino({ name: 'holdfast-replica', level: variables['HOLDFAST_LOG_LEVEL'] ?? 'info' }, pino.destination(2));
  const listen = parseListen(configuration.listen, 'replica.listen');
  const tls = await tlsOf(configuration);
  // Before any store is asked.
  checkExposure(listen, tls?.certificates ?? null, 'replica.listen');
  const registry = createMetricsRegistry({ role: 'replica' });
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await openBehind(configuration, variables, createStoreMetrics(registry)));
  let serving: ServingReplica | null = null;
  const metrics = createReplicaMetrics(registry, () => serving?.replica.status() ?? null);
  serving = stack.use(
    await serveReplica({
      ...{ folder, store, host: installation.host, listen, tls, takeOver, limits },
      onWait: (ms, other) =>
        log.warn({ ms, other: other?.host, epoch: other?.epoch }, 'it waits for what another replica may still answer'),
      onFenced: (error) => log.error({ error: error.message }, 'the replica is fenced: nothing is answered and nothing moved any more'),
      onEvent(event) {
        metrics.note(event);
        const line = lineOf(event);
        if (line !== null) log[line.level](line.facts, line.text);
      },
    }),
  );
  if (installation.metrics.port > 0) {
    const served = stack.use(await serveMetrics({ registry, ...installation.metrics }));
    log.info({ url: served.url }, 'metrics are served');
  }
  if (takeOver !== 'no')
    log.warn(
      'what the replica before this one had not moved is lost: to journals this region is another one, under another name (docs/replica.md)',
    );
  const { url, epoch, waiting } = serving.status();
  log.info({ url, epoch, store: store.describe().url, waiting: waiting.entries, tls: tls !== null }, 'the replica is serving');
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
  await stack.disposeAsync();
  log.info('the replica has stopped');
}

async function tlsOf({ certificates, clients }: ReplicaConfiguration): Promise<ServingOptions['tls']> {
  return certificates === null ? null : { certificates: await readServerCertificates(certificates, 'replica.certificates'), clients };
}

interface Line {
  readonly level: 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function lineOf(event: EarEvent | ServiceEvent): Line | null {
  switch (event.kind) {
    case 'refused':
      return { level: 'warn', facts: { ...event }, text: 'a request was refused' };
    case 'back-pressure':
      return { level: 'warn', facts: {}, text: 'no room came free in time: the store behind is slower than the writers' };
    case 'full':
      return { level: 'warn', facts: {}, text: 'there was no room for a connection' };
    case 'failure':
      return { level: 'error', facts: { token: event.token, error: messageOf(event.error) }, text: 'a request failed here' };
    case 'answered':
    case 'gone':
      return null;
  }
}

/** The process of a receiver: its home, threads, certificates and metrics around one receiver. */
import { pino } from 'pino';
import { messageOf } from '../src/domain/errors.ts';
import type { ReceiverEvent, ReceiverTls } from '../src/engine/replication/transport/server.ts';
import { checkExposure, parseListen, readServerCertificates } from '../src/engine/volumes/listening.ts';
import { readConfiguration, type Configuration, type Variables } from '../src/ground/configuration/configuration.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { serveMetrics } from '../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../src/ground/metrics/registry.ts';
import { createStoreMetrics } from '../src/ground/stores/measured.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { receiverFolderOf } from '../src/systems/replication/receiver-folder.ts';
import { createReceiverMetrics } from '../src/systems/replication/receiver-metrics.ts';
import { startReceiver, type ReceiverService } from '../src/systems/replication/receiver-service.ts';
import { openProcessHome } from './process-home.ts';

/** Runs until SIGINT or SIGTERM. */
export async function runReceiverProcess(variables: Variables): Promise<void> {
  tightenAllocator();
  const configuration = readConfiguration(variables);
  const log = pino({ name: 'holdfast-receiver', level: variables['HOLDFAST_LOG_LEVEL'] ?? 'info' }, pino.destination(2));
  const registry = createMetricsRegistry({ role: 'receiver' });
  const listen = parseListen(configuration.receiver.listen, 'receiver.listen');
  const tls = await tlsOf(configuration);
  // Before any store is asked.
  checkExposure(listen, tls?.certificates ?? null, 'receiver.listen');
  await using stack = new AsyncDisposableStack();
  const home = stack.use(await openProcessHome(configuration, variables, log, createStoreMetrics(registry)));
  const threads = stack.use(new Threads(configuration.threads === null ? {} : { count: configuration.threads }));
  let service: ReceiverService | null = null;
  const metrics = createReceiverMetrics(registry, () => service?.sessions() ?? []);
  service = stack.use(
    await startReceiver({
      ...{ home, threads, folder: receiverFolderOf(configuration.folder), listen, tls },
      onEvent(event) {
        metrics.note(event);
        const line = lineOf(event);
        log[line.level](line.facts, line.text);
      },
      onEnd(session) {
        metrics.ended(session);
        const { lineage, snapshot, status, figures } = session;
        log.info({ lineage, snapshot, status, ...figures }, 'a session has ended');
      },
    }),
  );
  if (configuration.metrics.port > 0) {
    const served = stack.use(await serveMetrics({ registry, ...configuration.metrics }));
    log.info({ url: served.url }, 'metrics are served');
  }
  log.info({ url: service.server.url, tls: tls !== null, clients: tls?.clients ?? null }, 'the receiver is serving');
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
  await stack.disposeAsync();
  log.info('the receiver has stopped');
}

async function tlsOf({ receiver: { certificates, clients } }: Configuration): Promise<ReceiverTls | null> {
  return certificates === null ? null : { certificates: await readServerCertificates(certificates, 'receiver.certificates'), clients };
}

interface Line {
  readonly level: 'debug' | 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function lineOf(event: ReceiverEvent): Line {
  switch (event.kind) {
    case 'exchange':
    case 'answered':
      return { level: 'debug', facts: { ...event }, text: event.kind };
    case 'refused':
      return { level: 'warn', facts: { ...event }, text: 'an exchange was refused' };
    case 'gone':
      return { level: 'debug', facts: { ...event }, text: 'a sender left in the middle of an exchange' };
    case 'full':
      return { level: 'warn', facts: {}, text: 'there was no room for a connection' };
    case 'failure':
      return { level: 'error', facts: { token: event.token, error: messageOf(event.error) }, text: 'an exchange failed here' };
  }
}

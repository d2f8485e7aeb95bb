/**
 * The process of a disk server: the server, its metrics, and a home that is opened when a disk first needs its store.
 *
 * A store that is down, or a passphrase that is not there yet, must not keep a host from serving the disks that it has.
 */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { isPointOrigin } from '../src/engine/volumes/disks/disk-record.ts';
import { GroupFolder } from '../src/engine/volumes/disks/group-record.ts';
import { diskFolderOf, hooksFolderOf } from '../src/engine/volumes/host.ts';
import { parseListen, readServerCertificates } from '../src/engine/volumes/listening.ts';
import { readConfiguration, type Variables } from '../src/ground/configuration/configuration.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { serveMetrics } from '../src/ground/metrics/metrics-server.ts';
import { createMetricsRegistry } from '../src/ground/metrics/registry.ts';
import { createStoreMetrics } from '../src/ground/stores/measured.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import type { GroupEvent } from '../src/systems/protection/group.ts';
import { createModeNotes } from '../src/systems/protection/domain/state-notes.ts';
import { journalIn } from '../src/systems/protection/home-journal.ts';
import { createHostProtection } from '../src/systems/protection/host-protection.ts';
import { createPointOrigins } from '../src/systems/protection/instant-origin.ts';
import { createProtectionMetrics } from '../src/systems/protection/protection-metrics.ts';
import { createDiskMetrics } from '../src/systems/serving/disk-metrics.ts';
import { DiskServer, type DiskEvent } from '../src/systems/serving/disk-server.ts';
import { pinnedOrigin } from '../src/systems/serving/origin.ts';
import { openProcessHome } from './process-home.ts';
import { messageOf } from '../src/domain/errors.ts';

/** Runs until SIGINT or SIGTERM. */
export async function runDisksProcess(variables: Variables): Promise<void> {
  tightenAllocator();
  const configuration = readConfiguration(variables);
  const log = pino({ name: 'holdfast-disks', level: variables['HOLDFAST_LOG_LEVEL'] ?? 'info' }, pino.destination(2));
  const registry = createMetricsRegistry({ role: 'disks' });
  const metrics = createDiskMetrics(registry);
  await using stack = new AsyncDisposableStack();
  const storeMetrics = createStoreMetrics(registry);
  const parts = lazily(async () => {
    const home = stack.use(await openProcessHome(configuration, variables, log, storeMetrics));
    const threads = stack.use(new Threads(configuration.threads === null ? {} : { count: configuration.threads }));
    return { home, threads };
  });
  const pointOrigin = createPointOrigins(parts);
  const { listen, certificates } = configuration.disks;
  const folder = diskFolderOf(configuration.folder);
  const notes = createModeNotes({
    host: configuration.host,
    catalogOf: async () => (await parts()).home.catalog,
    onDropped: ({ journal, state }, why) => log.warn({ journal, state, error: why }, 'a change of state is not in the catalog'),
  });
  stack.defer(() => notes.stop());
  const protection = createHostProtection({
    folder: new GroupFolder(folder.journals),
    host: configuration.host,
    journalOf: async (group, create) => journalIn((await parts()).home, group, create),
    ...{ random: randomBytes, nowMs: () => performance.now() },
    onEvent({ journal, state, error }: GroupEvent) {
      const facts = { journal, state, ...(error === null ? {} : { error: messageOf(error) }) };
      log[error === null ? 'info' : 'warn'](facts, 'the state of a protected group');
      notes.note({ journal, state, why: error === null ? null : messageOf(error) });
    },
  });
  createProtectionMetrics(registry, () => protection.status());
  const server = await DiskServer.start({
    ...{ folder, protection },
    hooksFolder: hooksFolderOf(configuration.folder),
    listen: listen === null ? null : parseListen(listen, 'disks.listen'),
    certificates: certificates === null ? null : await readServerCertificates(certificates, 'disks.certificates'),
    originOf: (from, disk) => (isPointOrigin(from) ? pointOrigin(from, disk) : pinnedOrigin(parts, from)),
    onEvent(event) {
      metrics.note(event);
      const line = lineOf(event);
      if (line !== null) log[line.level](line.facts, line.text);
    },
  });
  if (configuration.metrics.port > 0) {
    const served = stack.use(await serveMetrics({ registry, ...configuration.metrics }));
    log.info({ url: served.url }, 'metrics are served');
  }
  log.info({ host: configuration.host, addresses: server.addresses, disks: server.disks }, 'disks are served');
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
  // Before the home: a disk that is hydrated still reads through it.
  await server[Symbol.asyncDispose]();
  log.info('the disk server has stopped');
}

/** Made at the first call; again after one that failed. */
function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () =>
    (made ??= make().catch((error: unknown) => {
      made = null;
      throw error;
    }));
}

interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function lineOf(event: DiskEvent): Line | null {
  switch (event.kind) {
    case 'unserved':
      return { level: 'error', facts: { disk: event.disk, error: messageOf(event.error) }, text: 'a disk cannot be served' };
    case 'hydrated':
      return { level: 'info', facts: { disk: event.disk }, text: 'a disk stands alone' };
    case 'hydration-failed':
      return { level: 'warn', facts: { disk: event.disk, error: messageOf(event.error) }, text: 'a disk does not get what it lacks' };
    case 'pin-left':
      return {
        level: 'warn',
        facts: { disk: event.disk, pin: event.pin, error: messageOf(event.error) },
        text: 'a pin could not be lifted',
      };
    case 'mistake':
      return {
        level: 'error',
        facts: { error: event.error instanceof Error ? event.error.stack : String(event.error) },
        text: 'a mistake',
      };
    case 'nbd':
      if (event.event.kind !== 'failure') return { level: 'debug', facts: { ...event.event }, text: 'nbd' };
      return { level: 'warn', facts: { ...event.event, error: messageOf(event.event.error) }, text: 'a request failed' };
    case 'volume':
      return lineOfVolume(event.disk, event.event);
  }
}

function lineOfVolume(disk: string, event: Extract<DiskEvent, { readonly kind: 'volume' }>['event']): Line | null {
  switch (event.kind) {
    case 'frozen':
      return { level: 'info', facts: { disk, snapshot: event.snapshot, pauseMs: event.pauseMs }, text: 'a moment is frozen' };
    case 'gaveUp':
      return { level: 'warn', facts: { disk, snapshot: event.snapshot }, text: 'a view that nobody read was given up for its writers' };
    case 'held':
      return { level: 'debug', facts: { disk, ms: event.ms }, text: 'a writer waited for a view' };
    case 'originFailed':
      return { level: 'warn', facts: { disk, error: messageOf(event.error) }, text: 'the store of a disk cannot be opened' };
    case 'fetchFailed':
      return { level: 'warn', facts: { disk, extent: event.extent, error: messageOf(event.error) }, text: 'an extent cannot be had' };
    case 'firstTouch':
      return null;
  }
}

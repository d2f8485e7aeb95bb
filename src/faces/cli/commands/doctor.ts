/** `holdfast doctor`: looks at everything this machine needs and says what is wrong; the exit status is that of the first fault. */
import { statfs } from 'node:fs/promises';
import type { Command } from 'commander';
import { ERROR_KINDS, type ErrorCode, type HoldfastError } from '../../../domain/errors.ts';
import { hostQueue, QUEUE, QUEUE_DATA } from '../../../domain/jobs.ts';
import { GIB } from '../../../domain/limits.ts';
import type { DiskStatus } from '../../../engine/volumes/disks/disk-control.ts';
import type { CatalogState } from '../../../engine/catalog/catalog.ts';
import { asHoldfastError } from '../render-error.ts';
import { counted, formatBytes, formatDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { readVersion } from '../version.ts';

interface Check {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'fault';
  readonly found: string;
  readonly code: ErrorCode | null;
}

const CACHE_BYTES_LOW = GIB;
/** Temporal forgets a poller that is gone after five minutes; one that lives polls once a minute. */
const POLLER_FRESH_MS = 90_000;

const faultOf = (what: string, error: HoldfastError): Check => ({
  what,
  state: 'fault',
  found: `${error.code}: ${error.message}`,
  code: error.code,
});

/** Runs a look; what it throws is what it found. */
async function look(what: string, work: () => Promise<string | Check>): Promise<Check> {
  try {
    const found = await work();
    return typeof found === 'string' ? { what, state: 'ok', found, code: null } : found;
  } catch (error) {
    return faultOf(what, asHoldfastError(error));
  }
}

const warning = (what: string, found: string): Check => ({ what, state: 'warning', found, code: null });

async function checkStores(session: Session, state: CatalogState): Promise<Check[]> {
  const { resolvePassphrase } = await import('../../../ground/sealing/passphrase.ts');
  const home = await session.home();
  const checks: Check[] = [];
  for (const { name, passphrase, url } of state.stores.values()) {
    checks.push(
      await look(`store ${name}`, async () => {
        const begunMs = performance.now();
        await (await home.store(name)).list('repositories/', { limit: 1 });
        return `${url} answers in ${formatDuration(performance.now() - begunMs)}`;
      }),
      await look(`passphrase of ${name}`, async () => {
        await resolvePassphrase(passphrase, session.variables);
        return `${passphrase} yields one`;
      }),
    );
  }
  return checks;
}

async function checkQueue(session: Session, queue: string, kind: 'workflow' | 'activity', remedy: string): Promise<Check> {
  return look(`workers on ${queue}`, async () => {
    const now = Date.now();
    const fresh = (await (await session.jobs()).pollers(queue, kind)).filter((poller) => now - poller.seenMs < POLLER_FRESH_MS);
    const names = [...new Set(fresh.map((poller) => poller.identity))];
    if (names.length > 0) return names.join(', ');
    return { what: `workers on ${queue}`, state: 'fault', found: `none; ${remedy}`, code: 'NODE_UNAVAILABLE' };
  });
}

async function checkTemporal(session: Session): Promise<Check[]> {
  const { temporal } = await session.configuration();
  const server = await look('Temporal', async () => `${await (await session.jobs()).serverVersion()} at ${temporal.address}`);
  if (server.state === 'fault') return [server];
  const { SEARCH_ATTRIBUTES, temporalIsReady } = await import('../../stack/temporal.ts');
  const attributes = await look(`namespace ${temporal.namespace}`, async () => {
    if (await temporalIsReady(temporal, SEARCH_ATTRIBUTES)) return 'has the search attributes';
    const names = Object.keys(SEARCH_ATTRIBUTES).map((name) => `--name ${name} --type Keyword`);
    const found = `lacks search attributes: temporal operator search-attribute create --namespace ${temporal.namespace} ${names.join(' ')}`;
    return { what: `namespace ${temporal.namespace}`, state: 'fault', found, code: 'CONFIG_INVALID' };
  });
  return [server, attributes];
}

async function checkCache(session: Session): Promise<Check> {
  const { cacheDir } = await session.configuration();
  return look('cache', async () => {
    const { mkdir } = await import('node:fs/promises');
    await mkdir(cacheDir, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(cacheDir);
    const found = `${formatBytes(bavail * bsize)} free at ${cacheDir}`;
    return bavail * bsize < CACHE_BYTES_LOW ? warning('cache', found) : found;
  });
}

/** What this machine serves as disks, if it does. */
async function checkDisks(session: Session): Promise<Check[]> {
  const { diskFolderOf, openHost } = await import('../../../engine/volumes/host.ts');
  const { folder, host } = await session.configuration();
  const records = await diskFolderOf(folder).list();
  if (records.length === 0) return [];
  const { disks } = openHost(host, folder);
  let served: readonly DiskStatus[];
  try {
    served = await disks.list();
  } catch (error) {
    return [faultOf('disks', asHoldfastError(error))];
  }
  const status = new Map(served.map((one) => [one.record.name, one]));
  return records.map(({ name, path }) => {
    const what = `disk ${name}`;
    const one = status.get(name);
    if (one === undefined)
      return { what, state: 'fault', found: `${path} cannot be served; the log of the disk server says why`, code: 'SOURCE_UNREADABLE' };
    const { hydration, connections, writersHeld } = one;
    const trouble = hydration?.trouble ?? null;
    if (trouble !== null) return warning(what, `does not get what it lacks: ${trouble.message}`);
    if (writersHeld > 0) return warning(what, `its writers had to wait for a view ${writersHeld} times`);
    return { what, state: 'ok', found: `${path}, ${counted(connections, 'client')}`, code: null };
  });
}

async function examine(session: Session): Promise<readonly Check[]> {
  const checks: Check[] = [
    await look(
      'versions',
      async () => `holdfast ${await readVersion()}, Node ${process.versions.node}, ${process.platform} ${process.arch}`,
    ),
  ];
  const configuration = await look('configuration', async () => {
    const { folder, host, home, temporal, metrics } = await session.configuration();
    return `folder ${folder}, host ${host}, home ${home.url} (${home.passphrase}), Temporal ${temporal.address}/${temporal.namespace}, metrics port ${metrics.port || 'none'}`;
  });
  checks.push(configuration);
  if (configuration.state === 'fault') return checks;
  checks.push(await checkCache(session), ...(await checkDisks(session)));
  let state: CatalogState | null = null;
  checks.push(
    await look('catalog', async () => {
      state = await (await session.home()).catalog.sync();
      return `${counted(state.stores.size, 'store')}, ${counted(state.volumes.size, 'volume')}, record ${state.n}`;
    }),
  );
  const catalog: CatalogState | null = state;
  if (catalog !== null) checks.push(...(await checkStores(session, catalog)));
  const temporal = await checkTemporal(session);
  checks.push(...temporal);
  if (temporal[0]?.state === 'fault') return checks;
  checks.push(await checkQueue(session, QUEUE, 'workflow', '`holdfast up` or `holdfast controller` starts one'));
  checks.push(await checkQueue(session, QUEUE_DATA, 'activity', '`holdfast up` or `holdfast controller` starts one'));
  for (const host of nodesOf(catalog))
    checks.push(await checkQueue(session, hostQueue(host), 'activity', `start \`holdfast node\` on ${host}`));
  return checks;
}

const nodesOf = (state: CatalogState | null): readonly string[] => [
  ...new Set([...(state?.volumes.values() ?? [])].filter((volume) => !volume.retired).map((volume) => volume.node)),
];

async function doctor(session: Session): Promise<void> {
  const checks = await examine(session);
  const fault = checks.find((check) => check.state === 'fault');
  if (fault) session.fail(ERROR_KINDS[fault.code ?? 'INTERNAL'].exitCode);
  session.print({ ok: fault === undefined, checks }, () =>
    renderTable(
      [
        { title: 'WHAT', cell: (check) => check.what },
        { title: 'STATE', cell: (check) => (check.state === 'fault' ? 'FAULT' : check.state) },
        { title: 'FOUND', cell: (check) => check.found },
      ],
      checks,
      'nothing was looked at',
    ),
  );
}

export function addDoctorCommand(program: Command, session: Session): void {
  program
    .command('doctor')
    .description('look at everything that is needed and say what is wrong')
    .helpGroup('When something is broken:')
    .action(() => doctor(session));
}

/** `holdfast up`, `down`, `status`, `node`, `controller`: the processes of this machine. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import type { ComponentStatus, StackOptions } from '../../stack/standing-stack.ts';
import type { StackComponent } from '../../stack/standing-record.ts';
import type { Session } from '../session.ts';
import type { WorkerStatus } from '../standing-workers.ts';
import { renderTable } from '../table.ts';
import { runWorker } from '../run-worker.ts';
import { WORKER_ROLES } from '../worker-entry.ts';

const COMPONENTS: ReadonlySet<string> = new Set<StackComponent>(['temporal', 's3', 'kafka']);

function components(text: string, before: readonly StackComponent[] | undefined): readonly StackComponent[] {
  const named = text.split(',').map((name) => name.trim());
  const unknown = named.find((name) => !COMPONENTS.has(name));
  if (unknown !== undefined)
    throw new HoldfastError('ARGUMENT_INVALID', `there is no component ${JSON.stringify(unknown)}`, {
      field: '--with',
      expected: 's3, kafka or temporal',
    });
  return [...new Set([...(before ?? []), ...(named as StackComponent[])])];
}

async function stackOptions(session: Session, named?: readonly StackComponent[]): Promise<StackOptions> {
  const { stackEnvironmentOf } = await import('../standing-configuration.ts');
  return {
    environment: stackEnvironmentOf(session.variables),
    progress: session.say,
    ...(named === undefined ? {} : { components: named }),
  };
}

interface Installation {
  readonly components: readonly ComponentStatus[];
  readonly workers: readonly WorkerStatus[];
}

function renderInstallation({ components: servers, workers }: Installation): string {
  const lines = [
    ...servers.map(({ component, state, address, uiUrl, pid, logFile }) => ({
      name: component,
      state,
      pid,
      where: uiUrl ?? address ?? '',
      logFile: logFile ?? '',
    })),
    ...workers.map(({ worker, state, pid, metricsUrl, logFile }) => ({ name: worker, state, pid, where: metricsUrl ?? '', logFile })),
  ];
  return renderTable(
    [
      { title: 'WHAT', cell: (line) => line.name },
      { title: 'STATE', cell: (line) => line.state },
      { title: 'PID', align: 'right', cell: (line) => (line.pid === null ? '' : String(line.pid)) },
      { title: 'WHERE', cell: (line) => line.where },
      { title: 'LOG', cell: (line) => line.logFile },
    ],
    lines,
    'nothing',
  );
}

interface UpOptions {
  readonly workers: boolean;
  readonly with?: readonly StackComponent[];
  readonly restart?: boolean;
}

async function up(session: Session, options: UpOptions): Promise<void> {
  const { readConfiguration } = await import('../../../ground/configuration/configuration.ts');
  const { ensureFirstPassphrase } = await import('../first-passphrase.ts');
  const made = await ensureFirstPassphrase(readConfiguration(session.variables), session.variables);
  if (made !== null) session.say(`the passphrase of the catalog is in ${made}: keep a copy of it elsewhere`);
  const { stackUp } = await import('../../stack/standing-stack.ts');
  const servers = await stackUp(await stackOptions(session, [...new Set<StackComponent>(['temporal', ...(options.with ?? [])])]));
  let workers: readonly WorkerStatus[] = [];
  if (options.workers) {
    const { workersUp } = await import('../standing-workers.ts');
    const configuration = await session.configuration();
    // Opened here first: what is wrong with it is said by name, not found in the log of a worker.
    await session.home();
    workers = await workersUp({
      ...{ configuration, roles: WORKER_ROLES, say: session.say, variables: session.variables },
      jobs: await session.jobs(),
      restart: options.restart === true,
    });
  }
  session.print({ components: servers, workers }, () => renderInstallation({ components: servers, workers }));
}

async function down(session: Session): Promise<void> {
  const { workersDown } = await import('../standing-workers.ts');
  const { stackDown } = await import('../../stack/standing-stack.ts');
  const workers = await workersDown({ configuration: await session.configuration(), roles: WORKER_ROLES, say: session.say });
  const stopped = [...workers, ...(await stackDown(await stackOptions(session)))];
  session.print({ stopped }, () => (stopped.length === 0 ? 'nothing ran\n' : `stopped: ${stopped.join(', ')}; data and addresses stay\n`));
}

async function status(session: Session): Promise<void> {
  const { workerStatus } = await import('../standing-workers.ts');
  const { stackStatus } = await import('../../stack/standing-stack.ts');
  const configuration = await session.configuration();
  const servers = await stackStatus(await stackOptions(session));
  const workers = await Promise.all(WORKER_ROLES.map((role) => workerStatus(configuration, role)));
  session.print({ components: servers, workers }, () => renderInstallation({ components: servers, workers }));
}

export function addInstallationCommands(program: Command, session: Session): void {
  program
    .command('up')
    .description('start what is needed on this machine: a Temporal server, a controller, a node, a disk server and an archiver of tables')
    .helpGroup('This machine:')
    .option('--no-workers', 'only the servers')
    .option('--with <component>', 's3 or kafka, too; may be given again', components)
    .option('--restart', 'stop and start the workers, so that they see a new environment')
    .addHelpText(
      'after',
      '\nWhat the environment names (HOLDFAST_TEMPORAL_ADDRESS and so on) is used and never started. The second start takes seconds.',
    )
    .action((options: UpOptions) => up(session, options));
  program
    .command('down')
    .description('stop what `up` started; data and addresses stay')
    .helpGroup('This machine:')
    .action(() => down(session));
  program
    .command('status')
    .description('what runs here')
    .helpGroup('This machine:')
    .action(() => status(session));
  for (const role of ['controller', 'node'] as const)
    program
      .command(role)
      .description(
        role === 'node'
          ? 'serve the volumes of this machine, in the foreground'
          : 'serve workflows and everything that needs only stores, in the foreground',
      )
      .helpGroup('This machine:')
      .option('--name <host>', 'the name of this machine in `volume add --node` (default: its host name)')
      .option('--metrics-port <port>', 'serve metrics for Prometheus there')
      .action((options: { readonly name?: string; readonly metricsPort?: string }) =>
        runWorker(session, role, { HOLDFAST_HOST: options.name, HOLDFAST_METRICS_PORT: options.metricsPort }),
      );
}

/** `holdfast volume serve|attach|detach|disks`: volumes as disks over NBD. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { DISK_PATTERN, volumeName, type VolumeName } from '../../../domain/ids.ts';
import { parseListen } from '../../../engine/volumes/listening.ts';
import { formatBytes, formatDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

export function diskName(text: string): string {
  if (DISK_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 100))} is no name of a disk`, {
    field: 'disk',
    expected: 'as `holdfast volume disks` shows it',
  });
}

interface ServeOptions {
  readonly listen?: string;
  readonly tlsCertificates?: string;
  readonly metricsPort?: string;
}

async function serve(session: Session, { listen, tlsCertificates, metricsPort }: ServeOptions): Promise<void> {
  const { runWorker } = await import('../run-worker.ts');
  const { resolve } = await import('node:path');
  await runWorker(session, 'disks', {
    HOLDFAST_DISKS_LISTEN: listen,
    HOLDFAST_DISKS_CERTIFICATES: tlsCertificates === undefined ? undefined : resolve(tlsCertificates),
    HOLDFAST_METRICS_PORT: metricsPort,
  });
}

interface StartOptions {
  readonly detach?: boolean;
}

async function attach(session: Session, volume: VolumeName, options: StartOptions): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  await runJob(session, 'attachVolume', { volume }, options);
}

interface DetachOptions extends StartOptions {
  readonly host?: string;
  readonly force?: boolean;
}

/** A disk that bears no volume's name is one of this machine. */
async function detach(session: Session, disk: string, { host, force, ...options }: DetachOptions): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  const volumes = (await (await session.home()).catalog.sync()).volumes;
  const here = [...volumes.keys()].some((name) => name === disk) ? undefined : (await session.configuration()).host;
  const where = host ?? here;
  await runJob(
    session,
    'detachDisk',
    { disk, ...(where === undefined ? {} : { host: where }), ...(force === undefined ? {} : { force }) },
    options,
  );
}

async function disks(session: Session): Promise<void> {
  const { openHost } = await import('../../../engine/volumes/host.ts');
  const { host, folder } = await session.configuration();
  const served = await openHost(host, folder).disks.list();
  session.print(served, () =>
    renderTable(
      [
        { title: 'DISK', cell: ({ record }) => record.name },
        { title: 'SIZE', align: 'right', cell: ({ record }) => formatBytes(record.sizeBytes) },
        { title: 'CLIENTS', align: 'right', cell: ({ connections }) => String(connections) },
        { title: 'VIEWS', align: 'right', cell: ({ views }) => String(views.length) },
        {
          title: 'HELD',
          align: 'right',
          cell: ({ writersHeld, heldMs }) => (writersHeld === 0 ? '' : `${writersHeld}x, ${formatDuration(heldMs)}`),
        },
        {
          title: 'STATE',
          cell: ({ hydration, recovering }) => {
            if (recovering !== null) return `kept for \`protect recover ${recovering.journal} --in-place --point ${recovering.seq}\``;
            if (hydration === null) return 'whole';
            const share = Math.floor((100 * hydration.localExtents) / Math.max(1, hydration.extents));
            return hydration.trouble === null ? `${share} % here` : `${share} % here; ${hydration.trouble.message}`;
          },
        },
        { title: 'WHERE', cell: ({ uris }) => uris[0] ?? '' },
      ],
      served,
      'no disks are served here; `holdfast volume attach VOLUME` serves one',
    ),
  );
}

export function addDiskCommands(volume: Command, session: Session): void {
  volume
    .command('serve')
    .description('serve the attached volumes of this machine as disks over NBD, in the foreground')
    .option('--listen <host:port>', 'over TCP, too', (text: string) => {
      parseListen(text, '--listen');
      return text;
    })
    .option(
      '--tls-certificates <folder>',
      'want TLS there: ca-cert.pem, server-cert.pem, server-key.pem; clients show one of the same authority',
    )
    .option('--metrics-port <port>', 'serve metrics for Prometheus there')
    .action((options: ServeOptions) => serve(session, options));
  volume
    .command('attach')
    .description('have a volume served by its machine from now on: captures of it read only what changed, without stopping its writers')
    .argument('<name>', 'of the volume', volumeName)
    .option('-d, --detach', 'start it and leave')
    .action((name: VolumeName, options: StartOptions) => attach(session, name, options));
  volume
    .command('detach')
    .description('end the serving of a disk')
    .argument('<disk>', 'a volume, or a disk that was restored instantly', diskName)
    .option('--host <name>', 'the machine that serves it (default: the node of the volume, or this one)')
    .option('--force', 'although clients are connected, or some of it is still in its store alone')
    .option('-d, --detach', 'start it and leave')
    .action((disk: string, options: DetachOptions) => detach(session, disk, options));
  volume
    .command('disks')
    .description('what this machine serves, and how it goes')
    .action(() => disks(session));
}

/** `holdfast snapshot export`: a snapshot as a disk, over NBD, until the command is ended. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import { snapshotId, storeName, volumeName, type SnapshotId, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import { checkExposure, parseListen, readServerCertificates, type TcpAddress } from '../../../engine/volumes/listening.ts';
import { nbdUri, type NbdAddress } from '../../../engine/volumes/nbd/uri.ts';
import { formatBytes } from '../quantities.ts';
import type { Session } from '../session.ts';

interface ExportOptions {
  readonly volume?: VolumeName;
  readonly store?: StoreName;
  readonly socket?: string;
  readonly listen?: TcpAddress;
  readonly tlsCertificates?: string;
  readonly writable?: boolean;
}

/** A pin is renewed long before a third of its time has passed. */
const RENEW_EVERY_MS = 3600 * 1000;

/** Resolves when the user, or the system, ends the command. */
const untilInterrupted = (session: Session): Promise<void> =>
  new Promise((resolve) => {
    session.terminal.onInterrupt(() => resolve());
    process.once('SIGTERM', () => resolve());
  });

async function exportSnapshot(session: Session, id: SnapshotId, options: ExportOptions): Promise<void> {
  const { listen, tlsCertificates } = options;
  const certificates = tlsCertificates === undefined ? null : await readServerCertificates(tlsCertificates, '--tls-certificates');
  if (listen !== undefined) checkExposure(listen, certificates, '--listen');
  const [{ findPlaces }, { pinSnapshot, renewPin, unpin }, { createSnapshotView }, exporting, { serveNbd }, { VolumeFile }] =
    await Promise.all([
      import('../snapshot-lines.ts'),
      import('../../../engine/repository/pins.ts'),
      import('../../../engine/volumes/snapshot-view.ts'),
      import('../../../engine/volumes/snapshot-export.ts'),
      import('../../../engine/volumes/nbd/server.ts'),
      import('../../../engine/volumes/volume-file.ts'),
    ]);
  const [place] = await findPlaces(session, id, options);
  const snapshot = place?.opened.ledger().snapshots.get(id);
  if (place === undefined || snapshot === undefined) throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id}`, { snapshot: id });
  const { opened, store } = place;
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-export-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));

  const pin = `export.${opened.environment.random(8).toString('hex')}`;
  await pinSnapshot(opened, pin, id, Date.now() + PIN_MS_DEFAULT, 'exported');
  stack.defer(() => unpin(opened, pin));
  const renewing = setInterval(
    () => void renewPin(opened, pin, Date.now()).catch((error: unknown) => session.say(`the pin could not be renewed: ${String(error)}`)),
    RENEW_EVERY_MS,
  );
  stack.defer(() => clearInterval(renewing));

  const view = createSnapshotView(opened, snapshot);
  const writable = options.writable === true;
  const served = writable
    ? exporting.overlaidExport('', view, stack.use(await VolumeFile.createUnnamed(path.join(folder, 'overlay'), snapshot.sizeBytes)))
    : exporting.readOnlyExport('', view);
  const at: NbdAddress = listen ?? { path: options.socket ?? path.join(folder, 'nbd.sock') };
  const server = await serveNbd(at, {
    exports: () => [served],
    ...(certificates === null ? {} : { tls: { policy: 'required', ...certificates } }),
    onEvent(event) {
      if (event.kind === 'failure') session.say(`a request failed: ${messageOf(event.error)}`);
    },
  }).catch((cause: unknown) => {
    throw new HoldfastError('ARGUMENT_INVALID', `cannot listen there: ${messageOf(cause)}`, {
      field: listen === undefined ? '--socket' : '--listen',
      expected: 'an address that is free',
    });
  });
  stack.defer(() => server.close());

  const uri = nbdUri(server.address, certificates !== null);
  session.print({ snapshot: id, store, uri, sizeBytes: snapshot.sizeBytes, writable }, () =>
    [
      `${id} of ${store}, ${formatBytes(snapshot.sizeBytes)}, ${writable ? 'writable; changes go when this ends' : 'read-only'}:`,
      `  ${uri}`,
      'for instance',
      `  nbdcopy '${uri}' copy.img`,
      `  qemu-system-x86_64 -snapshot -drive 'file=${uri},format=raw' ...`,
      'Ctrl-C ends it.',
      '',
    ].join('\n'),
  );
  await untilInterrupted(session);
}

export function addExportCommand(snapshot: Command, session: Session): void {
  snapshot
    .command('export')
    .description('serve a snapshot as a disk over NBD, straight from its store, until this ends')
    .argument('<snapshot>', 'its id', snapshotId)
    .option('--volume <name>', 'of the volume', volumeName)
    .option('-s, --store <name>', 'from this one', storeName)
    .option('--socket <path>', 'a Unix socket to listen on; by default one in a folder of its own')
    .option('--listen <host:port>', 'listen there instead; port 0 takes a free one', (text: string) => parseListen(text, '--listen'))
    .option('--tls-certificates <folder>', 'want TLS: ca-cert.pem, server-cert.pem, server-key.pem; clients show one of the same authority')
    .option('--writable', 'take changes, and forget them at the end')
    .action((id: SnapshotId, options: ExportOptions) => exportSnapshot(session, id, options));
}

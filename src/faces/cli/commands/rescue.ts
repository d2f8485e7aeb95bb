/** `holdfast rescue`: straight on a store with its address and passphrase, when nothing else is left. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import {
  repositoryName,
  snapshotId,
  volumeName,
  type RepositoryName,
  type SnapshotId,
  type StoreName,
  type VolumeName,
} from '../../../domain/ids.ts';
import type { SnapshotLine } from '../../../systems/lifecycle/listing.ts';
import type { RescueStore } from '../../rescue/rescue-store.ts';
import { passphraseReference, storeUrl, variableName } from '../arguments.ts';
import { formatBytes, formatTime, parseInteger } from '../quantities.ts';
import { showRescue } from '../rescue-display.ts';
import { createEnvironment, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { addRescueUnseal } from './rescue-unseal.ts';

interface StoreOptions {
  readonly store: string;
  readonly passphrase: string;
  readonly repository?: RepositoryName;
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKeyEnv?: string;
  readonly secretKeyEnv?: string;
}

/** The name under which a rescued store stands in results and errors. */
const RESCUED = 'rescue' as StoreName;

async function open(session: Session, options: StoreOptions): Promise<RescueStore> {
  const { openRescueStore } = await import('../../rescue/rescue-store.ts');
  const { endpoint, region, accessKeyEnv, secretKeyEnv } = options;
  const opened = await openRescueStore({
    url: options.store,
    passphrase: options.passphrase,
    repository: options.repository,
    access: {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(accessKeyEnv === undefined || secretKeyEnv === undefined
        ? {}
        : { credentials: { accessKeyIdEnv: accessKeyEnv, secretAccessKeyEnv: secretKeyEnv } }),
    },
    variables: session.variables,
    environment: await createEnvironment(`rescue.${process.pid}`, session.say),
  });
  for (const { name, error } of opened.closed) session.say(`repository ${name} is left out: ${error.code}: ${error.message}`);
  return opened;
}

async function list(session: Session, volume: VolumeName | undefined, options: StoreOptions & { readonly all?: boolean }): Promise<void> {
  const { listSnapshots } = await import('../../../systems/lifecycle/listing.ts');
  await using store = await open(session, options);
  const lines = store.repositories.flatMap(({ name, repository }) =>
    listSnapshots(repository, { all: options.all === true, ...(volume === undefined ? {} : { volume }) }).map((line) => ({
      ...line,
      repository: name,
    })),
  );
  session.print(lines, () =>
    renderTable<SnapshotLine & { readonly repository: string }>(
      [
        { title: 'SNAPSHOT', cell: (line) => line.id },
        { title: 'VOLUME', cell: (line) => line.volume },
        { title: 'REPOSITORY', cell: (line) => line.repository },
        { title: 'TAKEN', cell: (line) => formatTime(line.takenMs) },
        { title: 'SIZE', align: 'right', cell: (line) => formatBytes(line.sizeBytes) },
        { title: 'STATE', cell: (line) => line.state },
        { title: 'LABEL', cell: (line) => line.label ?? '' },
      ],
      lines,
      'no snapshots',
    ),
  );
}

interface RestoreOptions extends StoreOptions {
  readonly snapshot?: SnapshotId;
  readonly overwrite?: boolean;
  readonly differences?: boolean;
}

async function restore(session: Session, volume: VolumeName, target: string, options: RestoreOptions): Promise<void> {
  const [{ rescueRestore }, { repositoryOfSnapshot, repositoryOfVolume }, { Threads }, { readResult }] = await Promise.all([
    import('../../rescue/rescue-restore.ts'),
    import('../../rescue/rescue-store.ts'),
    import('../../../ground/threads/threads.ts'),
    import('../job-results.ts'),
  ]);
  await using store = await open(session, options);
  const { repository } = options.snapshot === undefined ? repositoryOfVolume(store, volume) : repositoryOfSnapshot(store, options.snapshot);
  await using threads = new Threads();
  const shown = await showRescue(session);
  try {
    const result = await rescueRestore(RESCUED, repository, {
      ...{ volume, target, threads, snapshot: options.snapshot ?? null },
      mode: options.overwrite === true ? 'overwrite' : options.differences === true ? 'differences' : 'create',
      onProgress: shown.show,
      say: session.say,
    });
    shown.stop();
    session.print(result, () => `${readResult('restoreVolume', { ...result, store: options.store }).lines.join('\n')}\n`);
  } finally {
    shown.stop();
  }
}

interface VerifyOptions extends StoreOptions {
  readonly snapshot?: SnapshotId;
  readonly structure?: boolean;
  readonly all?: boolean;
  readonly seed: number;
}

async function verify(session: Session, volume: VolumeName, options: VerifyOptions): Promise<void> {
  const [{ rescueVerify }, { repositoryOfVolume }, { Threads }, { readResult }] = await Promise.all([
    import('../../rescue/rescue-verify.ts'),
    import('../../rescue/rescue-store.ts'),
    import('../../../ground/threads/threads.ts'),
    import('../job-results.ts'),
  ]);
  await using store = await open(session, options);
  const repository = await repositoryOfVolume(store, volume).whole();
  await using threads = new Threads();
  const shown = await showRescue(session);
  try {
    const depth = options.all === true ? 'all' : options.structure === true ? 'structure' : 'sample';
    const { seed, snapshot = null } = options;
    const result = await rescueVerify(RESCUED, repository, { volume, snapshot, depth, seed, threads, onProgress: shown.show });
    shown.stop();
    const { lines, exitCode } = readResult('verifyStore', { ...result, store: options.store });
    session.fail(exitCode);
    session.print(result, () => `${lines.join('\n')}\n`);
  } finally {
    shown.stop();
  }
}

async function remove(
  session: Session,
  id: SnapshotId,
  options: StoreOptions & { readonly purge?: boolean; readonly dryRun?: boolean },
): Promise<void> {
  const { deleteState, hide, inspect, planDelete, reclaimDue } = await import('../../../systems/lifecycle/deletion.ts');
  const { repositoryOfSnapshot } = await import('../../rescue/rescue-store.ts');
  await using store = await open(session, options);
  const repository = await repositoryOfSnapshot(store, id).whole();
  const purge = options.purge === true;
  const plan = await planDelete(repository, id, purge);
  if (options.dryRun === true) {
    const when = plan.waitsFor === null ? 'at once' : `when nothing stands against it any more (now: ${plan.waitsFor})`;
    session.print(plan, () => `${formatBytes(plan.freedBytes)} in ${plan.values} values would be freed ${when}\n`);
    return;
  }
  const found = await inspect(repository, id);
  if (found.kind === 'live' && (!found.hidden || (purge && !found.purge))) await hide(repository, found.seen, purge);
  const result = await reclaimDue(repository, `rescue.${process.pid}`);
  const state = deleteState(repository.ledger().snapshots.get(id), repository);
  session.print({ ...plan, state: state.kind, reclaimed: result.reclaimed }, () =>
    state.kind === 'gone'
      ? `${id} is gone; ${formatBytes(plan.freedBytes)} freed\n`
      : `${id} is hidden and waits: ${state.kind === 'pending' ? state.obstacle : state.kind}\n`,
  );
}

async function catalog(session: Session, options: StoreOptions & { readonly rebuild?: boolean }): Promise<void> {
  const { newestMirror, rebuildCatalog } = await import('../../rescue/rescue-catalog.ts');
  await using store = await open(session, options);
  const mirror = await newestMirror(store);
  if (options.rebuild !== true) {
    session.print(mirror, () => `${JSON.stringify(mirror, null, 2)}\n`);
    return;
  }
  const { catalog: home } = await session.home();
  const added = await rebuildCatalog(home, mirror);
  session.print({ mirror, added }, () =>
    added.length === 0
      ? 'the home knows all of it\n'
      : added
          .map(
            (entry) =>
              `${entry.kind === 'STORE_ADD' ? `store ${entry.store.name}` : entry.kind === 'VOLUME_ADD' ? `volume ${entry.volume.name}` : entry.kind} is entered\n`,
          )
          .join(''),
  );
}

const EXAMPLES = `
Needs a store and its passphrase, and nothing else; \`unseal\` needs no store either, but the passphrase of --seal sender.

Examples:
  holdfast rescue list --store s3://bucket/holdfast --passphrase env:HOLDFAST_PASSPHRASE
  holdfast rescue restore db /tmp/db.img --store /mnt/backup --passphrase file:/root/passphrase
  holdfast rescue verify db --all --store /mnt/backup --passphrase file:/root/passphrase
  holdfast rescue unseal /tmp/from-receiver.img /tmp/db.img --passphrase file:/root/sender-passphrase`;

export function addRescueCommands(program: Command, session: Session): void {
  const rescue = program
    .command('rescue')
    .description('list, verify, restore and delete with a store and its passphrase alone')
    .helpGroup('When something is broken:')
    .addHelpText('after', EXAMPLES);
  const on = (name: string, description: string): Command =>
    rescue
      .command(name)
      .description(description)
      .requiredOption('-s, --store <url>', 'address of the store, or a folder', storeUrl)
      .requiredOption('--passphrase <ref>', 'env:NAME, file:/path or command:...', passphraseReference)
      .option('--repository <name>', 'only this one', repositoryName)
      .option('--endpoint <url>', 'of an S3 server that is not Amazon')
      .option('--region <name>', 'of the bucket')
      .option('--access-key-env <name>', 'variable that holds the access key id', variableName('--access-key-env'))
      .option('--secret-key-env <name>', 'variable that holds the secret access key', variableName('--secret-key-env'));
  on('list', 'the snapshots that a store holds')
    .argument('[volume]', 'only of this one', volumeName)
    .option('-a, --all', 'hidden ones, too')
    .action((volume: VolumeName | undefined, options: StoreOptions & { readonly all?: boolean }) => list(session, volume, options));
  on('restore', 'bring a volume back; every extent is proved')
    .argument('<volume>', 'as `rescue list` shows it', volumeName)
    .argument('<target>', 'file or device')
    .option('--snapshot <id>', 'which one, hidden ones, too (default: the newest that is not hidden)', snapshotId)
    .option('--overwrite', 'whatever is at the target goes')
    .option('--differences', 'only what differs from what is at the target is written')
    .action((volume: VolumeName, target: string, options: RestoreOptions) => {
      if (options.overwrite === true && options.differences === true)
        throw new HoldfastError('ARGUMENT_INVALID', '--overwrite and --differences exclude each other', {
          field: '--differences',
          expected: 'one of them',
        });
      return restore(session, volume, target, options);
    });
  on('verify', 'check that what the store holds is what was written')
    .argument('<volume>', 'as `rescue list` shows it', volumeName)
    .option('--snapshot <id>', 'only this one (default: all)', snapshotId)
    .option('--structure', 'maps and packs are there and fit')
    .option('--all', 'every value is read (default: a sample)')
    .option('--seed <n>', 'of the sample', parseInteger('--seed'), 1)
    .action((volume: VolumeName, options: VerifyOptions) => verify(session, volume, options));
  on('delete', 'hide a snapshot and free what nothing needs any more')
    .argument('<snapshot>', 'its id', snapshotId)
    .option('--purge', 'also when it is the newest, the base of the next one')
    .option('--dry-run', 'only say what would be freed')
    .action((id: SnapshotId, options: StoreOptions & { readonly purge?: boolean; readonly dryRun?: boolean }) =>
      remove(session, id, options),
    );
  addRescueUnseal(rescue, session);
  on('catalog', 'which stores and volumes there were, as the store mirrors it')
    .option('--rebuild', 'enter in the catalog of this installation what it lacks of it')
    .action((options: StoreOptions & { readonly rebuild?: boolean }) => catalog(session, options));
}

/** `holdfast volume`: what is protected, where it lies and where its snapshots go. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import {
  NAME_PATTERN,
  repositoryName,
  volumeName,
  volumeOf,
  type RepositoryName,
  type StoreName,
  type VolumeName,
} from '../../../domain/ids.ts';
import { parseNbdUri } from '../../../engine/volumes/nbd/uri.ts';
import { EXTENT_BYTES_DEFAULT, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN } from '../../../domain/limits.ts';
import type { VolumeRecord } from '../../../engine/catalog/catalog.ts';
import { addDiskCommands } from './volume-disks.ts';
import { required, storeNames } from '../arguments.ts';
import { counted, formatBytes, formatTime, parseBytes } from '../quantities.ts';
import { openPlaces, placesOf } from '../repositories.ts';
import type { Session } from '../session.ts';
import { renderFields, renderTable } from '../table.ts';

interface AddOptions {
  readonly store?: readonly StoreName[];
  readonly node?: string;
  readonly extentSize: number;
  readonly group?: RepositoryName;
}

function nodeName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', 'the name of the node is not valid', {
    field: '--node',
    expected: 'as `holdfast node` has it',
  });
}

function extentSize(text: string): number {
  const bytes = parseBytes('--extent-size')(text);
  if (Number.isInteger(Math.log2(bytes)) && bytes >= EXTENT_BYTES_MIN && bytes <= EXTENT_BYTES_MAX) return bytes;
  throw new HoldfastError('ARGUMENT_INVALID', `an extent of ${text} is not possible`, {
    field: '--extent-size',
    expected: `a power of two from ${formatBytes(EXTENT_BYTES_MIN)} to ${formatBytes(EXTENT_BYTES_MAX)}`,
  });
}

/** The path on its node; looked at when that is this machine. An NBD export need not be served yet. */
async function checkPath(path: string, node: string, here: string): Promise<string> {
  if (parseNbdUri(path) !== null) return path;
  if (node !== here) {
    if (isAbsolute(path)) return path;
    throw new HoldfastError('ARGUMENT_INVALID', `${path} is relative, and ${node} is another machine`, {
      field: 'path',
      expected: 'an absolute path',
    });
  }
  const absolute = resolve(path);
  try {
    const found = await stat(absolute);
    if (!found.isFile() && !found.isBlockDevice())
      throw new HoldfastError('SOURCE_UNREADABLE', `${absolute} is neither a file nor a block device`, { path: absolute });
    await access(absolute, constants.R_OK);
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('SOURCE_UNREADABLE', `${absolute} cannot be read`, { path: absolute }, error);
  }
  return absolute;
}

async function add(session: Session, name: VolumeName, path: string, options: AddOptions): Promise<void> {
  const stores = required(options.store, '--store', 'at least one store, as in --store local');
  const { host } = await session.configuration();
  const node = options.node ?? host;
  const absolute = await checkPath(path, node, host);
  const { catalog } = await session.home();
  const state = await catalog.sync();
  const repository = options.group ?? repositoryName(name);
  const sharer = [...state.volumes.values()].find((volume) => volume.repository === repository && volume.name !== name);
  if (options.group === undefined && sharer)
    throw new HoldfastError('ARGUMENT_INVALID', `a group is named ${name}, to which ${sharer.name} belongs`, {
      field: 'name',
      expected: `another name, or --group ${name} to join it`,
    });
  for (const store of stores) if (!state.stores.has(store)) throw new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });
  if (state.volumes.get(name)?.retired === false)
    throw new HoldfastError('VOLUME_EXISTS', `volume ${name} is in the catalog`, { volume: name });
  const { nextIncarnation } = await import('../volume-incarnation.ts');
  const incarnation = await nextIncarnation(session, state, name, repository, stores);
  const volume: VolumeRecord = {
    name,
    incarnation,
    node,
    path: absolute,
    extentBytes: options.extentSize,
    stores: [...stores],
    repository,
    retired: false,
  };
  await catalog.append(() => ({ kind: 'VOLUME_ADD', volume }));
  session.print(volume, () => `volume ${name} is added: ${absolute} on ${node}, to ${stores.join(', ')}\n`);
}

interface SetOptions {
  readonly store?: readonly StoreName[];
  readonly node?: string;
  readonly path?: string;
}

async function set(session: Session, name: VolumeName, options: SetOptions): Promise<void> {
  const { findVolume } = await import('../../../engine/catalog/catalog.ts');
  const { host } = await session.configuration();
  const { catalog } = await session.home();
  const state = await catalog.sync();
  const before = findVolume(state, name);
  const node = options.node ?? before.node;
  for (const store of options.store ?? [])
    if (!state.stores.has(store)) throw new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });
  const path = options.path === undefined ? before.path : await checkPath(options.path, node, host);
  await catalog.append((at) => ({
    kind: 'VOLUME_SET',
    volume: { ...findVolume(at, name), node, path, stores: [...(options.store ?? before.stores)] },
  }));
  const after = findVolume(await catalog.sync(), name);
  session.print(after, () => `volume ${name}: ${after.path} on ${after.node}, to ${after.stores.join(', ')}\n`);
}

async function list(session: Session, { all }: { readonly all?: boolean }): Promise<void> {
  const state = await (await session.home()).catalog.sync();
  const volumes = [...state.volumes.values()].filter((volume) => all === true || !volume.retired);
  session.print(volumes, () =>
    renderTable(
      [
        { title: 'VOLUME', cell: (volume) => volume.name },
        { title: 'NODE', cell: (volume) => volume.node },
        { title: 'PATH', cell: (volume) => volume.path },
        { title: 'STORES', cell: (volume) => volume.stores.join(',') },
        { title: 'EXTENT', align: 'right', cell: (volume) => formatBytes(volume.extentBytes) },
        { title: 'STATE', cell: (volume) => (volume.retired ? 'retired' : 'active') },
      ],
      volumes,
      'no volumes yet; `holdfast volume add NAME PATH --store STORE` adds one',
    ),
  );
}

async function show(session: Session, name: VolumeName): Promise<void> {
  const { findVolume } = await import('../../../engine/catalog/catalog.ts');
  const state = await (await session.home()).catalog.sync();
  const volume = findVolume(state, name);
  const kept: { readonly store: StoreName; readonly snapshots: number; readonly newest: string | null; readonly takenMs: number | null }[] =
    [];
  for await (const { store, opened } of openPlaces(session, placesOf(state, { volume: name }))) {
    const visible = [...opened.ledger().snapshots.values()].filter((snapshot) => volumeOf(snapshot.lineage) === name && !snapshot.hidden);
    const newest = visible.sort((a, b) => a.seq - b.seq).at(-1);
    kept.push({ store, snapshots: visible.length, newest: newest?.id ?? null, takenMs: newest?.takenMs ?? null });
  }
  session.print({ ...volume, kept }, () =>
    [
      renderFields([
        ['volume', `${volume.name}@${volume.incarnation}${volume.retired ? ' (retired)' : ''}`],
        ['path', `${volume.path} on ${volume.node}`],
        ['stores', volume.stores.join(', ')],
        ['repository', volume.repository],
        ['extent', formatBytes(volume.extentBytes)],
      ]),
      ...kept.map(
        ({ store, snapshots, newest, takenMs }) =>
          `  ${store}: ${counted(snapshots, 'snapshot')}${newest === null ? '' : `, newest ${newest}, ${formatTime(takenMs ?? 0)}`}\n`,
      ),
    ].join(''),
  );
}

export function addVolumeCommands(program: Command, session: Session): void {
  const volume = program.command('volume').description('what is protected').helpGroup('Set up:');
  volume
    .command('add')
    .description('protect a file or a block device')
    .argument('<name>', 'a name for it', volumeName)
    .argument('<path>', 'of the image file or device, on its node, or the URI of an NBD export that the node reads')
    .option('-s, --store <name>', 'where its snapshots go; may be given again', storeNames)
    .option('--node <host>', 'the machine that has it (default: this one)', nodeName)
    .option('--extent-size <bytes>', 'unit of change; cannot be changed later', extentSize, EXTENT_BYTES_DEFAULT)
    .option('--group <name>', 'share a repository (and its dedup and its passphrase) with the volumes of this group', repositoryName)
    .addHelpText(
      'after',
      '\nExamples:\n  holdfast volume add db /var/lib/images/db.img --store local --store cloud\n  holdfast volume add mail /dev/vg0/mail --store cloud --node mailhost',
    )
    .action((name: VolumeName, path: string, options: AddOptions) => add(session, name, path, options));
  volume
    .command('set')
    .description('change where a volume lies or where its snapshots go')
    .argument('<name>', 'of the volume', volumeName)
    .option('-s, --store <name>', 'where its snapshots go from now on; may be given again', storeNames)
    .option('--node <host>', 'the machine that has it', nodeName)
    .option('--path <path>', 'of the image file or device')
    .action((name: VolumeName, options: SetOptions) => set(session, name, options));
  volume
    .command('list')
    .description('all volumes')
    .option('-a, --all', 'retired ones, too')
    .action((options: { readonly all?: boolean }) => list(session, options));
  volume
    .command('show')
    .description('one volume and what is kept of it')
    .argument('<name>', 'of the volume', volumeName)
    .action((name: VolumeName) => show(session, name));
  addDiskCommands(volume, session);
  volume
    .command('retire')
    .description('end the life of a volume; its snapshots stay, and deletes that waited for a next one go on')
    .argument('<name>', 'of the volume', volumeName)
    .action(async (name: VolumeName) => {
      const { retireVolume } = await import('../volume-retirement.ts');
      await retireVolume(session, name);
    });
}

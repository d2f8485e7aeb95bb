/** `holdfast snapshot`: points in time: made, listed, shown, deleted, brought back. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { snapshotId, storeName, volumeName, volumeOf, type SnapshotId, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import { storeNames, volumeNames } from '../arguments.ts';
import { formatBytes, formatTime, parseInteger } from '../quantities.ts';
import type { Session } from '../session.ts';
import type { PlacedLine } from '../snapshot-lines.ts';
import { renderFields, renderTable } from '../table.ts';
import { addDeleteCommands } from './snapshot-delete.ts';
import { addExportCommand } from './snapshot-export.ts';

interface CreateOptions {
  readonly store?: readonly StoreName[];
  readonly id?: SnapshotId;
  readonly label?: string;
  readonly changedSince?: SnapshotId;
  readonly changedRanges?: string;
  readonly changedBitmap?: string;
  readonly allowFuzzy?: boolean;
  readonly allowShrink?: boolean;
  readonly detachAfter?: number;
  readonly detach?: boolean;
}

/** Of several volumes only what one moment can have. */
async function createTogether(session: Session, volumes: readonly VolumeName[], options: CreateOptions): Promise<void> {
  const { label, detach, ...rest } = options;
  const [other] = Object.entries(rest).find(([, value]) => value !== undefined) ?? [];
  if (other !== undefined)
    throw new HoldfastError('ARGUMENT_INVALID', `${other} is of one volume alone`, {
      field: other,
      expected: 'one volume, or --label and --detach',
    });
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'captureGroup',
    { volumes: [...volumes], ...(label === undefined ? {} : { label }) },
    detach === undefined ? {} : { detach },
  );
}

async function create(session: Session, [volume, ...others]: readonly VolumeName[], options: CreateOptions): Promise<void> {
  if (volume === undefined) return;
  if (others.length > 0) return createTogether(session, [volume, ...others], options);
  const { changedSince, changedRanges, changedBitmap } = options;
  const told = [changedRanges, changedBitmap].filter((one) => one !== undefined).length;
  if (told !== (changedSince === undefined ? 0 : 1))
    throw new HoldfastError('ARGUMENT_INVALID', 'a hint of what changed has two parts', {
      field: changedSince === undefined ? '--changed-since' : '--changed-ranges',
      expected: '--changed-since SNAPSHOT together with --changed-ranges FILE or --changed-bitmap NAME',
    });
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'captureSnapshot',
    {
      volume,
      ...(options.store === undefined ? {} : { stores: [...options.store] }),
      ...(options.id === undefined ? {} : { snapshot: options.id }),
      ...(options.label === undefined ? {} : { label: options.label }),
      ...(changedSince === undefined || changedRanges === undefined
        ? {}
        : { changed: { since: changedSince, ranges: resolve(changedRanges) } }),
      ...(changedSince === undefined || changedBitmap === undefined ? {} : { changed: { since: changedSince, bitmap: changedBitmap } }),
      ...(options.allowFuzzy === undefined ? {} : { allowFuzzy: options.allowFuzzy }),
      ...(options.allowShrink === undefined ? {} : { allowShrink: options.allowShrink }),
      ...(options.detachAfter === undefined ? {} : { detachAfterMs: options.detachAfter * 1000 }),
    },
    options,
  );
}

interface ListOptions {
  readonly store?: StoreName;
  readonly all?: boolean;
}

async function list(session: Session, volume: VolumeName | undefined, { store, all = false }: ListOptions): Promise<void> {
  const { snapshotColumns, snapshotLines } = await import('../snapshot-lines.ts');
  const lines = await snapshotLines(session, { volume, store, all });
  if (lines.length === 0 && volume !== undefined) {
    const { findVolume } = await import('../../../engine/catalog/catalog.ts');
    findVolume((await session.home()).catalog.known(), volume);
  }
  session.print(lines, () => renderTable(snapshotColumns(all), lines, 'no snapshots'));
}

interface PlaceOptions {
  readonly volume?: VolumeName;
  readonly store?: StoreName;
}

interface ShownSnapshot extends PlacedLine {
  readonly pins: readonly { readonly name: string; readonly untilMs: number }[];
  readonly holdsBytes: number;
}

async function show(session: Session, id: SnapshotId, options: PlaceOptions): Promise<void> {
  const { findPlaces } = await import('../snapshot-lines.ts');
  const { lineOf } = await import('../../../systems/lifecycle/listing.ts');
  const { planDelete } = await import('../../../systems/lifecycle/deletion.ts');
  const shown: ShownSnapshot[] = [];
  for (const { store, repository, opened, whole } of await findPlaces(session, id, options)) {
    const snapshot = opened.ledger().snapshots.get(id);
    if (!snapshot) continue;
    const pins = [...opened.ledger().pins].filter(([, pin]) => pin.snapshot === id).map(([name, pin]) => ({ name, ...pin }));
    const { freedBytes: holdsBytes } = await planDelete(await whole(), id);
    shown.push({ ...lineOf(opened, snapshot), store, repository, holdsBytes, pins });
  }
  session.print(shown, () =>
    shown
      .map((line) =>
        renderFields([
          ['snapshot', line.id],
          ['volume', line.lineage],
          ['store', `${line.store}, repository ${line.repository}`],
          ['state', line.obstacle === null ? line.state : `${line.state} (${line.obstacle})`],
          ['taken', formatTime(line.takenMs)],
          ['size', formatBytes(line.sizeBytes)],
          ['consistency', line.consistency],
          ['label', line.label],
          ['root', line.root ?? 'nothing but zeros'],
          ['only it holds', formatBytes(line.holdsBytes)],
          ['pins', line.pins.length === 0 ? null : line.pins.map((pin) => `${pin.name} until ${formatTime(pin.untilMs)}`).join(', ')],
        ]),
      )
      .join('\n'),
  );
}

interface PinRow {
  readonly pin: string;
  readonly store: StoreName;
  readonly volume: VolumeName | null;
  readonly snapshot: SnapshotId;
  readonly untilMs: number;
  readonly why: string;
}

async function pins(session: Session, volume: VolumeName | undefined, options: ListOptions): Promise<void> {
  const { openPlaces, placesOf } = await import('../repositories.ts');
  const state = await (await session.home()).catalog.sync();
  const rows: PinRow[] = [];
  for await (const { store, opened } of openPlaces(session, placesOf(state, { volume, store: options.store }))) {
    const ledger = opened.ledger();
    for (const [pin, { snapshot, untilMs, why }] of ledger.pins) {
      const pinned = ledger.snapshots.get(snapshot);
      const of = pinned === undefined ? null : volumeOf(pinned.lineage);
      if (volume === undefined || of === volume) rows.push({ pin, store, volume: of, snapshot, untilMs, why });
    }
  }
  session.print(rows, () =>
    renderTable(
      [
        { title: 'PIN', cell: (row) => row.pin },
        { title: 'STORE', cell: (row) => row.store },
        { title: 'SNAPSHOT', cell: (row) => row.snapshot },
        { title: 'UNTIL', cell: (row) => formatTime(row.untilMs) },
        { title: 'WHY', cell: (row) => row.why },
      ],
      rows,
      'nothing is pinned',
    ),
  );
}

export function addSnapshotCommands(program: Command, session: Session): void {
  const snapshot = program.command('snapshot').description('points in time of a volume').helpGroup('Every day:');
  snapshot
    .command('create')
    .description('capture a volume into its stores with one read; several served ones at one moment')
    .argument('<volume...>', 'as `holdfast volume list` shows it', volumeNames)
    .option('-s, --store <name>', 'only into these stores; may be given again', storeNames)
    .option('--id <snapshot>', 'go on with the snapshot that an earlier run began', snapshotId)
    .option('--label <text>', 'a word for people')
    .option('--changed-since <snapshot>', 'the ranges below changed since this one', snapshotId)
    .option('--changed-ranges <file>', 'on the node: one "offset length" in bytes a line; nothing else is read but a sample')
    .option('--changed-bitmap <name>', 'of a volume that is an NBD export: its dirty bitmap of that name, as QEMU serves it')
    .option('--allow-fuzzy', 'keep it although the source changes while it is read')
    .option('--allow-shrink', 'the volume may be smaller than before')
    .option(
      '--detach-after <seconds>',
      'leave a store behind that pauses the job for longer; it catches up later',
      parseInteger('--detach-after'),
    )
    .option('-d, --detach', 'start it and leave')
    .addHelpText(
      'after',
      '\nExamples:\n  holdfast snapshot create db --label before-upgrade\n  holdfast snapshot create db --store cloud --detach\n  holdfast snapshot create db db-log',
    )
    .action((volumes: readonly VolumeName[], options: CreateOptions) => create(session, volumes, options));
  snapshot
    .command('list')
    .description('snapshots in all stores')
    .argument('[volume]', 'only of this one', volumeName)
    .option('-s, --store <name>', 'only in this one', storeName)
    .option('-a, --all', 'hidden ones and those under way, with the bytes that they hold')
    .action((volume: VolumeName | undefined, options: ListOptions) => list(session, volume, options));
  snapshot
    .command('show')
    .description('one snapshot in every store that has it')
    .argument('<snapshot>', 'its id', snapshotId)
    .option('--volume <name>', 'of the volume', volumeName)
    .option('-s, --store <name>', 'only in this one', storeName)
    .action((id: SnapshotId, options: PlaceOptions) => show(session, id, options));
  snapshot
    .command('pins')
    .description('what is in use, by whom and until when')
    .argument('[volume]', 'only of this one', volumeName)
    .option('-s, --store <name>', 'only in this one', storeName)
    .action((volume: VolumeName | undefined, options: ListOptions) => pins(session, volume, options));
  addExportCommand(snapshot, session);
  addDeleteCommands(snapshot, session);
}

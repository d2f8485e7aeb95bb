/** `holdfast copy`, `restore`, `verify` and `reclaim`: the bulk jobs on what is there. */
import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { snapshotId, storeName, volumeName, volumeOf, type SnapshotId, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import type { JobInputs } from '../../../domain/jobs.ts';
import { required, storeNames } from '../arguments.ts';
import { diskName } from './volume-disks.ts';
import { counted, formatBytes, parseInteger } from '../quantities.ts';
import type { ReclaimPlan } from '../reclaim-plan.ts';
import type { Place } from '../repositories.ts';
import type { Session } from '../session.ts';

interface CopyOptions {
  readonly volume: VolumeName;
  readonly from: StoreName;
  readonly to?: readonly StoreName[];
  readonly parallel?: number;
  readonly detach?: boolean;
}

async function copy(session: Session, snapshot: SnapshotId, options: CopyOptions): Promise<void> {
  const { volume, from, parallel } = options;
  const to = required(options.to, '--to', 'at least one store, as in --to cloud');
  const { runJob } = await import('../run-job.ts');
  await runJob(session, 'copySnapshot', { volume, snapshot, from, to: [...to], ...(parallel === undefined ? {} : { parallel }) }, options);
}

interface RestoreOptions {
  readonly store?: StoreName;
  readonly snapshot?: SnapshotId;
  readonly host?: string;
  readonly overwrite?: boolean;
  readonly differences?: boolean;
  readonly instant?: boolean;
  readonly disk?: string;
  readonly promote?: boolean;
  readonly wait?: boolean;
  readonly detach?: boolean;
}

/** The first store of the volume that answers and has what is wanted. */
async function chooseStore(session: Session, volume: VolumeName, snapshot: SnapshotId | undefined): Promise<StoreName> {
  const { openPlaces, placesOf } = await import('../repositories.ts');
  const { findVolume } = await import('../../../engine/catalog/catalog.ts');
  const state = await (await session.home()).catalog.sync();
  findVolume(state, volume);
  let newest: { readonly store: StoreName; readonly takenMs: number } | null = null;
  for await (const { store, opened } of openPlaces(session, placesOf(state, { volume })))
    for (const one of opened.ledger().snapshots.values()) {
      if (volumeOf(one.lineage) !== volume || one.hidden || (snapshot !== undefined && one.id !== snapshot)) continue;
      if (newest === null || one.takenMs > newest.takenMs) newest = { store, takenMs: one.takenMs };
    }
  if (newest !== null) return newest.store;
  throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no store that answers has ${snapshot ?? 'a snapshot'} of ${volume}`, { volume });
}

/** The target on its host; a relative path is meant from here, which makes sense on this machine only. */
async function targetOn(session: Session, target: string, volume: VolumeName, host: string | undefined): Promise<string> {
  if (isAbsolute(target)) return target;
  const { host: here } = await session.configuration();
  const at = host ?? (await (await session.home()).catalog.sync()).volumes.get(volume)?.node;
  if (at === here) return resolve(target);
  throw new HoldfastError('ARGUMENT_INVALID', `${target} is relative, and it is restored on ${at ?? 'another machine'}`, {
    field: 'target',
    expected: 'an absolute path',
  });
}

async function restore(session: Session, volume: VolumeName, target: string, options: RestoreOptions): Promise<void> {
  const { snapshot, host, overwrite, differences } = options;
  const absolute = await targetOn(session, target, volume, host);
  const store = options.store ?? (await chooseStore(session, volume, snapshot));
  const [alone] = (['disk', 'promote', 'wait'] as const).filter((name) => options[name] !== undefined);
  if (options.instant !== true && alone !== undefined)
    throw new HoldfastError('ARGUMENT_INVALID', `--${alone} is of a restore as a disk`, {
      field: `--${alone}`,
      expected: 'together with --instant',
    });
  if (options.instant === true) return restoreInstantly(session, { volume, store, target: absolute }, options);
  const mode = overwrite === true ? 'overwrite' : differences === true ? 'differences' : undefined;
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'restoreVolume',
    {
      ...{ volume, store, target: absolute },
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(host === undefined ? {} : { host }),
      ...(mode === undefined ? {} : { mode }),
    },
    options,
  );
}

/** Leaves when the disk is there to be used; what it lacks comes behind it. */
async function restoreInstantly(
  session: Session,
  what: { readonly volume: VolumeName; readonly store: StoreName; readonly target: string },
  { snapshot, host, disk, promote, wait, detach }: RestoreOptions,
): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'hydrateDisk',
    {
      ...what,
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(host === undefined ? {} : { host }),
      ...(disk === undefined ? {} : { disk }),
      ...(promote === undefined ? {} : { promote }),
    },
    {
      ...(detach === undefined ? {} : { detach }),
      ...(wait === true ? {} : { until: ({ uris }) => uris.length > 0 }),
      left: ({ snapshot: served, uris }, { id }) => [
        `${what.volume} ${served ?? ''} is a disk, to be used now; its bytes come to ${what.target} behind it:`,
        ...uris.map((uri) => `  ${uri}`),
        `\`holdfast job wait ${id}\` watches until it stands alone`,
      ],
    },
  );
}

interface VerifyOptions {
  readonly store?: readonly StoreName[];
  readonly snapshot?: SnapshotId;
  readonly structure?: boolean;
  readonly sample?: boolean;
  readonly all?: boolean;
  readonly seed?: number;
  readonly against?: StoreName;
  readonly parallel?: number;
  readonly detach?: boolean;
}

async function verify(session: Session, volume: VolumeName, options: VerifyOptions): Promise<void> {
  const stores = required(options.store, '--store', 'the store to verify; may be given again');
  const { snapshot, seed, against, parallel } = options;
  const depth = options.all === true ? 'all' : options.structure === true ? 'structure' : 'sample';
  const { runJob, runJobs } = await import('../run-job.ts');
  const inputs = stores.map((store) => ({
    ...({ volume, store, depth } as const),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(seed === undefined ? {} : { seed }),
    ...(against === undefined ? {} : { against }),
    ...(parallel === undefined ? {} : { parallel }),
  }));
  const [only] = inputs;
  if (only !== undefined && inputs.length === 1) await runJob(session, 'verifyStore', only, options);
  else await runJobs(session, 'verifyStore', inputs, options);
}

interface ReclaimOptions {
  readonly store?: StoreName;
  readonly volume?: VolumeName;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
}

async function reclaim(session: Session, options: ReclaimOptions): Promise<void> {
  const { openPlaces, placesOf } = await import('../repositories.ts');
  const places = placesOf(await (await session.home()).catalog.sync(), options);
  if (options.dryRun === true) {
    const { planReclaim } = await import('../reclaim-plan.ts');
    const plans: (Place & ReclaimPlan)[] = [];
    for await (const { store, repository, whole } of openPlaces(session, places))
      plans.push({ store, repository, ...(await planReclaim(await whole())) });
    session.print(plans, () =>
      plans
        .map(({ store, repository, due, freedBytes, thinPacks, litter }) => {
          const snapshots =
            due.length === 0
              ? 'no snapshot is due'
              : `due are ${counted(due.length, 'snapshot')} (${formatBytes(freedBytes)}): ${due.join(', ')}`;
          return `${repository} in ${store}: ${snapshots}; ${counted(thinPacks, 'thin pack')}; ${counted(litter.objects, 'object')} of ${formatBytes(litter.bytes)} that nothing needs\n`;
        })
        .join(''),
    );
    return;
  }
  const inputs: JobInputs['collectGarbage'][] = [];
  for await (const { store, repository } of openPlaces(session, places)) inputs.push({ store, repository });
  const { runJobs } = await import('../run-job.ts');
  await runJobs(session, 'collectGarbage', inputs, options);
}

export function addTransferCommands(program: Command, session: Session): void {
  program
    .command('copy')
    .description('bring a snapshot from one store to others; only what each lacks is sent')
    .helpGroup('Every day:')
    .argument('<snapshot>', 'its id', snapshotId)
    .requiredOption('--volume <name>', 'of the volume', volumeName)
    .requiredOption('--from <store>', 'that has it', storeName)
    .option('--to <store>', 'that shall have it; may be given again', storeNames)
    .option('--parallel <n>', 'subtrees at once', parseInteger('--parallel'))
    .option('-d, --detach', 'start it and leave')
    .action((snapshot: SnapshotId, options: CopyOptions) => copy(session, snapshot, options));
  const restoring = program
    .command('restore')
    .description('bring a volume back into a file or device; every extent is proved')
    .helpGroup('Every day:')
    .argument('<volume>', 'as `holdfast volume list` shows it', volumeName)
    .argument('<target>', 'file or device on the host')
    .option('-s, --store <name>', 'to read from (default: the one with the newest)', storeName)
    .option('--snapshot <id>', 'which one (default: the newest)', snapshotId)
    .option('--host <name>', 'whose file system the target is on (default: the node of the volume)')
    .option('--overwrite', 'whatever is at the target goes')
    .option('--differences', 'only what differs from what is at the target is fetched and written')
    .option('--instant', 'serve it as a disk at once, writable; its bytes come to the target behind it')
    .option('--disk <name>', 'with --instant: a name for the disk (default: VOLUME.SNAPSHOT)', diskName)
    .option('--promote', 'with --instant: the volume is this disk from now on')
    .option('--wait', 'with --instant: stay until the disk stands alone')
    .option('-d, --detach', 'start it and leave')
    .addHelpText(
      'after',
      '\nExamples:\n  holdfast restore db /var/tmp/db.img\n  holdfast restore db /var/lib/images/db.img --differences --snapshot 01k...\n  holdfast restore db /var/lib/images/db-new.img --instant',
    )
    .action((volume: VolumeName, target: string, options: RestoreOptions) => restore(session, volume, target, options));
  const verifying = program
    .command('verify')
    .description('check that what a store holds is what was written')
    .helpGroup('Every day:')
    .argument('<volume>', 'as `holdfast volume list` shows it', volumeName)
    .option('-s, --store <name>', 'which store; may be given again', storeNames)
    .option('--snapshot <id>', 'only this one (default: all that users see)', snapshotId)
    .option('--structure', 'maps and packs are there and fit')
    .option('--sample', 'and a share of the values is read (default)')
    .option('--all', 'and every value is read')
    .option('--seed <n>', 'of the sample', parseInteger('--seed'))
    .option('--against <store>', 'compare the roots with those of another store', storeName)
    .option('--parallel <n>', 'subtrees at once', parseInteger('--parallel'))
    .option('-d, --detach', 'start it and leave')
    .addHelpText('after', '\nExit status 5 when anything is damaged or differs; the damaged extents are named.')
    .action((volume: VolumeName, options: VerifyOptions) => verify(session, volume, options));
  for (const [command, ...names] of [
    [restoring, 'overwrite', 'differences', 'instant'],
    [verifying, 'structure', 'sample', 'all'],
  ] as const)
    for (const option of command.options.filter((one) => (names as readonly string[]).includes(one.attributeName())))
      option.conflicts(names.filter((name) => name !== option.attributeName()));
  program
    .command('reclaim')
    .description('free what is due, rewrite thin packs, sweep what crashes left')
    .helpGroup('Every day:')
    .option('-s, --store <name>', 'only in this one', storeName)
    .option('--volume <name>', 'only the repository of this one', volumeName)
    .option('--dry-run', 'only say what would be freed')
    .option('-d, --detach', 'start it and leave')
    .action((options: ReclaimOptions) => reclaim(session, options));
}

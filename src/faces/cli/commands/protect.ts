/** `holdfast protect`: disks whose every change goes to a journal, and what can be had back from it. */
import type { Command } from 'commander';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { NAME_PATTERN, storeName, volumeName, type StoreName } from '../../../domain/ids.ts';
import type { ProtectionRecord } from '../../../engine/catalog/protections.ts';
import type { GroupWanted } from '../../../engine/volumes/disks/group-record.ts';
import type { Disks } from '../../../engine/volumes/disks/disk-client.ts';
import { formatDuration, formatTime, parseDuration } from '../quantities.ts';
import { journalName, memberOf, type RegionOption } from '../region-options.ts';
import { openProtected, waitUntilProtected } from '../protected-journal.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { diskName } from './volume-disks.ts';
import { addFailoverCommands } from './protect-failover.ts';
import { addRegionCommands } from './protect-region.ts';
import { addRecoveryCommands } from './protect-recovery.ts';

function pointName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 60))} is no name of a point`, {
    field: '--name',
    expected: '1 to 63 letters, digits, dots, underscores or dashes, beginning with a letter or digit',
  });
}

interface StartOptions {
  readonly log: StoreName;
  readonly region: readonly RegionOption[];
  readonly mode: string;
  readonly retain?: number;
}

const here = async (session: Session): Promise<{ readonly host: string; readonly disks: Disks }> => {
  const { openHost } = await import('../../../engine/volumes/host.ts');
  const { host, folder } = await session.configuration();
  return { host, disks: openHost(host, folder).disks };
};

async function start(
  session: Session,
  journal: string,
  names: readonly string[],
  { log, region, mode, retain }: StartOptions,
): Promise<void> {
  if (mode !== 'local' && mode !== 'pair')
    throw new HoldfastError('ARGUMENT_INVALID', `there is no mode ${mode.slice(0, 20)}`, { field: '--mode', expected: 'local or pair' });
  const { host, disks } = await here(session);
  const served = await disks.list();
  const chosen = names.map((name) => {
    const disk = served.find(({ record }) => record.name === name);
    if (disk === undefined) throw new HoldfastError('DISK_NOT_FOUND', `no disk ${name} is served here`, { disk: name });
    return disk.record;
  });
  const group: GroupWanted = { format: 1, journal, disks: [...names], mode, log, members: [...region] };
  const protection: ProtectionRecord = {
    ...{ journal, host, mode, log, members: [...region] },
    disks: chosen.map(({ name, sizeBytes }) => ({ disk: name, sizeBytes })),
    extentBytes: Math.max(...chosen.map(({ extentBytes }) => extentBytes)),
    ...(retain === undefined ? {} : { retainMs: retain }),
  };
  const { catalog } = await session.home();
  await disks.protect(group);
  // Said when it is so: whoever starts it again finds both.
  await catalog.append(({ protections }) =>
    JSON.stringify(protections.get(journal)) === JSON.stringify(protection) ? null : { kind: 'PROTECTION_SET', protection },
  );
  await using opened = await openProtected(session, journal, { create: true });
  const upkeep = once(() => startUpkeep(session, journal));
  // Who has no base that could be had waits for a region to be filled, which the upkeep does.
  const status = await waitUntilProtected(session, opened, disks, { group, onNoBase: upkeep });
  await upkeep();
  const { mirrorBesideBases } = await import('../../../systems/protection/home-journal.ts');
  await mirrorBesideBases(await session.home(), protection);
  session.print(status, () => `${names.join(', ')}: every flush is a point of ${journal} from now on\n`);
}

function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | null = null;
  return () => (begun ??= work());
}

/** The disks are protected without it; what it does is done when it is there. */
async function startUpkeep(session: Session, journal: string): Promise<void> {
  try {
    await (await session.jobs()).start('protectDomain', { journal });
  } catch (error) {
    if (!isHoldfastError(error, 'TEMPORAL_UNREACHABLE')) throw error;
    session.say(`nobody looks after ${journal} while Temporal does not answer (no backfill, no retention); start it again then`);
  }
}

async function base(session: Session, journal: string): Promise<void> {
  const { disks } = await here(session);
  await using opened = await openProtected(session, journal, { create: true });
  const outcomes = await opened.takeBase(disks);
  session.print(outcomes, () =>
    outcomes.map((one) => `${one.region}: ${one.kind === 'recorded' ? `base at ${one.seq}` : one.why}\n`).join(''),
  );
  if (outcomes.every(({ kind }) => kind !== 'recorded')) session.fail(1);
}

async function status(session: Session): Promise<void> {
  const { host, disks } = await here(session);
  const { protections } = await (await session.home()).catalog.sync();
  const live = new Map((await disks.protection().catch(() => [])).map((one) => [one.group.journal, one]));
  const rows = [...protections.values()].map((protection) => ({
    protection,
    status: protection.host === host ? (live.get(protection.journal) ?? null) : null,
  }));
  session.print(rows, () =>
    renderTable(
      [
        { title: 'JOURNAL', cell: ({ protection }) => protection.journal },
        { title: 'DISKS', cell: ({ protection }) => protection.disks.map(({ disk }) => disk).join(', ') },
        { title: 'HOST', cell: ({ protection }) => protection.host },
        { title: 'MODE', cell: ({ protection }) => protection.mode },
        { title: 'STATE', cell: (row) => row.status?.state ?? (row.protection.host === host ? 'not served' : 'ask its host') },
        { title: 'RPO', align: 'right', cell: (row) => (row.status === null ? '' : formatDuration(row.status.rpoMs)) },
        { title: 'EPOCH', align: 'right', cell: (row) => String(row.status?.epoch ?? '') },
        {
          title: 'REGIONS',
          cell: ({ protection, status: now }) =>
            protection.members
              .map(({ region }) => {
                const member = now?.members.find((one) => one.region === region);
                if (member === undefined && (now?.members.length ?? 0) > 0) return `${region} (spare)`;
                return member?.lastError ? `${region} (${member.lastError})` : region;
              })
              .join(', '),
        },
        { title: 'WHY', cell: (row) => row.status?.lastError?.message ?? '' },
      ],
      rows,
      'nothing is protected; `holdfast protect start JOURNAL DISK... --log STORE --region STORE` begins',
    ),
  );
}

interface PointOptions {
  readonly name?: string;
}

/** The hooks of a group are those under its journal's name. */
async function point(session: Session, journal: string, { name }: PointOptions): Promise<void> {
  const { disks } = await here(session);
  const { epoch, seq, timeMs, consistency } = await disks.point(journal, [volumeName(journal)]);
  const { catalog } = await session.home();
  if (name !== undefined) await catalog.append(() => ({ kind: 'POINT_NAMED', journal, name, epoch, seq, timeMs, consistency }));
  const named = name === undefined ? '' : ` ${name},`;
  session.print(
    { journal, epoch, seq, timeMs, consistency, name: name ?? null },
    () => `point ${seq} of ${journal},${named} ${formatTime(timeMs)}\n`,
  );
}

async function stop(session: Session, journal: string): Promise<void> {
  const { disks } = await here(session);
  const { catalog } = await session.home();
  await disks.unprotect(journal);
  await catalog.append(({ protections }) => (protections.has(journal) ? { kind: 'PROTECTION_REMOVE', journal } : null));
  session.print({ stopped: journal }, () => `the disks of ${journal} are served without a journal; what it holds stays in its stores\n`);
}

export function addProtectCommands(program: Command, session: Session): void {
  const protect = program
    .command('protect')
    .description('disks whose every flush is a point that can be recovered')
    .helpGroup('Every day:');
  protect
    .command('start')
    .description('write every change of these disks of this machine to a journal, in one order')
    .argument('<journal>', 'a name for it', journalName)
    .argument('<disks...>', 'that are consistent together')
    .requiredOption('--log <store>', 'where its log lies; best none of the regions', storeName)
    .requiredOption('--region <store[:domain]>', 'holds a copy; of several one each, and what fails at once with it', memberOf)
    .option('--retain <duration>', 'points of so long ago can be recovered (default: 24h)', parseDuration('--retain'))
    .option('--mode <mode>', 'local: acknowledged by this machine; pair: by two regions', 'local')
    .action((journal: string, names: readonly string[], options: StartOptions) => start(session, journal, names.map(diskName), options));
  protect
    .command('status')
    .description('what is protected, and how far behind it is')
    .action(() => status(session));
  const of = (name: string, description: string): Command =>
    protect.command(name).description(description).argument('<journal>', 'of the disks', journalName);
  of('point', 'make a point of now')
    .option('--name <name>', 'by which it is found again', pointName)
    .action((journal: string, options: PointOptions) => point(session, journal, options));
  of('base', 'take a base of the live disks, after a time in which order was lost').action((journal: string) => base(session, journal));
  of('stop', 'end it; the disks are served on').action((journal: string) => stop(session, journal));
  addRecoveryCommands(protect, session, { journalName, pointName });
  addFailoverCommands(protect, session);
  addRegionCommands(protect, session);
}

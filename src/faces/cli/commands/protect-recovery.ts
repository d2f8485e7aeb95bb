/** `holdfast protect points|recover`: what a journal can give, and having it back. Needs the stores, and the disks' host only to serve or in place. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import type { Point } from '../../../engine/journal/recovery/plan.ts';
import type { InPlaceProgress } from '../../../systems/protection/in-place.ts';
import type { RecoveryProgress } from '../../../systems/protection/recover.ts';
import { openProtected, type ProtectedJournal } from '../protected-journal.ts';
import { formatBytes, formatTime, parseInteger, parseMoment } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { diskName } from './volume-disks.ts';

interface PointsOptions {
  readonly from?: number;
  readonly until?: number;
  readonly after?: number;
  readonly limit: number;
}

async function points(session: Session, journal: string, { from = 0, until = Infinity, after = 0, limit }: PointsOptions): Promise<void> {
  const { listPoints } = await import('../../../engine/journal/reading/points.ts');
  await using opened = await openProtected(session, journal);
  const page = await listPoints(opened.reading, { after, fromUs: from * 1000, untilUs: until * 1000, limit });
  session.print(page, () =>
    renderTable(
      [
        { title: 'POINT', align: 'right', cell: ({ seq }) => String(seq) },
        { title: 'BY', cell: ({ labelUs }) => formatTime(labelUs / 1000) },
        { title: 'EPOCH', align: 'right', cell: ({ epoch }) => String(epoch) },
      ],
      page.points,
      'no points in that time',
    ),
  );
  if (page.next !== null) session.say(`there are more: --after ${page.next}`);
  for (const { afterSeq, message } of page.holes) session.say(`points after ${afterSeq} are missing: ${message}`);
  if (page.silent.length > 0) session.say(`${page.silent.join(', ')} did not answer: points that nobody else holds are not listed`);
}

interface PointOptions {
  readonly name?: string;
  readonly point?: number;
  readonly at?: number;
}

interface RecoverOptions extends PointOptions {
  readonly serve?: string;
  readonly inPlace?: boolean;
  readonly force?: boolean;
}

/** The newest, if nothing is said. */
async function chosenPoint(session: Session, { reading, protection }: ProtectedJournal, options: PointOptions): Promise<Point> {
  const { name, point, at = reading.journal.environment.nowMs() } = options;
  if (name !== undefined) {
    const { findPoint } = await import('../../../engine/catalog/protections.ts');
    return findPoint((await session.home()).catalog.known(), protection.journal, name);
  }
  if (point !== undefined) {
    const { epochs } = await reading.journal.log.sync();
    return { seq: point, epoch: [...epochs.values()].findLast(({ start }) => start <= point)?.epoch ?? 0 };
  }
  const { pointAt } = await import('../../../engine/journal/reading/point-at.ts');
  const found = await pointAt(reading, at * 1000);
  if (found === null) throw new HoldfastError('POINT_GONE', `no point by ${formatTime(at)} can be recovered`, { timeMs: at });
  if (found.unheard !== null)
    session.say(`${found.unheard}: a later point by ${formatTime(at)} may be there; this one is ${found.point.seq}`);
  return found.point;
}

async function recover(session: Session, journal: string, folder: string | undefined, options: RecoverOptions): Promise<void> {
  const { serve, inPlace = false } = options;
  if (inPlace && (serve !== undefined || folder !== undefined))
    throw new HoldfastError('ARGUMENT_INVALID', 'in place is where the disks are', {
      field: '--in-place',
      expected: 'no FOLDER, no --serve',
    });
  if (inPlace) return recoverHere(session, journal, options);
  if (serve !== undefined) return recoverServed(session, journal, { ...options, serve, folder });
  if (folder !== undefined) return recoverToFiles(session, journal, folder, options);
  throw new HoldfastError('ARGUMENT_INVALID', 'it is not said where to', {
    field: 'folder',
    expected: 'FOLDER, --serve NAME, or --in-place',
  });
}

interface ServeOptions extends PointOptions {
  readonly serve: string;
  readonly folder: string | undefined;
}

async function recoverServed(session: Session, journal: string, options: ServeOptions): Promise<void> {
  const { servePoint } = await import('../../../systems/protection/instant.ts');
  const { openHost } = await import('../../../engine/volumes/host.ts');
  const { host, folder: home } = await session.configuration();
  await using opened = await openProtected(session, journal);
  const { reading, protection } = opened;
  const point = await chosenPoint(session, opened, options);
  const { folder = path.join(home, 'recovered'), serve: name } = options;
  await mkdir(folder, { recursive: true });
  const { disks } = openHost(host, home);
  const served = await servePoint({ reading, protection, disks, point, name, folder });
  session.print({ point: { journal, epoch: point.epoch, seq: point.seq }, disks: served }, () =>
    served
      .map(({ record, uris }) => `${record.name}: as of point ${point.seq}, served at ${uris.join(', ')}; it fills from its stores\n`)
      .join(''),
  );
}

/** A name that says when; the same for all tries of a recovery. */
const nameBefore = (timeMs: number): string => `before-recover-${new Date(timeMs).toISOString().replace(/[-:]|\.\d+/g, '')}`;

async function recoverHere(session: Session, journal: string, options: RecoverOptions): Promise<void> {
  const { recoverInPlace } = await import('../../../systems/protection/in-place.ts');
  const { PIN_MS_DEFAULT } = await import('../../../domain/limits.ts');
  const { openHost } = await import('../../../engine/volumes/host.ts');
  const { host, folder: home } = await session.configuration();
  await using opened = await openProtected(session, journal);
  const { reading, bases } = opened;
  const point = await chosenPoint(session, opened, options);
  const { catalog } = await session.home();
  const stop = new AbortController();
  session.terminal.onInterrupt(() => stop.abort());
  const recovered = await recoverInPlace({
    ...{ reading, bases, point, disks: openHost(host, home).disks, force: options.force === true, signal: stop.signal },
    pin: `in-place.${reading.journal.environment.random(8).toString('hex')}`,
    pinMs: PIN_MS_DEFAULT,
    async onBegun({ epoch, seq, timeMs }) {
      const name = nameBefore(timeMs);
      const named = { kind: 'POINT_NAMED' as const, journal, name, epoch, seq, timeMs, consistency: 'crash' as const };
      await catalog.append(({ points }) => (points.get(journal)?.has(name) === true ? null : named));
      session.say(`what the disks hold now is point ${seq}, ${name}; until this is through they are kept from clients`);
    },
    onProgress: toldInPlace(session),
  });
  const before = nameBefore(recovered.before.timeMs);
  session.print(
    { ...recovered, before: { ...recovered.before, name: before } },
    () =>
      `the disks of ${journal} are those of point ${point.seq} again, ${formatBytes(recovered.writtenBytes)} were written; ` +
      `\`holdfast protect recover ${journal} --in-place --name ${before}\` undoes it\n`,
  );
}

function toldInPlace(session: Session): (progress: InPlaceProgress) => void {
  let atMs = performance.now() + TELL_MS;
  return ({ comparedBytes, ofBytes, writtenBytes }) => {
    if (performance.now() < atMs) return;
    atMs = performance.now() + TELL_MS;
    session.say(`${formatBytes(comparedBytes)} of ${formatBytes(ofBytes)} compared, ${formatBytes(writtenBytes)} written`);
  };
}

async function recoverToFiles(session: Session, journal: string, folder: string, options: PointOptions): Promise<void> {
  const { recoverTo } = await import('../../../systems/protection/recover.ts');
  const { PIN_MS_DEFAULT } = await import('../../../domain/limits.ts');
  await using opened = await openProtected(session, journal);
  const { reading, bases, protection } = opened;
  const point = await chosenPoint(session, opened, options);
  await mkdir(folder, { recursive: true });
  const targets = new Map(
    protection.disks.map(({ disk, sizeBytes }, volume) => [volume, { path: path.join(folder, `${disk}.img`), sizeBytes }]),
  );
  const stop = new AbortController();
  session.terminal.onInterrupt(() => stop.abort());
  const recovered = await recoverTo({
    ...{ reading, bases, threads: opened.threads, point, targets, pinMs: PIN_MS_DEFAULT, signal: stop.signal },
    pin: `recover.${reading.journal.environment.random(8).toString('hex')}`,
    onProgress: told(session),
  });
  const paths = [...targets.values()].map((target) => target.path);
  session.print(
    { ...recovered, paths },
    () => `${paths.join(', ')}: as of point ${point.seq}, by ${formatTime(recovered.labelUs / 1000)}\n`,
  );
}

const TELL_MS = 2000;

/** A line now and then, with the rate so far. */
function told(session: Session): (progress: RecoveryProgress) => void {
  let atMs = TELL_MS;
  return ({ phase, writtenBytes, replayBytes, elapsedMs }) => {
    if (elapsedMs < atMs) return;
    atMs = elapsedMs + TELL_MS;
    const rate = `${formatBytes((writtenBytes * 1000) / elapsedMs)}/s`;
    session.say(`${phase}: ${formatBytes(writtenBytes)} written, ${rate}; the replay is ${formatBytes(replayBytes)} of it`);
  };
}

interface Parsers {
  readonly journalName: (text: string) => string;
  readonly pointName: (text: string) => string;
}

export function addRecoveryCommands(protect: Command, session: Session, { journalName, pointName }: Parsers): void {
  protect
    .command('points')
    .description('the points that can be recovered, oldest first')
    .argument('<journal>', 'of the disks', journalName)
    .option('--from <moment>', 'not before', parseMoment('--from'))
    .option('--until <moment>', 'not after', parseMoment('--until'))
    .option('--after <point>', 'only later ones', parseInteger('--after'))
    .option('--limit <count>', 'at most so many', parseInteger('--limit'), 100)
    .action((journal: string, options: PointsOptions) => points(session, journal, options));
  protect
    .command('recover')
    .description('the disks as they were at a point: as image files in a folder, served at once, or in place')
    .argument('<journal>', 'of the disks', journalName)
    .argument('[folder]', 'gets one file a disk (--serve: default recovered/ in the home folder)', (text: string) => path.resolve(text))
    .option('--serve <name>', 'serve them here at once, as disk NAME, or NAME-DISK each; they fill while they are used', diskName)
    .option('--in-place', 'write into the disks what they held; what they hold before it is a point, too, and named')
    .option('--force', '--in-place: although clients are connected')
    .option('--point <number>', 'which one (default: the newest)', parseInteger('--point'))
    .option('--name <name>', 'the one that was given this name', pointName)
    .option('--at <moment>', 'the newest one by then', parseMoment('--at'))
    .action((journal: string, folder: string | undefined, options: RecoverOptions) => recover(session, journal, folder, options));
}

/**
 * A real application on a real file system on a protected disk: PostgreSQL under load when the process that serves its disk is killed.
 *
 * The disk is recovered at two points that somebody asked for meanwhile, and at the newest one there is. At each the file system is
 * clean, the database starts, and holds what it must: every transaction that was answered before the point was asked for, none that was
 * sent when it had been given, and of each client no later one without those before it.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { findProtection } from '../../../src/engine/catalog/protections.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import { openHost, type Host } from '../../../src/engine/volumes/host.ts';
import { journalIn } from '../../../src/systems/protection/home-journal.ts';
import { describeWithMounts, expectClean, mountImage, mountVolume, replayJournal } from '../../engine/volumes/mounting.ts';
import { cliJson } from '../../faces/cli/run-cli.ts';
import { describeWith } from '../../faces/stack/describe-with.ts';
import { DisksProcess } from '../../faults/volumes/server.ts';
import { createInstallation, HOST, type Installation } from '../../systems/installation.ts';
import { writeExtents } from '../../systems/image.ts';
import { preparePostgres, saidBy, type PostgresSite } from './cluster.ts';
import { createLedger, readLedger, startWriters, type Progress, type Writers } from './ledger.ts';

const EXTENT = 64 * 1024;
const SIZE = 512 * 1024 * 1024;
/** Between two moments, of each client: for so long, and however slow the machine is so many. */
const BETWEEN = { commits: 40, ms: 1500 };
/** What a client may take to see that its server is gone. */
const NOTICES_WITHIN_MS = 5000;
const SETTLES_WITHIN_MS = 120_000;

let installation: Installation;
let host: Host;
let server: DisksProcess;
let postgres: PostgresSite;

beforeEach(async () => {
  installation = await createInstallation();
  for (const store of ['log', 'east', 'west']) await installation.addStore(store);
  host = openHost(HOST, installation.folder);
  server = new DisksProcess({
    ...{ variables: installation.variables, logFile: path.join(installation.folder, 'disks.log'), host },
    onUnexpectedEnd: (violation) => process.stderr.write(`${violation.message}\n`),
  });
  postgres = await preparePostgres();
}, 120_000);
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
}, 120_000);

const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(args, { variables: installation.variables });

/** What a database at a point must hold, and what it may. */
interface Mark {
  readonly answered: Progress;
  readonly sent: Progress;
}

async function named(name: string, writers: Writers): Promise<Mark> {
  const answered = writers.answered();
  await json('protect', 'point', 'j', '--name', name);
  return { answered, sent: writers.sent() };
}

interface Loaded {
  readonly first: Mark;
  readonly second: Mark;
  readonly end: Mark;
}

/** From a blank disk to the kill of its server. */
async function loadUntilKilled(uri: string): Promise<Loaded> {
  await using volume = await mountVolume(uri, path.join(postgres.folder, 'live'));
  await postgres.makeCluster(volume.folder);
  await using cluster = await postgres.start(volume.folder);
  await createLedger(cluster);
  const writers = await startWriters(cluster);
  await writers.more(BETWEEN);
  const first = await named('first', writers);
  await writers.more(BETWEEN);
  const client = await cluster.connect();
  await client.query('CHECKPOINT');
  await client.end();
  await writers.more(BETWEEN);
  const second = await named('second', writers);
  await writers.more(BETWEEN);
  await server.kill();
  // Whoever waits for a commit is told that it failed, or nothing.
  await Promise.race([writers.ended, sleep(NOTICES_WITHIN_MS)]);
  await cluster[Symbol.asyncDispose]();
  await writers.ended;
  return { first, second, end: { answered: writers.answered(), sent: writers.sent() } };
}

/** The disk server is started anew, and goes on with the journal until readers are told of a point of now. */
async function goOn(): Promise<void> {
  server.spawn();
  await server.ready();
  const late = AbortSignal.timeout(SETTLES_WITHIN_MS);
  const status = async () => (await host.disks.protection())[0];
  for (let now = await status(); now?.state !== 'PROTECTED'; now = await status()) {
    if (late.aborted) throw new Error(`${JSON.stringify(now)}: ${server.logTail()}`);
    await sleep(50);
  }
  const { seq } = await json<{ seq: number }>('protect', 'point', 'j');
  const isListed = async (): Promise<boolean> =>
    (await json<{ points: readonly unknown[] }>('protect', 'points', 'j', '--after', String(seq - 1))).points.length > 0;
  while (!(await isListed())) {
    if (late.aborted) throw new Error(`point ${seq} is not listed: ${JSON.stringify(await status())}: ${server.logTail()}`);
    await sleep(200);
  }
}

/** The host is gone with all that it had. Somebody else takes the journal over. */
async function loseHost(): Promise<void> {
  rmSync(path.join(installation.folder, 'disks'), { recursive: true });
  rmSync(installation.imageOf('db'));
  const protection = findProtection(await installation.home.catalog.sync(), 'j');
  const journal = await journalIn(installation.home, protection, false);
  await takeOver(journal, { owner: 'somebody else', mode: protection.mode, members: protection.members, tailLost: false });
}

async function holds({ answered, sent }: Mark, how: string, ...point: readonly string[]): Promise<Progress> {
  const folder = path.join(postgres.folder, how);
  mkdirSync(folder);
  await json('protect', 'recover', 'j', folder, ...point);
  const image = path.join(folder, 'db.img');
  await replayJournal(image);
  await expectClean(image);
  let held: Progress;
  {
    await using disk = await mountImage(image, path.join(folder, 'disk'));
    await using cluster = await postgres.start(disk.folder);
    expect(await cluster.check()).toBe('');
    held = await readLedger(cluster);
  }
  await expectClean(image);
  rmSync(image);
  const wrong = held.flatMap((last, client) => {
    const [least, most] = [answered[client] ?? Infinity, sent[client] ?? 0];
    return last < least || last > most ? [`${how}: of client ${client} it holds ${last}; answered were ${least}, and sent ${most}`] : [];
  });
  expect(wrong).toEqual([]);
  return held;
}

// Whichever of the two is missing has said so, loudly.
const hasPostgres = (await describeWith('postgres')) === describe;
const describePostgres = hasPostgres ? await describeWithMounts('e2fsck') : describe.skip;
describePostgres('PostgreSQL', () => {
  test.each([
    ['local', 'its disk server is killed and started anew', goOn],
    ['pair', 'its host is lost', loseHost],
  ] as const)(
    'in mode %s, %s: it starts at each of three points, with every commit of before and none of after',
    async (mode, _, after) => {
      server.spawn();
      await server.ready();
      const image = installation.imageOf('db');
      writeExtents(image, SIZE, EXTENT, []);
      const { uris } = await host.disks.attach({
        format: 1,
        name: 'db',
        path: image,
        sizeBytes: SIZE,
        extentBytes: EXTENT,
        hydration: null,
      });
      await json('protect', 'start', 'j', 'db', '--log', 'log', '--region', 'east:one', '--region', 'west:two', '--mode', mode);
      const { first, second, end } = await loadUntilKilled(uris[0] ?? '').catch(async (error: unknown) => {
        throw new Error(`${await saidBy(postgres)}\n${server.logTail()}`, { cause: error });
      });
      await after();
      const held = [
        await holds(first, 'first', '--name', 'first'),
        await holds(second, 'second', '--name', 'second'),
        await holds(end, 'newest'),
      ];
      process.stderr.write(`${mode}: ${held.map((progress) => progress.join(' ')).join('; ')}, answered ${end.answered.join(' ')}\n`);
    },
    600_000,
  );
});

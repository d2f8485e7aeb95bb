/**
 * The command line against what it stands on: a real Temporal server and real worker processes, started by `holdfast up` itself,
 * from the first store to a restore after Temporal's data was wiped. One installation for the whole file, told as a story:
 * each test goes on from the one before it.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ERROR_KINDS } from '../../../src/domain/errors.ts';
import { JOB_IDS } from '../../../src/domain/jobs.ts';
import { WORKER_ROLES } from '../../../src/faces/cli/worker-entry.ts';
import { ensureTemporal } from '../../../src/faces/stack/components.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { freePort, spawnReceiver } from './receiver-process.ts';
import { cli, cliJson, errorOf, type CliOptions, type CliRun } from './run-cli.ts';

const EXTENT = 256 * 1024;
const exec = promisify(execFile);

interface Line {
  readonly id: string;
  readonly store: string;
  readonly state: string;
  readonly obstacle: string | null;
}
interface Report<Result> {
  readonly job: string;
  readonly state: string;
  readonly joined: boolean;
  readonly result: Result;
}
interface Captured {
  readonly snapshot: string;
  readonly readBytes: number;
  readonly changedExtents: number;
  readonly reclaimed: readonly string[];
}

let folder: string;
let options: CliOptions;
let content: Buffer;
const at = (...parts: readonly string[]): string => path.join(folder, ...parts);
const run = (...args: readonly string[]): Promise<CliRun> => cli(args, options);
const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(args, options);
const lines = (...more: readonly string[]): Promise<readonly Line[]> => json<readonly Line[]>('snapshot', 'list', 'db', ...more);
const capture = async (...more: readonly string[]): Promise<Captured> =>
  (await json<Report<Captured>>('snapshot', 'create', 'db', ...more)).result;

/** Writes a fresh extent into the image and remembers what it holds then. */
async function change(extent: number): Promise<void> {
  const file = await open(at('db.img'), 'r+');
  await file.write(randomBytes(EXTENT), 0, EXTENT, extent * EXTENT);
  await file.close();
  content = await readFile(at('db.img'));
}
const restored = async (target: string): Promise<boolean> => (await readFile(target)).equals(content);

const describeInstalled = await describeWith('temporal');
describeInstalled('an installation', () => {
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-installed-'));
    const { PATH, HOME } = process.env;
    options = {
      variables: { PATH, HOME, HOLDFAST_HOME: at('home'), HOLDFAST_CACHE: finder.environment.cacheDir, HOLDFAST_HOST: 'machine' },
    };
    await writeFile(at('passphrase'), 'store-secret\n');
    await writeFile(at('db.img'), randomBytes(6 * EXTENT));
    await truncate(at('db.img'), 64 * EXTENT);
    content = await readFile(at('db.img'));
    const up = await run('up');
    expect({ code: up.code, err: up.err }).toMatchObject({ code: 0 });
  }, 240_000);
  afterAll(async () => {
    await run('down');
    await rm(folder, { recursive: true, force: true });
  });

  test('is whole after `up` on a machine with nothing: doctor finds no fault, a second `up` changes nothing', async () => {
    const before = await json<{ readonly workers: readonly { readonly state: string; readonly pid: number }[] }>('status');
    expect(before.workers.map(({ state }) => state)).toEqual(WORKER_ROLES.map(() => 'running'));
    expect(await json('up')).toMatchObject({ workers: before.workers.map(({ pid }) => ({ pid, state: 'running' })) });
    for (const store of ['local', 'cloud']) await json('store', 'add', store, at(store), '--passphrase', `file:${at('passphrase')}`);
    await json('volume', 'add', 'db', at('db.img'), '--store', 'local,cloud');
    const doctor = await run('doctor');
    expect(doctor.out).not.toContain('FAULT');
    expect(doctor.code).toBe(0);
    expect(doctor.out).toContain('node@machine');
  });

  test('captures with one read into two stores, and joins what runs', async () => {
    const first = await capture('--label', 'first');
    expect(first).toMatchObject({ readBytes: 6 * EXTENT, changedExtents: 6 });
    await change(20);
    expect((await capture()).changedExtents).toBe(1);
    const listed = await lines();
    expect(listed.map(({ store, state }) => `${store} ${state}`)).toEqual([
      'cloud AVAILABLE',
      'local AVAILABLE',
      'cloud AVAILABLE',
      'local AVAILABLE',
    ]);
  });

  test('restores whole, refuses a target that is there, and restores only what differs', async () => {
    await json('restore', 'db', at('out.img'));
    expect(await restored(at('out.img'))).toBe(true);
    const again = await run('restore', 'db', at('out.img'), '--json');
    expect([again.code, errorOf(again).code]).toEqual([ERROR_KINDS.TARGET_EXISTS.exitCode, 'TARGET_EXISTS']);
    const [first] = await lines('--store', 'cloud');
    const back = await json<Report<{ readonly writtenBytes: number }>>(
      'restore',
      'db',
      at('out.img'),
      '--differences',
      '--snapshot',
      first?.id ?? '',
      '-s',
      'cloud',
    );
    expect(back.result.writtenBytes).toBeLessThanOrEqual(EXTENT);
    const rescued = await run(
      'rescue',
      'restore',
      'db',
      at('rescued.img'),
      '--store',
      at('cloud'),
      '--passphrase',
      `file:${at('passphrase')}`,
    );
    expect(rescued.code).toBe(0);
    expect(await restored(at('rescued.img'))).toBe(true);
  });

  test('verifies, compares stores, copies and reclaims', async () => {
    expect(await json('verify', 'db', '-s', 'local', '--all', '--against', 'cloud')).toMatchObject({
      result: { damaged: [], differing: [], snapshots: 2 },
    });
    await json('store', 'add', 'third', at('third'), '--passphrase', `file:${at('passphrase')}`);
    const newest = (await lines()).at(-1)?.id ?? '';
    expect(await json('copy', newest, '--volume', 'db', '--from', 'local', '--to', 'third')).toMatchObject({
      result: { stores: [{ store: 'third', kind: 'committed' }] },
    });
    expect(await lines('--store', 'third')).toMatchObject([{ id: newest }]);
    expect(await json('reclaim', '--dry-run')).toMatchObject([{ due: [] }, { due: [] }, { due: [] }]);
    expect(await json<readonly unknown[]>('reclaim', '--volume', 'db')).toHaveLength(3);
  });

  test('hides the newest and waits, takes it back, deletes an older one at once', async () => {
    const [older, , newest] = await lines();
    const plan = await json<readonly { readonly waitsFor: string }[]>('snapshot', 'delete', newest?.id ?? '', '-s', 'local', '--dry-run');
    expect(plan[0]?.waitsFor).toBe('newest of a living lineage');
    expect(await json('snapshot', 'delete', newest?.id ?? '', '-s', 'local')).toMatchObject([{ state: 'waiting' }]);
    expect(await lines('--store', 'local')).toHaveLength(1);
    expect((await lines('--store', 'local', '--all')).map(({ state }) => state)).toEqual(['AVAILABLE', 'DELETE_PENDING']);
    await json('snapshot', 'undelete', newest?.id ?? '');
    expect(await lines('--store', 'local')).toHaveLength(2);
    expect(await json('snapshot', 'delete', older?.id ?? '', '-s', 'local')).toMatchObject([
      { state: 'done', result: { outcome: 'reclaimed' } },
    ]);
    expect(await lines('--store', 'local', '--all')).toHaveLength(1);
  });

  test('a command may leave at once or by Ctrl-C; the job goes on and can be waited for', async () => {
    await change(30);
    const detached = await json<Report<unknown>>('snapshot', 'create', 'db', '--detach');
    expect(detached).toMatchObject({ job: 'capture.db', state: 'started' });
    expect((await json<Report<Captured>>('job', 'wait', 'capture.db')).result.changedExtents).toBe(1);
    const newest = (await lines('--store', 'cloud')).at(-1)?.id ?? '';
    const args = ['snapshot', 'delete', newest, '-s', 'cloud', '--wait'];
    const left = await cli(args, { ...options, interruptWhen: (err) => err.includes('waits: newest') });
    expect(left.code).toBe(130);
    expect(left.err).toContain(`holdfast job cancel delete.cloud.${newest}`);
    expect(await json<readonly { readonly id: string }[]>('job', 'list')).toMatchObject([
      { id: `delete.cloud.${newest}`, state: 'running' },
    ]);
    expect(await json('job', 'show', `delete.cloud.${newest}`)).toMatchObject({ view: { progress: { state: 'waiting' } } });
  });

  test('Temporal is wiped: reconcile starts what the logs say is open, and the pending delete ends with the next capture', async () => {
    await run('down');
    const stack = at('home', 'stack');
    for (const name of await readdir(stack)) if (name.startsWith('temporal.db')) await rm(path.join(stack, name));
    expect((await run('up')).code).toBe(0);
    const pending = (await lines('--store', 'cloud', '--all')).find(({ state }) => state === 'DELETE_PENDING')?.id ?? '';
    const id = `delete.cloud.${pending}`;
    const step = { kind: 'start', id, job: 'deleteSnapshot' };
    expect(await json('reconcile', '--dry-run')).toMatchObject({ dryRun: true, plan: [step] });
    expect(await json('reconcile')).toMatchObject({ plan: [step] });
    expect(await json('reconcile')).toMatchObject({ running: 1, plan: [] });
    expect((await capture()).reclaimed).toContain(pending);
    // What the capture reclaimed is gone for the delete, too, whoever was first.
    expect(await json('job', 'wait', id)).toMatchObject({ result: { snapshot: pending, outcome: 'reclaimed' } });
  }, 120_000);

  test('a volume is served, captured while it is written, restored as a disk at once, and detached', async () => {
    await json('volume', 'add', 'disk', at('db.img'), '--store', 'local');
    const attached = await json<Report<{ readonly uris: readonly string[] }>>('volume', 'attach', 'disk');
    const captureDisk = async (): Promise<Captured> => (await json<Report<Captured>>('snapshot', 'create', 'disk')).result;
    await captureDisk();
    expect((await run('doctor')).out).toMatch(/disk disk +ok +.*db\.img, 0 clients/);
    {
      using user = await useDisk(attached.result.uris[0] ?? '');
      await user.write(40 * EXTENT, randomBytes(512));
      expect((await captureDisk()).changedExtents).toBe(1);
      const [shown] = await json<readonly { readonly connections: number }[]>('volume', 'disks');
      expect(shown).toMatchObject({ connections: 1, views: [], hydration: null });
      expect((await run('volume', 'detach', 'disk')).code).toBe(ERROR_KINDS.DISK_IN_USE.exitCode);
      await user.leave();
    }
    const refused = await run('restore', 'disk', at('new.img'), '--promote', '--json');
    expect(errorOf(refused)).toMatchObject({ code: 'ARGUMENT_INVALID' });
    const instant = await run('restore', 'disk', at('new.img'), '--instant', '--disk', 'disk.new', '--promote');
    expect(instant.out).toContain('disk.new?socket=');
    expect((await run('job', 'wait', JOB_IDS.hydrateDisk({ volume: 'disk', store: 'local', target: at('new.img') }))).code).toBe(0);
    expect((await readFile(at('new.img'))).equals(await readFile(at('db.img')))).toBe(true);
    expect((await run('volume', 'disks')).out).toMatch(/disk\.new +16\.0 MiB/);
    expect(await json('volume', 'show', 'disk')).toMatchObject({ path: at('new.img') });
    const nothing = await captureDisk();
    expect(nothing.changedExtents).toBe(0);
    const { workers } = await json<{
      readonly workers: readonly { readonly worker: string; readonly pid: number; readonly metricsUrl: string }[];
    }>('status');
    const of = (role: string) => workers.find(({ worker }) => worker === role);
    const metrics = await (await fetch(of('disks')?.metricsUrl ?? '')).text();
    expect(metrics).toContain('holdfast_disk_freeze_pause_seconds_count{role="disks",disk="disk"} 2');
    // A node gives way to what it protects; who serves the disks does not.
    expect([getPriority(of('node')?.pid), getPriority(of('disks')?.pid)]).toEqual([10, 0]);
    for (const disk of ['disk', 'disk.new']) await json('volume', 'detach', disk);
    expect(await json('volume', 'disks')).toEqual([]);
    content = await readFile(at('db.img'));
  });

  test('every Temporal CLI line of docs/operations.md runs', async () => {
    const page = await readFile(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
    const starts = page.split('\n').filter((line) => line.startsWith('temporal workflow start'));
    expect(new Set(starts.map((line) => /--type (\w+)/.exec(line)?.[1]))).toEqual(new Set(Object.keys(JOB_IDS)));
    const status = await json<{ readonly components: readonly { readonly component: string; readonly address: string }[] }>('status');
    const TEMPORAL_ADDRESS = status.components.find(({ component }) => component === 'temporal')?.address;
    const { path: temporal } = await ensureTemporal(finder);
    const snapshot = (await lines('--store', 'local')).at(0)?.id ?? '';
    const shell = async (line: string): Promise<string> => {
      const command = line
        .replaceAll('SNAPSHOT', snapshot)
        .replaceAll('/tmp/db.img', at('by-temporal.img'))
        .replaceAll('/tmp/db-disk.img', at('disk-by-temporal.img'))
        .replace(/^temporal/, `'${temporal}'`);
      const env = { PATH: process.env['PATH'], HOME: folder, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE: 'holdfast' };
      return (await exec('sh', ['-c', command], { env })).stdout;
    };
    await writeFile(at('db-log.img'), Buffer.alloc(EXTENT));
    await json('volume', 'add', 'db-log', at('db-log.img'), '--store', 'local');
    await json('volume', 'attach', 'db-log');
    const port = await freePort();
    const receiver = spawnReceiver({ ...options.variables, HOLDFAST_RECEIVER_LISTEN: `127.0.0.1:${port}` });
    const { token } = await json<{ readonly token: string }>('receiver', 'token', 'add', '--store', 'local', '--prefix', 'from-');
    await writeFile(at('token'), token);
    await json('replicate', 'receiver', 'add', 'offsite', '--url', `http://127.0.0.1:${port}`, '--token', `file:${at('token')}`);
    await receiver.ready;
    for (const line of starts) {
      await shell(line);
      const id = (/--workflow-id (\S+)/.exec(line)?.[1] ?? '').replaceAll('SNAPSHOT', snapshot);
      // There is no table here, and no journal, which their jobs say; looking after one ends when there is none.
      const expected = /--type ((archive|restore)Table|failover|failback|testFailover|backfillRegion) /.test(line)
        ? ERROR_KINDS.TABLE_NOT_FOUND.exitCode
        : 0;
      expect([id, (await run('job', 'wait', id)).code]).toEqual([id, expected]);
    }
    expect(await restored(at('by-temporal.img'))).toBe(true);
    await receiver.end('SIGTERM');
    for (const line of page.split('\n').filter((one) => /^temporal workflow (result|query|list)/.test(one))) await shell(line);
  }, 120_000);

  test('a retired volume keeps its snapshots, frees what waited, and may begin a new life', async () => {
    await json('volume', 'retire', 'db');
    expect((await run('snapshot', 'create', 'db', '--json')).code).toBe(ERROR_KINDS.VOLUME_RETIRED.exitCode);
    await json('restore', 'db', at('retired.img'));
    expect(await restored(at('retired.img'))).toBe(true);
    expect(await json('volume', 'add', 'db', at('db.img'), '--store', 'local')).toMatchObject({ incarnation: 2 });
    expect((await capture()).changedExtents).toBeGreaterThan(0);
  });

  test('a cancelled job says so to whoever waits, and what it hid can be brought back without it', async () => {
    const newest = (await lines('--store', 'local')).at(-1)?.id ?? '';
    const id = `delete.local.${newest}`;
    expect(await json('snapshot', 'delete', newest, '-s', 'local')).toMatchObject([{ job: id, state: 'waiting' }]);
    await json('job', 'cancel', id);
    const waited = await run('job', 'wait', id, '--json');
    expect([waited.code, errorOf(waited).code]).toEqual([ERROR_KINDS.JOB_CANCELLED.exitCode, 'JOB_CANCELLED']);
    expect(await json('job', 'list', '--all')).toContainEqual(expect.objectContaining({ id, state: 'cancelled' }));
    expect(await json('snapshot', 'undelete', newest)).toEqual({ snapshot: newest, stores: ['local'] });
    expect((await lines('--store', 'local')).at(-1)?.id).toBe(newest);
    expect((await run('job', 'wait', 'no.such.job')).code).toBe(ERROR_KINDS.JOB_NOT_FOUND.exitCode);
  });

  test('no secret is in what the command line or the workers wrote', async () => {
    const catalog = (await readFile(at('home', 'catalog.passphrase'), 'utf8')).trim();
    for (const name of (await readdir(at('home', 'stack'))).filter((one) => one.endsWith('.log'))) {
      const log = await readFile(at('home', 'stack', name), 'utf8');
      expect(log).not.toContain(catalog);
      expect(log).not.toContain('store-secret');
    }
  });
});

const literally = (text: string): string => text.replaceAll(/[^\w ]/g, '\\$&');

test('docs/operations.md has every code with its exit status, and every command', async () => {
  const page = await readFile(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
  for (const [code, { exitCode, summary, hint }] of Object.entries(ERROR_KINDS))
    expect(page).toMatch(new RegExp(`^\\| \`${code}\` +\\| ${exitCode} .*${literally(summary)}.*${literally(hint)}`, 'm'));
  const help = await cli(['--help'], { variables: {} });
  for (const [, command] of help.out.matchAll(/^ {2}([a-z]+) (?:\[|<)/gm))
    if (command !== 'help' && command !== 'holdfast') expect(page).toContain(`\`${command}`);
});

/**
 * What an operator does to a job that runs: pause, resume, detach a store, through the command line, against a real Temporal
 * server and real worker processes.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ERROR_KINDS } from '../../../src/domain/errors.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf, type CliOptions, type CliRun } from './run-cli.ts';

const MIB = 1024 * 1024;
/** At one MiB a second: long enough that a slow machine pauses it in its middle. */
const SLOW_SECONDS = 12;

interface Shown {
  readonly view: {
    readonly status: string;
    readonly progress: { readonly state: string; readonly phase: string; readonly paused: { readonly store: string } | null } | null;
  };
}
interface Report {
  readonly state: string;
  readonly result: {
    readonly snapshot: string;
    readonly stores: readonly { readonly store: string; readonly kind: string; readonly job?: string }[];
  };
}
interface Line {
  readonly id: string;
  readonly state: string;
}

let folder: string;
let options: CliOptions;
const at = (...parts: readonly string[]): string => path.join(folder, ...parts);
const run = (...args: readonly string[]): Promise<CliRun> => cli(args, options);
const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(args, options);
const show = async (id: string): Promise<Shown['view']> => (await json<Shown>('job', 'show', id)).view;

async function until(id: string, wanted: (view: Shown['view']) => boolean): Promise<Shown['view']> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const view = await show(id);
    if (wanted(view)) return view;
    if (performance.now() > deadline) throw new Error(`${id} stays at ${JSON.stringify(view)}`);
    await sleep(200);
  }
}

const describeInstalled = await describeWith('temporal');
describeInstalled('a job that its operator steers', () => {
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-steering-'));
    const { PATH, HOME } = process.env;
    options = {
      variables: { PATH, HOME, HOLDFAST_HOME: at('home'), HOLDFAST_CACHE: finder.environment.cacheDir, HOLDFAST_HOST: 'machine' },
    };
    await writeFile(at('passphrase'), 'store-secret\n');
    await writeFile(at('db.img'), randomBytes(SLOW_SECONDS * MIB));
    const up = await run('up');
    expect({ code: up.code, err: up.err }).toMatchObject({ code: 0 });
    for (const store of ['near', 'far']) {
      const bandwidth = store === 'far' ? ['--bandwidth', '1M'] : [];
      await json('store', 'add', store, at(store), '--passphrase', `file:${at('passphrase')}`, ...bandwidth);
    }
    await json('volume', 'add', 'db', at('db.img'), '--store', 'near,far');
  }, 240_000);
  afterAll(async () => {
    await run('down');
    await rm(folder, { recursive: true, force: true });
  });

  test('is paused in its middle, commits nothing while it is, and ends well after it was resumed', async () => {
    await json('snapshot', 'create', 'db', '--detach');
    await until('capture.db', ({ progress }) => progress?.phase === 'shipping');
    const paused = await run('job', 'pause', 'capture.db');
    expect(paused).toMatchObject({ code: 0, out: 'capture.db is paused\n' });
    expect((await show('capture.db')).progress).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    expect((await run('job', 'show', 'capture.db')).out).toContain('paused by its operator');
    await sleep(SLOW_SECONDS * 1000);
    expect((await show('capture.db')).progress).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    expect(await json('snapshot', 'list', 'db')).toEqual([]);
    // Asked twice, it is paused all the same.
    expect((await run('job', 'pause', 'capture.db')).code).toBe(0);
    expect(await json('job', 'resume', 'capture.db')).toEqual({ job: 'capture.db', asked: 'resume' });
    const { result } = await json<Report>('job', 'wait', 'capture.db');
    expect(result.stores.map(({ store, kind }) => `${store} ${kind}`)).toEqual(['near committed', 'far committed']);
    await json('restore', 'db', at('out.img'), '--store', 'far');
    expect((await readFile(at('out.img'))).equals(await readFile(at('db.img')))).toBe(true);
  }, 240_000);

  test('leaves a store behind that is down; the other has the snapshot, and the catch-up job is there to be seen and waited for', async () => {
    await writeFile(at('db.img'), randomBytes(2 * MIB));
    renameSync(at('far'), at('far.away'));
    await json('snapshot', 'create', 'db', '--allow-shrink', '--detach');
    const held = await until('capture.db', ({ progress }) => progress?.state === 'paused');
    expect(held.progress?.paused?.store).toBe('far');
    expect((await run('job', 'show', 'capture.db')).out).toMatch(/held up: +paused: far: no store/);
    expect(await json('job', 'detach', 'capture.db', '--store', 'far')).toEqual({ job: 'capture.db', asked: 'detach' });
    const waited = await run('job', 'wait', 'capture.db', '--json');
    expect(waited.code).toBe(0);
    const { result } = JSON.parse(waited.out) as Report;
    const job = `copy.far.${result.snapshot}`;
    expect(result.stores).toMatchObject([
      { store: 'near', kind: 'committed' },
      { store: 'far', kind: 'detached', job },
    ]);
    const known = await until(job, ({ progress }) => progress?.state === 'paused');
    expect(known.status).toBe('RUNNING');
    expect(await json<readonly Line[]>('job', 'list')).toMatchObject([{ id: job, state: 'running' }]);
    renameSync(at('far.away'), at('far'));
    const caughtUp = await json<Report>('job', 'wait', job);
    expect(caughtUp.result.stores).toMatchObject([{ store: 'far', kind: 'committed' }]);
    await json('restore', 'db', at('caught-up.img'), '--store', 'far');
    expect((await readFile(at('caught-up.img'))).equals(await readFile(at('db.img')))).toBe(true);
  }, 240_000);

  test('is refused what it does not know, and what runs no more', async () => {
    const code = async (...args: readonly string[]): Promise<readonly unknown[]> => {
      const refused = await run(...args, '--json');
      return [refused.code, errorOf(refused).code];
    };
    const expected = (name: keyof typeof ERROR_KINDS) => [ERROR_KINDS[name].exitCode, name];
    expect(await code('job', 'pause', 'capture.db')).toEqual(expected('JOB_NOT_FOUND'));
    expect(await code('job', 'resume', 'no.such.job')).toEqual(expected('JOB_NOT_FOUND'));
    expect(await code('job', 'detach', 'capture.db')).toEqual(expected('ARGUMENT_INVALID'));
    expect(await code('job', 'detach', 'capture.db', '--store', 'nowhere')).toEqual(expected('STORE_NOT_FOUND'));
    const newest = (await json<readonly Line[]>('snapshot', 'list', 'db', '--store', 'near')).at(-1)?.id ?? '';
    await json('snapshot', 'delete', newest, '-s', 'near');
    expect(await code('job', 'pause', `delete.near.${newest}`)).toEqual(expected('ARGUMENT_INVALID'));
    await json('job', 'cancel', `delete.near.${newest}`);
  });
});

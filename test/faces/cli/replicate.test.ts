/** `holdfast replicate` against a real Temporal server, the workers of a stage, and a real receiver behind its transport. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { volumeName } from '../../../src/domain/ids.ts';
import type { ReplicateResult } from '../../../src/domain/jobs.ts';
import { mintToken } from '../../../src/engine/replication/tokens.ts';
import { createLagMetrics } from '../../../src/systems/replication/sender-metrics.ts';
import { writeExtents } from '../../systems/image.ts';
import { raiseReceiver, type StagedReceiver } from '../../workflows/replication-stage.ts';
import { raiseStage, type Stage } from '../../workflows/stage.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf, type CliOptions, type CliRun } from './run-cli.ts';

const EXTENT = 64 * 1024;
const SIZE = 100 * EXTENT;

interface StatusLine {
  readonly volume: string;
  readonly receiver: string;
  readonly lag: {
    readonly last: { readonly snapshot: string } | null;
    readonly snapshots: number;
    readonly bytes: number;
    readonly ms: number;
  };
  readonly session: unknown;
}

const describeTemporal = await describeWith('temporal');
describeTemporal('holdfast replicate', () => {
  let stage: Stage;
  let there: StagedReceiver;
  let options: CliOptions;
  const run = (...args: readonly string[]): Promise<CliRun> => cli(['replicate', ...args], options);
  const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(['replicate', ...args], options);
  const refused = async (...args: readonly string[]) => errorOf(await run(...args, '--json'));
  const token = mintToken(randomBytes).token;

  beforeAll(async () => {
    stage = await raiseStage(finder);
    const { installation, temporal } = stage;
    for (const store of ['here', 'there']) await installation.addStore(store);
    await installation.addVolume('db', ['here'], {
      sizeBytes: SIZE,
      extentBytes: EXTENT,
      writes: [
        { extent: 1, content: 2 },
        { extent: 9, content: 3 },
      ],
    });
    there = await raiseReceiver(stage, 'there');
    await there.enter('offsite');
    await stage.run('captureSnapshot', { volume: 'db' });
    options = {
      variables: { ...installation.variables, TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: temporal.namespace, A_TOKEN: token },
    };
  });
  afterAll(async () => {
    await there[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  test('receivers are added, changed, listed and removed; their secrets are shown nowhere', async () => {
    const add = ['receiver', 'add', 'far', '--url', 'https://backup.example:9470', '--token', 'env:A_TOKEN'];
    await json(...add, '--limit', '2M');
    expect(await refused(...add)).toMatchObject({ code: 'RECEIVER_EXISTS' });
    expect((await refused('receiver', 'set', 'nobody', ...add.slice(3))).code).toBe('RECEIVER_NOT_FOUND');
    await json('receiver', 'set', 'far', ...add.slice(3), '--seal', 'sender', '--passphrase', 'env:HOLDFAST_PASSPHRASE');
    expect(await json('receiver', 'list')).toContainEqual({
      ...{ name: 'far', url: 'https://backup.example:9470', token: 'env:A_TOKEN', ca: null, client: null, bytesPerSecondMax: null },
      seal: { by: 'sender', passphrase: 'env:HOLDFAST_PASSPHRASE' },
    });
    expect((await run('receiver', 'list')).out).not.toContain(token);
    await json('receiver', 'remove', 'far');
    expect((await refused('receiver', 'remove', 'far')).code).toBe('RECEIVER_NOT_FOUND');
  });

  test.each([
    [['receiver', 'add', 'x', '--url', 'http://backup.example:9470', '--token', 'env:A_TOKEN']],
    [['receiver', 'add', 'x', '--url', 'https://u:p@backup.example', '--token', 'env:A_TOKEN']],
    [['receiver', 'add', 'x', '--url', 'https://backup.example', '--token', token]],
    [['receiver', 'add', 'x', '--url', 'https://backup.example', '--token', 'env:HOLDFAST_HOME']],
    [['receiver', 'add', 'x', '--url', 'https://backup.example', '--token', 'env:A_TOKEN', '--seal', 'sender']],
    [['receiver', 'add', 'x', '--url', 'https://backup.example', '--token', 'env:A_TOKEN', '--cert', 'cert.pem']],
    [['policy', 'set', 'db', '--receiver', 'offsite']],
    [['policy', 'set', 'db', '--receiver', 'offsite', '--every', '5s']],
    [['policy', 'set', 'db', '--receiver', 'offsite', '--after-capture', '--window', '8-18=2M']],
    [['policy', 'remove', 'db', '--receiver', 'offsite']],
    [['start', 'db', '--receiver', 'offsite', '--proof', 'none']],
  ])('%j is refused, and no token is said', async (args) => {
    const said = await run(...args, '--json');
    expect(errorOf(said).exitCode).toBe(2);
    expect(`${said.out}${said.err}`).not.toContain(token);
  });

  test('a snapshot is brought there, and the status says how far it is', async () => {
    const { state, result } = await json<{ readonly state: string; readonly result: ReplicateResult }>(
      'start',
      'db',
      '--receiver',
      'offsite',
    );
    expect([state, result.figures.sent]).toEqual(['done', 2]);
    expect(await json('status')).toMatchObject([
      {
        volume: 'db',
        receiver: 'offsite',
        lag: { last: { snapshot: result.snapshot, figures: result.figures }, snapshots: 0, bytes: 0, ms: 0 },
        session: null,
      },
    ]);
    writeExtents(stage.installation.imageOf('db'), SIZE, EXTENT, [{ extent: 4, content: 5 }]);
    await stage.run('captureSnapshot', { volume: 'db' });
    const [behind] = await json<readonly StatusLine[]>('status');
    expect(behind?.lag).toMatchObject({ last: { snapshot: result.snapshot }, snapshots: 1, bytes: EXTENT });
    const registry = new Registry();
    createLagMetrics(registry, stage.installation.home);
    const told = async (): Promise<string> => registry.metrics();
    await told();
    while (!(await told()).includes('{')) await sleep(20);
    expect(await told()).toContain(`holdfast_replication_lag_bytes{volume="db",receiver="offsite"} ${EXTENT}`);
    expect((await run('status')).out).toMatch(/db +offsite +\S+ +1 snapshots, 64.0 KiB/);
    expect((await run('start', 'db', '--receiver', 'offsite')).out).toMatch(
      /is at offsite, on 01.*\n +1 extent named .* 1 sent .* on the wire\n/,
    );
    expect((await refused('start', 'db', '--receiver', 'nowhere')).code).toBe('RECEIVER_NOT_FOUND');
  });

  test('a policy by the clock is a schedule of Temporal, and is gone with it', async () => {
    const scheduleId = 'replicate.offsite.db';
    const described = () => stage.client.schedule.getHandle(scheduleId).describe();
    const set = (every: string) => json('policy', 'set', 'db', '--receiver', 'offsite', '--every', every, '--window', '22:00-06:00=1M');
    await set('6h');
    await set('2h');
    expect((await described()).spec.intervals).toMatchObject([{ every: 7_200_000 }]);
    const policy = { volume: volumeName('db'), receiver: 'offsite', from: null, afterCapture: false, everyMs: 7_200_000 };
    const window = { fromMinute: 22 * 60, toMinute: 6 * 60, bytesPerSecondMax: 1024 * 1024 };
    expect(await json('policy', 'list')).toEqual([{ ...policy, window }]);
    expect((await refused('receiver', 'remove', 'offsite')).message).toContain('still replicated');
    await stage.client.schedule.getHandle(scheduleId).trigger();
    await json('policy', 'remove', 'db', '--receiver', 'offsite');
    await expect(described()).rejects.toThrow();
    expect(await json('policy', 'list')).toEqual([]);
  });
});

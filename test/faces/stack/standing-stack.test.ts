import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { endProcess, identify } from '../../../src/faces/stack/process-identity.ts';
import { silentProgress } from '../../../src/faces/stack/progress.ts';
import { stackDown, stackStatus, stackUp } from '../../../src/faces/stack/standing-stack.ts';
import type { StackOptions } from '../../../src/faces/stack/standing-stack.ts';
import { standingCredentials, standingPaths, writeRecord } from '../../../src/faces/stack/standing-record.ts';
import { describeWith, finder } from './describe-with.ts';

let options: StackOptions;
beforeAll(async () => {
  const homeDir = await mkdtemp(path.join(tmpdir(), 'holdfast-home-'));
  options = { environment: { ...finder.environment, homeDir }, progress: silentProgress, components: ['temporal', 's3'] };
});
afterEach(() => stackDown(options));
afterAll(() => rm(options.environment.homeDir, { recursive: true, force: true }));

const describeStack = await describeWith('temporal', 's3');
describeStack('a stack that stays', () => {
  test('two ups at once start one; down leaves nothing running; the next up has the same addresses', async () => {
    expect((await stackStatus(options)).map(({ state }) => state)).toEqual(['stopped', 'stopped']);

    const [first, second] = await Promise.all([stackUp(options), stackUp(options)]);
    expect(second).toEqual(first);
    expect(first.map(({ state }) => state)).toEqual(['running', 'running']);
    const pids = first.map(({ pid }) => pid ?? 0);
    expect((await Promise.all(pids.map(identify))).every((identity) => identity !== null)).toBe(true);

    expect(await stackDown(options)).toEqual(['temporal', 's3']);
    expect(await Promise.all(pids.map(identify))).toEqual([null, null]);
    expect((await stackStatus(options)).map(({ state, address }) => [state, address])).toEqual(
      first.map(({ address }) => ['stopped', address]),
    );
    expect(await stackDown(options)).toEqual([]);

    const again = await stackUp(options);
    expect(again.map(({ address }) => address)).toEqual(first.map(({ address }) => address));
  }, 120_000);

  test('keeps the S3 secret in a file that only its owner reads, and in no record', async () => {
    const { secretAccessKey } = await standingCredentials(options.environment);
    const { credentials, record } = standingPaths('s3', options.environment);
    expect((await stat(credentials)).mode & 0o777).toBe(0o600);
    expect(await readFile(record, 'utf8')).not.toContain(secretAccessKey);
    expect(JSON.stringify(await stackStatus(options))).not.toContain(secretAccessKey);
  });
});

test('down never ends a process that merely has the pid of one that was started', async () => {
  const bystander = spawn('sleep', ['60'], { stdio: 'ignore' });
  const identity = await identify(bystander.pid ?? 0);
  expect(identity).not.toBeNull();
  const process = { pid: bystander.pid ?? 0, began: 'at some other time' };
  await writeRecord({ format: 1, component: 'kafka', process, port: 1, uiPort: null, namespace: null }, options.environment);

  expect(await stackDown({ ...options, components: ['kafka'] })).toEqual([]);
  expect(await identify(process.pid)).toEqual(identity);
  expect(identity !== null && (await endProcess(identity, 5000))).toBe(true);
  expect(await identify(process.pid)).toBeNull();
});

test('a component of somebody else is shown and never started', async () => {
  const environment = { ...options.environment, kafka: { brokers: ['127.0.0.1:1'], libsDir: undefined } };
  const ofKafka: StackOptions = { ...options, environment, components: ['kafka'] };
  expect(await stackStatus(ofKafka)).toMatchObject([{ state: 'external-unreachable', address: '127.0.0.1:1', pid: null }]);
  await expect(stackUp(ofKafka)).rejects.toMatchObject({ code: 'COMPONENT_UNAVAILABLE' });
});

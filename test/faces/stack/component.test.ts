import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { ensureComponent, locate } from '../../../src/faces/stack/component.ts';
import { TEMPORAL } from '../../../src/faces/stack/components.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { silentProgress } from '../../../src/faces/stack/progress.ts';
import { fakeComponent } from './provision-once.ts';

const folders: string[] = [];
let folder: string;
let builds: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-component-'));
  folders.push(folder);
  builds = path.join(folder, 'builds');
});
afterAll(() => Promise.all(folders.map((each) => rm(each, { recursive: true, force: true }))));

const environmentHere = () => readStackEnvironment({ HOLDFAST_CACHE: path.join(folder, 'cache') });
const finderHere = () => ({ environment: environmentHere(), progress: silentProgress });
const provisionElsewhere = (buildMs: number) =>
  spawn(process.execPath, [path.join(import.meta.dirname, 'provision-once.ts'), path.join(folder, 'cache'), builds, String(buildMs)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });

async function program(name: string): Promise<string> {
  const file = path.join(folder, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, '#!/bin/sh\n');
  await chmod(file, 0o755);
  return file;
}

describe('finding a component', () => {
  test('prefers what the environment names, then PATH, then the cache', async () => {
    const named = await program('own/temporal');
    const onPath = await program('bin/temporal');
    const cached = await program('cache/temporal-1.5.1/temporal');
    const PATH = `/nowhere:${path.dirname(onPath)}`;
    const HOLDFAST_CACHE = path.join(folder, 'cache');

    expect(await locate(TEMPORAL, readStackEnvironment({ HOLDFAST_TEMPORAL_BIN: named, PATH, HOLDFAST_CACHE }))).toEqual({
      path: named,
      origin: 'environment',
    });
    expect(await locate(TEMPORAL, readStackEnvironment({ PATH, HOLDFAST_CACHE }))).toEqual({ path: onPath, origin: 'path' });
    expect(await locate(TEMPORAL, readStackEnvironment({ HOLDFAST_CACHE }))).toEqual({ path: cached, origin: 'cache' });
  });

  test('refuses a variable that names nothing, instead of taking something else', async () => {
    const environment = readStackEnvironment({ HOLDFAST_TEMPORAL_BIN: '/nowhere/temporal' });
    await expect(locate(TEMPORAL, environment)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'HOLDFAST_TEMPORAL_BIN' },
    });
  });

  test('refuses an address that is none', () => {
    expect(() => readStackEnvironment({ HOLDFAST_TEMPORAL_ADDRESS: 'http://host' })).toThrow(
      /HOLDFAST_TEMPORAL_ADDRESS: expected host:port/,
    );
  });
});

describe('provisioning', () => {
  test('builds once and finds it in the cache from then on', async () => {
    expect((await ensureComponent(fakeComponent(builds, 0), finderHere())).origin).toBe('provisioned');
    expect((await ensureComponent(fakeComponent(builds, 0), finderHere())).origin).toBe('cache');
    expect(await readFile(builds, 'utf8')).toBe('build\n');
  });

  test('two starts at once, in one process and in two, build once', async () => {
    const others = [provisionElsewhere(500), provisionElsewhere(500)];
    const here = [1, 2].map(() => ensureComponent(fakeComponent(builds, 500), finderHere()));
    const origins = await Promise.all([...others.map(({ stdout }) => text(stdout)), ...here.map(async (each) => (await each).origin)]);
    expect(origins.toSorted()).toEqual(['cache', 'cache', 'cache', 'provisioned']);
    expect(await readFile(builds, 'utf8')).toBe('build\n');
  });

  test('takes over from a builder that was killed, and removes what it left', async () => {
    const killed = provisionElsewhere(60_000);
    await once(killed.stderr, 'data');
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(await readdir(path.join(folder, 'cache'))).toContainEqual(expect.stringMatching(/^\.making-fake/));

    expect((await ensureComponent(fakeComponent(builds, 0), finderHere())).origin).toBe('provisioned');
    expect(await readFile(builds, 'utf8')).toBe('build\nbuild\n');
    expect((await readdir(path.join(folder, 'cache'))).toSorted()).toEqual(['fake-1', 'fake-1.lock']);
  });

  test('says what to install when it cannot be made, and leaves nothing', async () => {
    const failing = { ...fakeComponent(builds, 0), provision: () => Promise.reject(new Error('there is no `go` on this machine')) };
    await expect(ensureComponent(failing, finderHere())).rejects.toMatchObject({
      code: 'COMPONENT_UNAVAILABLE',
      message: 'fake cannot be had here: there is no `go` on this machine; install it',
    });
    expect(await readdir(path.join(folder, 'cache'))).toEqual(['fake-1.lock']);
  });
});

/**
 * `holdfast protect` over a disk server that is a process of its own: a disk with something on it is protected, its server is killed, a store
 * is lost, and what was flushed is had back from what is left.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ProtectionStatus } from '../../../src/engine/volumes/disks/protection-port.ts';
import { openHost } from '../../../src/engine/volumes/host.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { createInstallation, HOST, type Installation } from '../../systems/installation.ts';
import { writeExtents } from '../../systems/image.ts';
import { spawnServer, type StartedProcess } from './receiver-process.ts';
import { cli, cliJson, errorOf } from './run-cli.ts';

const EXTENT = 64 * 1024;
const SIZE = 64 * EXTENT;

let installation: Installation;
let server: StartedProcess | null = null;

beforeAll(async () => {
  installation = await createInstallation();
  for (const store of ['log', 'east', 'west']) await installation.addStore(store);
});
afterAll(async () => {
  await end('SIGKILL');
  await installation[Symbol.asyncDispose]();
});

async function start(): Promise<void> {
  server = spawnServer('disks', 'disks are served', installation.variables);
  await server.ready;
}

async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const running = server;
  server = null;
  await running?.end(signal);
}

const run = (...args: string[]) => cli(args, { variables: installation.variables });
const json = <T>(...args: string[]): Promise<T> => cliJson<T>(args, { variables: installation.variables });

test('a disk is protected, its server killed, a region lost, and every flush is had back', async () => {
  await start();
  const image = installation.imageOf('db');
  writeExtents(image, SIZE, EXTENT, [{ extent: 3, content: 7 }]);
  const host = openHost(HOST, installation.folder);
  const { uris } = await host.disks.attach({ format: 1, name: 'db', path: image, sizeBytes: SIZE, extentBytes: EXTENT, hydration: null });
  const args = ['protect', 'start', 'j', 'db', '--log', 'log', '--region', 'east:one', '--region', 'west:two'];
  const begun = await json<ProtectionStatus>(...args);
  expect(['PROTECTED', 'CATCHING_UP']).toContain(begun.state);
  // Again: as it is.
  await json(...args);
  {
    using user = await useDisk(uris[0] ?? '');
    await user.write(EXTENT, Buffer.from('flushed'));
    await user.flush();
    await user.write(2 * EXTENT, Buffer.from('not flushed'));
  }
  await end('SIGKILL');
  await start();
  for (let tries = 0; tries < 1200 && (await host.disks.protection())[0]?.state !== 'PROTECTED'; tries++) await sleep(50);
  const status = await run('protect', 'status');
  // It is CATCHING_UP as long as a slow put takes.
  expect(status.out).toMatch(/j +db +n1 +local +(PROTECTED|CATCHING_UP)/);
  const { seq } = await json<{ seq: number }>('protect', 'point', 'j', '--name', 'before-the-loss');
  // Its owner says in its next batch that it is acknowledged.
  const listed = async () => (await json<{ points: readonly { seq: number }[] }>('protect', 'points', 'j')).points.map((one) => one.seq);
  for (let tries = 0; tries < 300 && !(await listed()).includes(seq); tries++) await sleep(50);
  expect(await listed()).toContain(seq);
  const then = readFileSync(image);
  expect(then.subarray(2 * EXTENT, 2 * EXTENT + 11).toString()).toBe('not flushed');

  expect((await run('protect', 'status')).out).toMatch(/east, west *$/m);

  await end('SIGKILL');
  rmSync(path.join(installation.folder, 'disks'), { recursive: true });
  rmSync(installation.storeFolder('east'), { recursive: true });
  mkdirSync(installation.storeFolder('east'));
  const folder = path.join(installation.folder, 'back');
  const recovered = await run('protect', 'recover', 'j', folder, '--name', 'before-the-loss');
  expect(recovered.err).not.toMatch(/rror/);
  expect(recovered.code).toBe(0);
  expect(readFileSync(path.join(folder, 'db.img')).equals(then)).toBe(true);
}, 120_000);

test('the catalog is gone, too: a store that is left says what was protected, and how, and it is had back', async () => {
  const anew = {
    variables: {
      ...installation.variables,
      HOLDFAST_HOME: path.join(installation.folder, 'anew'),
      HOLDFAST_CATALOG: `file://${path.join(installation.folder, 'anew-home')}`,
    },
  };
  const store = ['--store', installation.storeFolder('west'), '--passphrase', 'env:HOLDFAST_PASSPHRASE'];
  const { added } = await cliJson<{ added: readonly { kind: string }[] }>(['rescue', 'catalog', '--rebuild', ...store], anew);
  expect(added.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['STORE_ADD', 'PROTECTION_SET', 'JOURNAL_SEEN']));
  const folder = path.join(installation.folder, 'back-anew');
  const recovered = await cli(['protect', 'recover', 'j', folder], anew);
  expect({ code: recovered.code, err: recovered.err }).toMatchObject({ code: 0 });
  expect(readFileSync(path.join(folder, 'db.img')).equals(readFileSync(installation.imageOf('db')))).toBe(true);
  expect(await cliJson(['rescue', 'catalog', '--rebuild', ...store], anew)).toMatchObject({ added: [] });
});

test('what does not fit is refused', async () => {
  await start();
  expect(errorOf(await run('protect', 'points', 'nothing', '--json')).code).toBe('JOURNAL_NOT_FOUND');
  expect(errorOf(await run('protect', 'start', 'k', 'nodisk', '--log', 'log', '--region', 'east', '--json')).code).toBe('DISK_NOT_FOUND');
  expect(errorOf(await run('protect', 'start', 'k', 'db', '--log', 'log', '--region', 'east', '--mode', 'both', '--json')).code).toBe(
    'ARGUMENT_INVALID',
  );
  expect(errorOf(await run('protect', 'recover', 'j', path.join(installation.folder, 'x'), '--name', 'never', '--json')).code).toBe(
    'POINT_GONE',
  );
  expect(errorOf(await run('store', 'remove', 'west', '--json')).code).toBe('STORE_EXISTS');
  const long = errorOf(await run('protect', 'start', 'j'.repeat(50), 'db', '--log', 'log', '--region', 'east', '--json'));
  expect(long).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'journal', limit: 49 } });
  expect(JSON.stringify(long)).toContain('choose a shorter one');
});

/**
 * NBD exports as sources: a frozen view of a served volume, whose server knows what changed since each snapshot; a disk of
 * QEMU with a dirty bitmap; and a bitmap that lies.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { newSnapshotId, repositoryName, storeName, volumeName } from '../../src/domain/ids.ts';
import { ServedVolume } from '../../src/engine/volumes/served-volume.ts';
import type { NbdClient } from '../../src/engine/volumes/nbd/client.ts';
import { markedRanges, nbdSource } from '../../src/engine/volumes/nbd-source.ts';
import { serveNbd } from '../../src/engine/volumes/nbd/server.ts';
import { newestVisible } from '../../src/engine/repository/transfer-reader.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { describeWithPrograms } from '../describe-with-programs.ts';
import { serveFile } from '../engine/volumes/nbd/serve-file.ts';
import { untilListening } from '../engine/volumes/nbd/until-listening.ts';
import { shipCapture, type CaptureExtras, type ShippedCapture } from './capture-volume.ts';
import { contentOf } from './image.ts';
import { createInstallation, HOST, type Installation } from './installation.ts';
import { restoreSnapshot } from './restore-snapshot.ts';

const run = promisify(execFile);
const EXTENT = 64 * 1024;
const EXTENTS = 600;
const SIZE = EXTENTS * EXTENT + 1000;
const VOLUME = volumeName('disk');

let folder: string;
let installation: Installation;
let threads: Threads;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-nbd-source-'));
  threads = new Threads({ count: 2 });
  installation = await createInstallation();
  await installation.addStore('a');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await threads[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Adds the volume, or lets it be read from somewhere else. */
async function readFrom(uri: string): Promise<void> {
  const volume = {
    ...{ name: VOLUME, incarnation: 1, node: HOST, path: uri, extentBytes: EXTENT, stores: [storeName('a')] },
    ...{ repository: repositoryName('disk'), retired: false },
  };
  const known = (await installation.home.catalog.sync()).volumes.has(VOLUME);
  await installation.home.catalog.append(() => ({ kind: known ? 'VOLUME_SET' : 'VOLUME_ADD', volume }));
}

/** Ends the servers; a disk of QEMU is locked while one has it. */
async function stopAll(): Promise<void> {
  for (const child of children.splice(0)) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
}

let serial = 0;
async function capture(extras: CaptureExtras = {}): Promise<ShippedCapture> {
  const shipped = await shipCapture(installation.home, threads, VOLUME, { owner: `test ${++serial}`, attempt: 1 }, extras);
  expect((await shipped.commit()).map(({ kind }) => kind)).toEqual(['committed']);
  return shipped;
}

async function restored(): Promise<Buffer> {
  const reader = await installation.home.reader(storeName('a'), repositoryName('disk'));
  await reader.sync();
  const target = path.join(folder, `restored.${++serial}`);
  await restoreSnapshot(reader, threads, { volume: VOLUME, snapshot: newestVisible(reader, VOLUME).id, target });
  return readFileSync(target);
}

test('a served volume is captured at its freeze, and the next time only what changed is read', async () => {
  const file = path.join(folder, 'disk.img');
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  await using volume = await ServedVolume.open({
    ...{ name: 'disk', path: file, sizeBytes: SIZE, extentBytes: EXTENT },
    ...{ stateFolder: path.join(folder, 'state'), preserveBytesMax: SIZE },
  });
  const socket = path.join(folder, 's');
  await using _ = await serveNbd({ path: socket }, { exports: () => volume.exports() });
  const backend = await volume.asExport().open();
  const write = async (extent: number, content: number): Promise<void> => {
    await backend.write([contentOf(content, EXTENT)], extent * EXTENT, false);
  };
  for (let extent = 0; extent < 100; extent++) await write(extent * 3, 2 * extent + 2);

  const first = newSnapshotId(1, Math.random);
  const freeze = await volume.freeze(first);
  const before = readFileSync(file);
  for (let extent = 0; extent < 50; extent++) await write(extent * 3, 1001);
  await readFrom(`nbd+unix:///disk@${first}?socket=${socket}`);
  expect((await capture({ snapshot: first })).readBytes).toBe(100 * EXTENT);
  await freeze.close();
  expect((await restored()).equals(before)).toBe(true);

  await write(598, 7);
  const second = newSnapshotId(2, Math.random);
  const again = await volume.freeze(second);
  const after = readFileSync(file);
  await write(599, 9);
  await readFrom(`nbd+unix:///disk@${second}?socket=${socket}`);
  const { readBytes } = await capture({ snapshot: second });
  await again.close();
  // 50 overwritten and one new, and what a hint's sample costs.
  expect(readBytes / EXTENT).toBeGreaterThanOrEqual(51);
  expect(readBytes / EXTENT).toBeLessThan(60);
  expect((await restored()).equals(after)).toBe(true);
});

const describeQemu = await describeWithPrograms('qemu-img', 'qemu-io', 'qemu-nbd');
describeQemu('a disk of QEMU', () => {
  test('with its dirty bitmap only what that marks is read; one that lies is refused', async () => {
    const image = path.join(folder, 'disk.qcow2');
    const serve = async (name: string): Promise<void> => {
      const socket = path.join(folder, `${name}.s`);
      const bitmap = name === 'first' ? [] : ['-B', 'since'];
      children.push(spawn('qemu-nbd', ['-r', '-t', '-k', socket, '-f', 'qcow2', '-x', 'disk', ...bitmap, image], { stdio: 'ignore' }));
      await untilListening(socket);
      await readFrom(`nbd+unix:///disk?socket=${socket}`);
    };
    await run('qemu-img', ['create', '-f', 'qcow2', image, '64M']);
    await run('qemu-io', ['-c', 'write -P 1 0 32M', image]);
    await serve('first');
    const { snapshot: since } = await capture();
    await stopAll();
    await run('qemu-img', ['bitmap', '--add', '-g', '65536', image, 'since']);
    await run('qemu-io', ['-c', 'write -P 2 4M 64k', '-c', 'write -P 3 60M 128k', image]);
    await serve('second');
    const { readBytes, snapshot } = await capture({ changed: { since, bitmap: 'since' } });
    expect(readBytes / EXTENT).toBeLessThan(20);
    const bytes = await restored();
    expect([bytes[0], bytes[4 * 1024 * 1024], bytes[33 * 1024 * 1024], bytes[60 * 1024 * 1024]]).toEqual([1, 2, 0, 3]);

    await expect(capture({ changed: { since: snapshot, bitmap: 'other' } })).rejects.toMatchObject({ code: 'HINT_INVALID' });
    // Everything changes, and the bitmap is made after it: it says that nothing did.
    await stopAll();
    await run('qemu-img', ['bitmap', '--remove', image, 'since']);
    await run('qemu-io', ['-c', 'write -P 9 0 64M', image]);
    await run('qemu-img', ['bitmap', '--add', '-g', '65536', image, 'since']);
    await serve('third');
    await expect(capture({ changed: { since: snapshot, bitmap: 'since' } })).rejects.toMatchObject({ code: 'HINT_INVALID' });
  });
});

test('an export that is not served is refused', async () => {
  await readFrom(`nbd+unix:///disk?socket=${path.join(folder, 'nothing')}`);
  await expect(capture()).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
});

test.each([
  ['read-only is taken for one moment', true],
  ['that may be written has none, whether it is written or not', false],
])('an export %s', async (_, readOnly) => {
  await using served = await serveFile(SIZE, { readOnly });
  await readFrom(served.uri());
  expect((await capture()).stable).toEqual([readOnly]);
});

test('a server that goes while it is asked leaves a source that cannot be read, whatever it was asked', async () => {
  const gone = () => Promise.reject(new Error('read ECONNRESET'));
  const client: NbdClient = {
    ...{ sizeBytes: SIZE, readOnly: true, contexts: ['base:allocation'], read: gone, write: gone, flush: gone, status: gone },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const stretch = { offset: 0, length: SIZE };
  await expect(nbdSource(client, EXTENT, stretch)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
  await expect(markedRanges(client, 'base:allocation', stretch)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
});

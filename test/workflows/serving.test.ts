/** Disks that a host serves, through workflows: attached, captured while they are written, restored at once, detached. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { storeName, volumeName } from '../../src/domain/ids.ts';
import { findVolume } from '../../src/engine/catalog/catalog.ts';
import { hooksFolderOf, openHost, type Host } from '../../src/engine/volumes/host.ts';
import type { DiskServer } from '../../src/systems/serving/disk-server.ts';
import { useDisk, type DiskUser } from '../engine/volumes/nbd/disk-user.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { contentOf } from '../systems/image.ts';
import { HOST } from '../systems/installation.ts';
import { restoreSnapshot } from '../systems/restore-snapshot.ts';
import { raiseStage, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const EXTENTS = 200;
const filled = Array.from({ length: 40 }, (_, i) => ({ extent: i * 3, content: i * 2 + 2 }));
const spec = { sizeBytes: EXTENTS * EXTENT, extentBytes: EXTENT, writes: filled };

let stage: Stage;
let host: Host;
let server: DiskServer;
let afterGroupFreeze = (): Promise<void> => Promise.resolve();

async function attached(volume: string, stores: readonly string[] = ['a'], repository = volume): Promise<DiskUser> {
  await stage.installation.addVolume(volume, stores, spec, repository);
  const { uris } = await stage.run('attachVolume', { volume });
  return useDisk(uris[0] ?? '');
}

async function restored(volume: string, snapshot: string): Promise<Buffer> {
  const { installation, threads } = stage;
  const name = volumeName(volume);
  const { repository } = findVolume(await installation.home.catalog.sync(), name);
  const reader = await installation.home.reader(storeName('a'), repository);
  await reader.sync();
  const target = path.join(installation.folder, `restored.${snapshot}`);
  await restoreSnapshot(reader, threads, { volume: name, snapshot: snapshot as never, target });
  return readFileSync(target);
}

const pinsOf = async (repository: string): Promise<number> => (await stage.installation.repository('a', repository)).ledger().pins.size;

const describeTemporal = await describeWith('temporal');
describeTemporal('served disks', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder, (activities) => ({
      ...activities,
      async freezeGroup(members) {
        const moment = await activities.freezeGroup(members);
        await afterGroupFreeze();
        return moment;
      },
    }));
    host = openHost(HOST, stage.installation.folder);
    for (const store of ['a', 'b']) await stage.installation.addStore(store);
    server = await stage.serveDisks();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  test('a capture is of the moment of its freeze, reads what changed, and leaves no view', async () => {
    using user = await attached('disk', ['a', 'b']);
    const first = await stage.run('captureSnapshot', { volume: 'disk' });
    expect(first).toMatchObject({ consistency: 'crash', changedExtents: 40, readBytes: 40 * EXTENT });

    await user.write(7 * EXTENT, contentOf(700, EXTENT));
    await user.write(100 * EXTENT + 512, Buffer.from('a little'));
    // Somebody who does not stop writing, and is not waited for.
    let stopped = false;
    let writes = 0;
    const writing = (async () => {
      for (; !stopped; writes++) await user.write(150 * EXTENT, contentOf(2 * writes, 4096));
    })();
    const second = await stage.run('captureSnapshot', { volume: 'disk' });
    stopped = true;
    await writing;
    expect(writes).toBeGreaterThan(20);
    expect(second).toMatchObject({ consistency: 'crash', changedExtents: 3 });
    // Three that changed, and a sample of the rest.
    expect(second.extentsRead).toBeLessThanOrEqual(6);
    const image = await restored('disk', second.snapshot);
    expect(image.subarray(7 * EXTENT, 8 * EXTENT).equals(contentOf(700, EXTENT))).toBe(true);
    expect(image.subarray(100 * EXTENT + 512, 100 * EXTENT + 520).toString()).toBe('a little');
    expect((await host.disks.list()).find(({ record }) => record.name === 'disk')?.views).toEqual([]);
    await user.leave();
    await stage.run('detachDisk', { disk: 'disk' });
    expect(await host.disks.servedFrom(stage.installation.imageOf('disk'))).toBeNull();
  });

  test('with hooks it is of an application at rest; one that fails ends the capture, and its claims', async () => {
    using user = await attached('hooked');
    const hooks = path.join(hooksFolderOf(stage.installation.folder), 'hooked');
    mkdirSync(hooks, { recursive: true });
    const install = (name: string, body: string): void => {
      writeFileSync(path.join(hooks, name), `#!/bin/sh\n${body}\n`);
      chmodSync(path.join(hooks, name), 0o755);
    };
    install('freeze', 'exit 0');
    install('thaw', 'exit 0');
    await user.write(0, Buffer.from('at rest'));
    const { consistency, snapshot } = await stage.run('captureSnapshot', { volume: 'hooked' });
    expect(consistency).toBe('application');
    const repository = await stage.installation.repository('a', 'hooked');
    expect(repository.ledger().snapshots.get(snapshot)?.consistency).toBe('application');
    install('freeze', 'exit 1');
    expect(await stage.failure('captureSnapshot', { volume: 'hooked' })).toBe('HOOK_FAILED');
    await repository.sync();
    expect(repository.ledger().claims.size).toBe(0);
  });

  test('waits for the disk server of its host, and goes on with it', async () => {
    using user = await attached('waiting');
    await user.write(0, Buffer.from('written'));
    await user.leave();
    await server[Symbol.asyncDispose]();
    const job = await stage.start('captureSnapshot', { volume: 'waiting' });
    await until(job, ({ phase }) => phase === 'claiming');
    server = await stage.serveDisks();
    const { snapshot } = (await job.result()) as { readonly snapshot: string };
    expect((await restored('waiting', snapshot)).subarray(0, 7).toString()).toBe('written');
  });

  test('several are captured at one moment', async () => {
    using left = await attached('left', ['a'], 'pair');
    using right = await attached('right', ['a'], 'pair');
    let stopped = false;
    const writing = (async () => {
      for (let serial = 1; !stopped; serial++) {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64BE(BigInt(serial));
        await left.write(0, bytes);
        await right.write(0, bytes);
      }
    })();
    const { captures } = await stage.run('captureGroup', { volumes: ['left', 'right'], label: 'together' });
    stopped = true;
    await writing;
    const [inLeft, inRight] = await Promise.all(
      captures.map(async ({ volume, snapshot }) => (await restored(volume, snapshot)).readBigUInt64BE()),
    );
    expect([inRight, (inRight ?? 0n) + 1n]).toContain(inLeft);
    expect((await host.disks.list()).flatMap(({ views }) => views)).toEqual([]);
    await stage.installation.addVolume('unserved', ['a'], spec);
    expect(await stage.failure('captureGroup', { volumes: ['left', 'unserved'] })).toBe('DISK_NOT_FOUND');
  });

  test('several of which one has lost its moment are not taken for one: nothing is captured', async () => {
    using _ = await attached('first', ['a'], 'torn');
    using __ = await attached('second', ['a'], 'torn');
    afterGroupFreeze = async () => {
      await server[Symbol.asyncDispose]();
      server = await stage.serveDisks();
    };
    expect(await stage.failure('captureGroup', { volumes: ['first', 'second'] })).toBe('SOURCE_CHANGED');
    afterGroupFreeze = () => Promise.resolve();
    // Nothing was claimed, for nothing was to be captured.
    await expect(stage.installation.repository('a', 'torn')).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
    expect((await host.disks.list()).flatMap(({ views }) => views)).toEqual([]);
  });

  test('a snapshot is a disk at once, takes writes, and stands alone in the end; the next capture reads what was written', async () => {
    const { installation } = stage;
    await installation.addVolume('gone', ['a'], spec);
    const taken = await stage.run('captureSnapshot', { volume: 'gone' });
    const target = path.join(installation.folder, 'instant.img');
    const job = await stage.start('hydrateDisk', { volume: 'gone', store: 'a', target, promote: true });
    const { uris } = await until(job, (status) => status.uris.length > 0);
    using user = await useDisk(uris[0] ?? '');
    expect(Buffer.from(await user.read(9 * EXTENT, EXTENT)).equals(contentOf(8, EXTENT))).toBe(true);
    await user.write(12 * EXTENT + 100, Buffer.from('written while it comes'));
    await user.flush();
    expect(await job.result()).toMatchObject({ snapshot: taken.snapshot, promoted: true });
    expect((await host.disks.list()).find(({ record }) => record.path === target)).toMatchObject({
      hydration: null,
      record: { hydration: null },
    });
    expect(await pinsOf('gone')).toBe(0);

    const expected = Buffer.alloc(spec.sizeBytes);
    for (const { extent, content } of filled) contentOf(content, EXTENT).copy(expected, extent * EXTENT);
    expected.write('written while it comes', 12 * EXTENT + 100);
    renameSync(installation.storeFolder('a'), `${installation.storeFolder('a')}.away`);
    expect(Buffer.from(await user.read(0, expected.length)).equals(expected)).toBe(true);
    renameSync(`${installation.storeFolder('a')}.away`, installation.storeFolder('a'));

    const next = await stage.run('captureSnapshot', { volume: 'gone' });
    expect(next.changedExtents).toBe(1);
    expect(next.extentsRead).toBeLessThanOrEqual(3);
    expect((await restored('gone', next.snapshot)).equals(expected)).toBe(true);
    expect(await stage.failure('hydrateDisk', { volume: 'gone', store: 'a', target })).toBe('DISK_EXISTS');
    expect(await stage.failure('restoreVolume', { volume: 'gone', store: 'a', target, mode: 'overwrite' })).toBe('DISK_IN_USE');
    expect(await pinsOf('gone')).toBe(0);
  });

  test('the job of an instant restore that is started anew, as after a wiped Temporal, goes on with the disk that is there', async () => {
    const { installation, weather } = stage;
    await installation.addVolume('again', ['a'], spec);
    await stage.run('captureSnapshot', { volume: 'again' });
    const target = path.join(installation.folder, 'again.disk');
    weather.slow('a', 'get', 400);
    const lost = await stage.start('hydrateDisk', { volume: 'again', store: 'a', target });
    const { uris } = await until(lost, (status) => status.uris.length > 0);
    await lost.terminate('Temporal is wiped');
    const job = await stage.start('hydrateDisk', { volume: 'again', store: 'a', target });
    expect((await until(job, (status) => status.uris.length > 0)).uris).toEqual(uris);
    weather.fair();
    await job.result();
    expect(await pinsOf('again')).toBe(0);
    expect(await stage.failure('hydrateDisk', { volume: 'again', store: 'a', target })).toBe('DISK_EXISTS');
  });
});

/** The disk server of a host: what it serves, that it comes back as it was, moments of one disk and of several. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { newSnapshotId, repositoryName, storeName, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import { originName, type DiskRecord } from '../../../src/engine/volumes/disks/disk-record.ts';
import { diskFolderOf, openHost, type Host } from '../../../src/engine/volumes/host.ts';
import { readServerCertificates } from '../../../src/engine/volumes/listening.ts';
import { readCertificates } from '../../../src/engine/volumes/nbd/certificates.ts';
import { connectNbd } from '../../../src/engine/volumes/nbd/client.ts';
import { parseNbdUri } from '../../../src/engine/volumes/nbd/uri.ts';
import { createMetricsRegistry } from '../../../src/ground/metrics/registry.ts';
import { createDiskMetrics } from '../../../src/systems/serving/disk-metrics.ts';
import { DiskServer, type DiskEvent, type DiskServerOptions } from '../../../src/systems/serving/disk-server.ts';
import { createCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';

const EXTENT = 64 * 1024;
const SIZE = 40 * EXTENT;

let folder: string;
let host: Host;
let events: DiskEvent[];
let server: DiskServer | null;

const start = async (options: Partial<DiskServerOptions> = {}): Promise<DiskServer> =>
  (server = await DiskServer.start({
    folder: diskFolderOf(folder),
    hooksFolder: path.join(folder, 'hooks'),
    ...{ listen: null, certificates: null, onEvent: (event: DiskEvent) => void events.push(event) },
    originOf: () => {
      throw new Error('nothing is restored here');
    },
    ...options,
  }));

async function stop(): Promise<void> {
  await server?.[Symbol.asyncDispose]();
  server = null;
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-disks-'));
  host = openHost('n1', folder);
  events = [];
  server = null;
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

function recordOf(name: string): DiskRecord {
  const file = path.join(folder, `${name}.img`);
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  return { format: 1, name, path: file, sizeBytes: SIZE, extentBytes: EXTENT, hydration: null };
}

const snapshot = (): SnapshotId => newSnapshotId(Date.now(), Math.random);
const wanted = (disk: string, of: SnapshotId) => ({ disk, volume: volumeName(disk), snapshot: of });

async function read(uri: string, offset: number, length: number): Promise<Buffer> {
  using user = await useDisk(uri);
  return Buffer.from(await user.read(offset, length));
}

describe('a disk server', () => {
  test('serves what was attached, and comes back with it', async () => {
    await start();
    const record = recordOf('db');
    const { uris } = await host.disks.attach(record);
    {
      using user = await useDisk(uris[0] ?? '');
      await user.write(EXTENT, Buffer.from('hello'));
      await user.leave();
    }
    await stop();
    expect(
      readFileSync(record.path)
        .subarray(EXTENT, EXTENT + 5)
        .toString(),
    ).toBe('hello');
    await start();
    const [again] = await host.disks.list();
    expect(again?.record).toEqual(record);
    expect((await read(again?.uris[0] ?? '', EXTENT, 5)).toString()).toBe('hello');
    expect(await host.disks.servedFrom(record.path)).toEqual(record);
  });

  test('attaching again changes nothing; another disk under that name or from that file is refused', async () => {
    await start();
    const record = recordOf('db');
    await host.disks.attach(record);
    await host.disks.attach(record);
    await expect(host.disks.attach({ ...recordOf('other'), name: 'db' })).rejects.toMatchObject({ code: 'DISK_EXISTS' });
    await expect(host.disks.attach({ ...record, name: 'other' })).rejects.toMatchObject({ code: 'DISK_EXISTS' });
    expect(await host.disks.list()).toHaveLength(1);
  });

  test('a disk whose file is gone does not keep the others from being served', async () => {
    await start();
    const [gone, there] = [recordOf('gone'), recordOf('there')];
    for (const record of [gone, there]) await host.disks.attach(record);
    await stop();
    rmSync(gone.path);
    await start();
    expect((await host.disks.list()).map(({ record }) => record.name)).toEqual(['there']);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'unserved', disk: 'gone' }));
    await host.disks.detach('gone', false);
    expect(await host.disks.servedFrom(gone.path)).toBeNull();
  });

  test('that is stopping serves nothing new: what waits for its turn is refused, and can be asked again', async () => {
    const stopping = await start();
    const answers = ['a', 'b', 'c'].map((name) => stopping.attach(recordOf(name)).catch((error: unknown) => error));
    await stop();
    const late = await stopping.attach(recordOf('d')).catch((error: unknown) => error);
    for (const answer of [...(await Promise.all(answers)).slice(1), late])
      expect(answer).toMatchObject({ code: 'DISKS_NOT_SERVED', retryable: true });
    expect(stopping.disks).toEqual([]);
    // What was refused has left no record; what was begun is served again.
    const begun = (await start()).disks;
    expect(begun.filter((name) => name !== 'a')).toEqual([]);
  });

  test('is one to a folder', async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({ code: 'DISK_EXISTS' });
    server = first;
    expect(await host.disks.list()).toEqual([]);
  });

  test('listens for others only with credentials', async () => {
    await expect(start({ listen: { host: '0.0.0.0', port: 0 } })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    await start({ listen: { host: '127.0.0.1', port: 0 } });
    const { uris } = await host.disks.attach(recordOf('db'));
    expect(uris).toHaveLength(2);
    expect((await read(uris[1] ?? '', 0, 4)).equals(Buffer.alloc(4))).toBe(true);
  });

  test('with certificates it serves those who show one of its authority, and nobody else', async () => {
    await createCertificates(folder);
    const certificates = await readServerCertificates(folder, 'test');
    await start({ listen: { host: 'localhost', port: 0 }, certificates });
    const { uris } = await host.disks.attach(recordOf('db'));
    const parsed = parseNbdUri(uris[1] ?? '');
    expect(uris[1]).toMatch(/^nbds:\/\/localhost:\d+\/db$/);
    if (parsed === null) throw new Error('no address');
    const tls = { ...(await readCertificates(folder, 'client')), host: 'localhost' };
    await using client = await connectNbd({ at: parsed.at, export: 'db', tls }, { contexts: [] });
    expect(client.sizeBytes).toBe(SIZE);
    await expect(connectNbd({ at: parsed.at, export: 'db', tls: null }, { contexts: [] })).rejects.toThrow();
    await expect(readServerCertificates(path.join(folder, 'none'), 'test')).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  });

  test('one file is one disk, whatever it is called', async () => {
    await start();
    const record = recordOf('db');
    await host.disks.attach(record);
    const alias = path.join(folder, 'alias.img');
    symlinkSync(record.path, alias);
    await expect(host.disks.attach({ ...record, name: 'other', path: alias })).rejects.toMatchObject({ code: 'DISK_EXISTS' });
    expect(await host.disks.servedFrom(alias)).toEqual(record);
  });

  test('a pin that is still to be lifted is, when its store is there again, by whichever server serves the disk then', async () => {
    const from = { volume: volumeName('db'), store: storeName('a'), repository: repositoryName('db'), snapshot: snapshot(), pin: 'p1' };
    let state: 'away' | 'there' | 'never there again' = 'away';
    let lifted = 0;
    const lift = async (): Promise<void> => {
      if (state !== 'there') throw new HoldfastError(state === 'away' ? 'STORE_UNREACHABLE' : 'STORE_NOT_FOUND', 'the store cannot be had');
      lifted++;
    };
    const originOf: DiskServerOptions['originOf'] = (of) => ({ name: originName(of), open: () => Promise.reject(new Error()), lift });
    const recordNow = async () => (await host.disks.list())[0]?.record;
    const until = async (is: DiskRecord): Promise<void> => {
      for (const deadline = Date.now() + 30_000; JSON.stringify(await recordNow()) !== JSON.stringify(is) && Date.now() < deadline;)
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await recordNow()).toEqual(is);
    };
    const record = recordOf('db');
    for (const then of ['there', 'never there again'] as const) {
      state = 'away';
      await start({ originOf });
      await diskFolderOf(folder).write({ ...record, releasing: from });
      await stop();
      await start({ originOf });
      expect(await recordNow()).toEqual({ ...record, releasing: from });
      expect(events).toContainEqual(expect.objectContaining({ kind: 'pin-left', disk: 'db', pin: 'p1' }));
      state = then;
      await until(record);
      expect(lifted).toBe(1);
      await stop();
      expect(await diskFolderOf(folder).list()).toEqual([record]);
    }
  });

  test('a disk whose store is gone is let go of by force, and its pin told of', async () => {
    const gone = (): Promise<never> => Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'the store is gone'));
    await start({ originOf: (of) => ({ name: originName(of), open: gone, lift: gone }) });
    const record = recordOf('db');
    const from = { volume: volumeName('db'), store: storeName('a'), repository: repositoryName('db'), snapshot: snapshot(), pin: 'p1' };
    await host.disks.attach({ ...record, hydration: from });
    await expect(host.disks.detach('db', false)).rejects.toMatchObject({ code: 'DISK_IN_USE' });
    await host.disks.detach('db', true);
    expect(await host.disks.list()).toEqual([]);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'pin-left', disk: 'db', pin: 'p1' }));
  });

  test('its metrics tell freezes, waits for what only a store has, and failed requests, by disk', async () => {
    const registry = createMetricsRegistry({ role: 'disks' });
    const metrics = createDiskMetrics(registry);
    await start({ onEvent: (event) => metrics.note(event) });
    const { uris } = await host.disks.attach(recordOf('db'));
    await host.disks.freeze([wanted('db', snapshot())]);
    using user = await useDisk(uris[0] ?? '');
    await expect(user.read(SIZE, 1)).rejects.toThrow();
    metrics.note({ kind: 'volume', disk: 'db', event: { kind: 'firstTouch', volume: 'db', extent: 1, ms: 20 } });
    const text = await registry.metrics();
    for (const line of ['freeze_pause_seconds_count{role="disks",disk="db"} 1', 'first_touch_seconds_sum{role="disks",disk="db"} 0.02'])
      expect(text).toContain(`holdfast_disk_${line}`);
  });

  test('a disk in use is not detached, unless forced', async () => {
    await start();
    const { uris } = await host.disks.attach(recordOf('db'));
    using user = await useDisk(uris[0] ?? '');
    await user.flush();
    await expect(host.disks.detach('db', false)).rejects.toMatchObject({ code: 'DISK_IN_USE' });
    await user.write(0, Buffer.from('kept'));
    await host.disks.detach('db', true);
    await expect(user.read(0, 4)).rejects.toThrow();
    expect(await host.disks.list()).toEqual([]);
    expect(readFileSync(path.join(folder, 'db.img')).subarray(0, 4).toString()).toBe('kept');
    await expect(host.disks.detach('db', false)).rejects.toMatchObject({ code: 'DISK_NOT_FOUND' });
  });

  test('says when it does not run', async () => {
    await expect(host.disks.list()).rejects.toMatchObject({ code: 'DISKS_NOT_SERVED' });
  });
});

describe('a moment', () => {
  test('is what was written before it, and is given again while it is there', async () => {
    await start();
    const { uris } = await host.disks.attach(recordOf('db'));
    using user = await useDisk(uris[0] ?? '');
    await user.write(0, Buffer.from('before'));
    const id = snapshot();
    const [view] = await host.disks.freeze([wanted('db', id)]);
    await user.write(0, Buffer.from('after!'));
    expect((await read(view?.uri ?? '', 0, 6)).toString()).toBe('before');
    expect(await host.disks.freeze([wanted('db', id)])).toEqual([view]);
    expect((await host.disks.list())[0]?.views).toMatchObject([{ snapshot: id, preservedBytes: 16 * 1024 }]);
    await host.disks.closeView('db', id);
    await host.disks.closeView('db', id);
    await expect(read(view?.uri ?? '', 0, 6)).rejects.toThrow();
    const [other] = await host.disks.freeze([wanted('db', id)]);
    expect(other?.moment).not.toBe(view?.moment);
    expect((await read(other?.uri ?? '', 0, 6)).toString()).toBe('after!');
  });

  test('of several disks is one: no order of writes is torn', async () => {
    await start();
    const uris: string[] = [];
    for (const name of ['a', 'b']) uris.push((await host.disks.attach(recordOf(name))).uris[0] ?? '');
    using first = await useDisk(uris[0] ?? '');
    using second = await useDisk(uris[1] ?? '');
    // What is written to b says what had been answered on a before.
    let stopped = false;
    let serial = 0;
    const writing = (async () => {
      while (!stopped) {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64BE(BigInt(++serial));
        await first.write(0, bytes);
        await second.write(0, bytes);
      }
    })();
    try {
      for (let round = 0; round < 30 || serial < 100; round++) {
        const id = snapshot();
        const views = await host.disks.freeze([wanted('a', id), wanted('b', id)]);
        expect(new Set(views.map(({ moment }) => moment)).size).toBe(1);
        const [inA, inB] = await Promise.all(views.map(async ({ uri }) => (await read(uri, 0, 8)).readBigUInt64BE()));
        expect([inB, (inB ?? 0n) + 1n]).toContain(inA);
        for (const { disk } of views) await host.disks.closeView(disk, id);
      }
    } finally {
      stopped = true;
      await writing;
    }
  });

  test('that nobody reads goes when the next is frozen', async () => {
    await start();
    await host.disks.attach(recordOf('db'));
    const [left, next] = [snapshot(), snapshot()];
    await host.disks.freeze([wanted('db', left)]);
    await host.disks.freeze([wanted('db', next)]);
    expect((await host.disks.list())[0]?.views.map((view) => view.snapshot)).toEqual([next]);
  });

  test('is of disks that are served, each once', async () => {
    await start();
    await host.disks.attach(recordOf('db'));
    const id = snapshot();
    await expect(host.disks.freeze([wanted('db', id), wanted('other', id)])).rejects.toMatchObject({ code: 'DISK_NOT_FOUND' });
    await expect(host.disks.freeze([wanted('db', id), wanted('db', snapshot())])).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    expect((await host.disks.list())[0]?.views).toEqual([]);
  });
});

describe('the control socket', () => {
  const post = (target: string, body: string): Promise<{ readonly status: number; readonly answer: unknown }> =>
    new Promise((resolve, reject) => {
      const sent = request({ socketPath: diskFolderOf(folder).controlSocket, path: target, method: 'POST', agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, answer: JSON.parse(text) as unknown }));
      });
      sent.on('error', reject);
      sent.end(body);
    });

  test.each([
    ['an operation that is none', '/explode', '[]'],
    ['what every object has', '/constructor', '[]'],
    ['no JSON', '/list', '{'],
    ['too many arguments', '/list', '[1]'],
    ['a disk whose name leads elsewhere', '/detach', '["../../etc", false]'],
    ['a record with more in it', '/attach', JSON.stringify([{ format: 1, name: 'x', evil: 1 }])],
    ['a body without end', '/list', `["${'x'.repeat(100_000)}"]`],
  ])('refuses %s', async (_, target, body) => {
    await start();
    const { status, answer } = await post(target, body);
    expect(status).toBe(400);
    expect(answer).toMatchObject({ code: 'ARGUMENT_INVALID' });
    expect(await host.disks.list()).toEqual([]);
  });
});

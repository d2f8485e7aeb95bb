/** The client before real servers (nbdkit, qemu-nbd with a dirty bitmap, ours), and before one that lies. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { connectNbd, type NbdClient } from '../../../../src/engine/volumes/nbd/client.ts';
import { nbdUri, parseNbdUri } from '../../../../src/engine/volumes/nbd/uri.ts';
import { describeWithPrograms } from '../../../describe-with-programs.ts';
import { serveFile } from './serve-file.ts';
import { untilListening } from './until-listening.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const started: ChildProcess[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const newFolder = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-nbd-client-'));
  folders.push(folder);
  return folder;
};

async function start(program: string, args: readonly string[], socket: string): Promise<void> {
  started.push(spawn(program, args, { stdio: 'ignore' }));
  await untilListening(socket);
}

const connectTo = (socket: string, name = '', contexts: readonly string[] = ['base:allocation']): Promise<NbdClient> =>
  connectNbd({ at: { path: socket }, export: name, tls: null }, { contexts });

/** Reads everything in steps that are all under way at once. */
async function readAll(client: NbdClient, step: number): Promise<Buffer> {
  const into = Buffer.alloc(client.sizeBytes, 0xee);
  const going: Promise<void>[] = [];
  for (let at = 0; at < into.length; at += step) going.push(client.read(into.subarray(at, at + step), at));
  await Promise.all(going);
  return into;
}

test('URIs', () => {
  expect(parseNbdUri('nbd://host/name')).toEqual({ at: { host: 'host', port: 10_809 }, export: 'name', tls: null });
  expect(parseNbdUri('nbds://host:99/a%20b')).toEqual({
    at: { host: 'host', port: 99 },
    export: 'a b',
    tls: { host: 'host', certificates: null },
  });
  expect(parseNbdUri('nbd+unix:///disk?socket=/run/s')).toEqual({ at: { path: '/run/s' }, export: 'disk', tls: null });
  for (const at of [{ host: 'host', port: 7 }, { path: '/run/a b' }])
    expect(parseNbdUri(nbdUri(at, false))).toEqual({ at, export: '', tls: null });
  expect(parseNbdUri('nbds+unix:///disk?socket=/run/s&tls-certificates=/etc/nbd')).toEqual({
    ...{ at: { path: '/run/s' }, export: 'disk', tls: { host: 'localhost', certificates: '/etc/nbd' } },
  });
  expect(parseNbdUri('nbds://[::1]:99/?tls-hostname=disks')).toEqual({
    ...{ at: { host: '::1', port: 99 }, export: '', tls: { host: 'disks', certificates: null } },
  });
  expect(parseNbdUri(nbdUri({ host: '::1', port: 7 }, false, 'a/b'))).toEqual({ at: { host: '::1', port: 7 }, export: 'a/b', tls: null });
  for (const no of ['nbd+unix:///disk', 'http://host/', 'disk.img', 'nbd:host:1']) expect(parseNbdUri(no)).toBeNull();
});

test('our own server: reads, holes, status', async () => {
  await using served = await serveFile(8 * MIB);
  await run('dd', ['if=/dev/urandom', `of=${served.file}`, 'bs=1M', 'count=1', 'seek=2', 'conv=notrunc']);
  await using client = await connectTo(served.socket, 'disk');
  expect([client.sizeBytes, client.readOnly, client.contexts]).toEqual([8 * MIB, false, ['base:allocation']]);
  expect((await readAll(client, 100_000)).equals(readFileSync(served.file))).toBe(true);
  expect(await client.status('base:allocation', 0, 8 * MIB)).toEqual([
    { length: 2 * MIB, flags: 3 },
    { length: MIB, flags: 0 },
    { length: 5 * MIB, flags: 3 },
  ]);
  await expect(connectTo(served.socket, 'other')).rejects.toThrow('refuses the export "other"');
});

const describeNbdkit = await describeWithPrograms('nbdkit');
describeNbdkit('nbdkit', () => {
  test('reads, and an error of the server is that read alone', async () => {
    const socket = path.join(newFolder(), 's');
    const trigger = `${socket}.fail`;
    const failing = ['--filter=error', 'pattern', 'size=32M', 'error-pread-rate=100%', `error-pread-file=${trigger}`];
    await start('nbdkit', ['-f', '-U', socket, ...failing], socket);
    await using client = await connectTo(socket);
    const bytes = await readAll(client, MIB);
    for (let at = 0; at < bytes.length; at += 8 * 1001) expect(bytes.readBigUInt64BE(at)).toBe(BigInt(at));
    writeFileSync(trigger, '');
    await expect(client.read(Buffer.alloc(512), 0)).rejects.toThrow('answers error');
    rmSync(trigger);
    await client.read(Buffer.alloc(512), 0);
  });
});

const describeQemu = await describeWithPrograms('qemu-img', 'qemu-nbd', 'qemu-io');
describeQemu('qemu-nbd', () => {
  test('a dirty bitmap tells what has changed', async () => {
    const folder = newFolder();
    const [image, socket] = [path.join(folder, 'disk.qcow2'), path.join(folder, 's')];
    await run('qemu-img', ['create', '-f', 'qcow2', image, '64M']);
    await run('qemu-io', ['-c', 'write -P 1 0 8M', image]);
    await run('qemu-img', ['bitmap', '--add', '-g', '65536', image, 'since']);
    await run('qemu-io', ['-c', 'write -P 2 4M 64k', '-c', 'write -P 3 60M 128k', image]);
    await start('qemu-nbd', ['-r', '-t', '-k', socket, '-f', 'qcow2', '-x', 'disk', '-B', 'since', image], socket);
    await using client = await connectTo(socket, 'disk', ['base:allocation', 'qemu:dirty-bitmap:since']);
    expect(client.contexts).toEqual(['base:allocation', 'qemu:dirty-bitmap:since']);
    const dirty: (readonly [number, number])[] = [];
    for (let at = 0; at < client.sizeBytes;)
      for (const { length, flags } of await client.status('qemu:dirty-bitmap:since', at, client.sizeBytes - at)) {
        if (flags === 1) dirty.push([at, length]);
        at += length;
      }
    expect(dirty).toEqual([
      [4 * MIB, 64 * 1024],
      [60 * MIB, 128 * 1024],
    ]);
    const bytes = await readAll(client, MIB);
    expect([bytes[0], bytes[4 * MIB], bytes[9 * MIB], bytes[60 * MIB]]).toEqual([1, 2, 0, 3]);
  });
});

describeQemu('qemu-nbd, written to', () => {
  test('has what was written, in many requests at once and in one that is larger than a request; read-only it takes nothing', async () => {
    const folder = newFolder();
    const [image, socket] = [path.join(folder, 'disk.img'), path.join(folder, 's')];
    await run('qemu-img', ['create', '-f', 'raw', image, '80M']);
    await start('qemu-nbd', ['-t', '-k', socket, '-f', 'raw', '-x', 'disk', image], socket);
    const expected = Buffer.alloc(80 * MIB);
    for (let at = 0; at < 40 * MIB; at += 4096) expected.writeUInt32BE(at + 1, at);
    {
      await using client = await connectTo(socket, 'disk');
      await client.write(expected.subarray(0, 40 * MIB), 0);
      const going: Promise<void>[] = [];
      for (let at = 40 * MIB; at < 41 * MIB; at += 512) {
        expected.fill(at % 251, at, at + 512);
        going.push(client.write(expected.subarray(at, at + 512), at));
      }
      await Promise.all(going);
      await client.flush();
      await expect(client.write(Buffer.alloc(512), 80 * MIB)).rejects.toThrow('answers error');
    }
    expect(readFileSync(image).equals(expected)).toBe(true);
    const frozen = path.join(folder, 'r');
    await start('qemu-nbd', ['-r', '-t', '-k', frozen, '-f', 'raw', '-x', 'disk', image], frozen);
    await using reader = await connectTo(frozen, 'disk');
    await expect(reader.write(Buffer.alloc(512), 0)).rejects.toThrow('read-only');
  });
});

/** Between a client and a real server: from byte `at` on the server's words are `garbage`, then the end if `cuts`. */
async function spoil(server: string, at: number, garbage: Buffer, cuts: boolean, socket: string): Promise<Disposable> {
  const proxy = createServer((client) => {
    const real = connect(server);
    let said = 0;
    client.on('data', (chunk: Buffer) => real.write(chunk));
    real.on('data', (chunk: Buffer) => {
      client.write(chunk.subarray(0, Math.max(0, at - said)));
      said += chunk.length;
      if (said > at) client.write(garbage);
      if (said > at && cuts) client.destroy();
    });
    for (const one of [client, real]) one.on('error', () => undefined);
    client.on('close', () => real.destroy());
    real.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(socket, resolve));
  return { [Symbol.dispose]: () => void proxy.close() };
}

test('a server that stops or sends garbage: what waits for it fails, nothing hangs', async () => {
  await using served = await serveFile(MIB);
  const folder = newFolder();
  let serial = 0;
  let failures = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(600), fc.uint8Array({ maxLength: 80 }), async (at, garbage) => {
      const socket = path.join(folder, `s${++serial}`);
      using _ = await spoil(served.socket, at, Buffer.from(garbage), true, socket);
      try {
        await using client = await connectTo(socket, 'disk');
        await client.read(Buffer.alloc(1000), 5);
      } catch {
        failures++;
      }
    }),
    { numRuns: 80 },
  );
  expect(failures).toBeGreaterThan(20);
});

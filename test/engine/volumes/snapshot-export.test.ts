/**
 * Exports of snapshots: what real clients read is what was captured, from a store with nothing else; over an overlay they
 * write as they like, and the snapshot stays what it was.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { repositoryName, storeName, volumeName } from '../../../src/domain/ids.ts';
import { newestVisible } from '../../../src/engine/repository/transfer-reader.ts';
import type { Export } from '../../../src/engine/volumes/nbd/export.ts';
import { serveNbd } from '../../../src/engine/volumes/nbd/server.ts';
import { overlaidExport, readOnlyExport } from '../../../src/engine/volumes/snapshot-export.ts';
import { createSnapshotView, type SnapshotView } from '../../../src/engine/volumes/snapshot-view.ts';
import { VolumeFile } from '../../../src/engine/volumes/volume-file.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { captureVolume } from '../../systems/capture-volume.ts';
import { createInstallation, type Installation } from '../../systems/installation.ts';

const run = promisify(execFile);
const EXTENT = 64 * 1024;
const SIZE = 700 * EXTENT + 5000;
const VOLUME = volumeName('disk');

let installation: Installation;
let view: SnapshotView;
let image: Buffer;
const folder = mkdtempSync(path.join(tmpdir(), 'hf-export-'));

beforeAll(async () => {
  installation = await createInstallation();
  await using threads = new Threads({ count: 1 });
  await installation.addStore('a');
  const writes = Array.from({ length: 200 }, (_, i) => ({ extent: (i * 7) % 700, content: i + 1 }));
  await installation.addVolume(VOLUME, ['a'], { sizeBytes: SIZE, extentBytes: EXTENT, writes });
  await captureVolume(installation.home, threads, VOLUME);
  const reader = await installation.home.reader(storeName('a'), repositoryName(VOLUME));
  view = createSnapshotView(reader, newestVisible(reader, VOLUME), { cacheBytes: 20 * EXTENT, ahead: 3 });
  image = readFileSync(installation.imageOf(VOLUME));
});
afterAll(async () => {
  await installation[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

let serial = 0;
async function serve(of: Export) {
  const socket = path.join(folder, `s${++serial}`);
  const server = await serveNbd({ path: socket }, { exports: () => [of] });
  return { uri: `nbd+unix:///disk?socket=${socket}`, [Symbol.asyncDispose]: () => server.close() };
}

const describeClients = await describeWithPrograms('nbdcopy', 'nbdinfo', 'qemu-io', 'qemu-img');
describeClients('real clients', () => {
  test('read a snapshot as it was captured; zeros are holes; nothing can be written', async () => {
    await using served = await serve(readOnlyExport('disk', view));
    const copy = path.join(folder, 'copy.img');
    await run('nbdcopy', [served.uri, copy]);
    expect(readFileSync(copy).equals(image)).toBe(true);
    const { stdout } = await run('nbdinfo', ['--map', '--totals', served.uri]);
    expect(stdout).toMatch(/hole,zero/);
    await expect(run('nbdcopy', ['/dev/zero', served.uri])).rejects.toThrow();
  });

  test('write over it, and find what they wrote; the snapshot is as it was', async () => {
    await using file = await VolumeFile.createUnnamed(path.join(folder, 'overlay'), SIZE);
    await using served = await serve(overlaidExport('disk', view, file));
    const commands = ['write -P 9 100k 10k', 'write -z 200k 300k', 'write -P 8 5M 1M', 'discard 7M 64k', 'flush'];
    await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), served.uri]);
    const expected = Buffer.from(image);
    expected.fill(9, 100 * 1024, 110 * 1024);
    expected.fill(0, 200 * 1024, 500 * 1024);
    expected.fill(8, 5 * 1024 * 1024, 6 * 1024 * 1024);
    expected.fill(0, 7 * 1024 * 1024, 7 * 1024 * 1024 + 64 * 1024);
    const copy = path.join(folder, 'changed.img');
    await run('nbdcopy', [served.uri, copy]);
    expect(readFileSync(copy).equals(expected)).toBe(true);
    await using again = await serve(readOnlyExport('disk', view));
    await run('nbdcopy', [again.uri, `${copy}.snapshot`]);
    expect(readFileSync(`${copy}.snapshot`).equals(image)).toBe(true);
  });
});

test('an extent that many ask for at once is fetched once; one after another are fetched ahead', async () => {
  const reader = await installation.home.reader(storeName('a'), repositoryName(VOLUME));
  const fresh = createSnapshotView(reader, newestVisible(reader, VOLUME), { cacheBytes: 64 * EXTENT, ahead: 3 });
  await Promise.all(Array.from({ length: 20 }, () => fresh.read(Buffer.alloc(100), 7 * 3 * EXTENT)));
  expect(fresh.figures.fetched).toBeLessThanOrEqual(1 + 3);
});

test('any changes over a snapshot read back as a model says, many at once', async () => {
  const small = 40 * EXTENT + 77;
  const base = image.subarray(0, small);
  const extents = Math.ceil(small / EXTENT);
  const memory: SnapshotView = {
    ...{ sizeBytes: small, extentBytes: EXTENT, figures: { fetched: 0 } },
    extent: async (index) => Buffer.concat([base.subarray(index * EXTENT, (index + 1) * EXTENT), Buffer.alloc(EXTENT)]).subarray(0, EXTENT),
    async read(into, offset) {
      await Promise.resolve();
      base.copy(into, 0, offset, offset + into.length);
    },
    async *allocation(_, length) {
      yield { length, flags: 0 };
    },
  };
  expect(extents).toBe(41);
  const op = fc.record({
    kind: fc.constantFrom('write' as const, 'write' as const, 'zero' as const, 'trim' as const),
    offset: fc.nat(small - 1),
    length: fc.integer({ min: 1, max: 3 * EXTENT }),
    value: fc.integer({ min: 1, max: 255 }),
    together: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 25 }), async (ops) => {
      await using file = await VolumeFile.createUnnamed(path.join(folder, `o${++serial}`), small);
      const backend = await overlaidExport('disk', memory, file).open();
      const model = Buffer.from(base);
      let going: { readonly from: number; readonly to: number; readonly done: void | Promise<void> }[] = [];
      for (const { kind, offset, length: wanted, value, together } of ops) {
        const length = Math.min(wanted, small - offset);
        // Changes of one range that are under way at once have no order.
        const end = offset + length;
        for (const { from, to, done } of going) if (from < end && offset < to) await done;
        const begin = (done: void | Promise<void>): void => void going.push({ from: offset, to: end, done });
        if (kind === 'write') begin(backend.write([Buffer.alloc(length, value)], offset, false));
        else if (kind === 'zero') begin(backend.zero(offset, length, { fua: false, mayPunch: true, fast: false }));
        else begin(backend.trim(offset, length, false));
        model.fill(kind === 'write' ? value : 0, offset, offset + length);
        if (together) continue;
        for (const { done } of going) await done;
        going = [];
      }
      for (const { done } of going) await done;
      const all = Buffer.alloc(small);
      await backend.read(all, 0);
      expect(all.equals(model)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

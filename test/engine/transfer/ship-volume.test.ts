import { appendFileSync, truncateSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import type { Health } from '../../../src/engine/transfer/health.ts';
import type { Selection } from '../../../src/engine/transfer/selection.ts';
import { BATCH_BYTES, PACK_BYTES_MAX } from '../../../src/domain/limits.ts';
import { batchExtents } from '../../../src/ground/threads/tasks.ts';
import { shipSubtree } from '../../../src/engine/transfer/ship-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { MemoryRepository, unreachable } from './memory-repository.ts';
import { temporaryFolder, writeImage } from './volume-image.ts';

const EXTENT = 16 * 1024;
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 2 });
});
afterAll(() => threads[Symbol.asyncDispose]());

const ship = async (
  file: string,
  destinations: readonly { readonly destination: MemoryRepository; readonly selection: Selection }[],
  options: { readonly signal?: AbortSignal; readonly health?: Health } = {},
) => {
  await using source = await openFileSource(file);
  return await shipSubtree({ source, extentBytes: EXTENT, subtree: 0, destinations, threads, ...options });
};
const all = (destination: MemoryRepository) => ({ destination, selection: { kind: 'all' as const } });
const numbered = (count: number, from = 10): number[] => Array.from({ length: count }, (_, i) => from + i);

describe('shipping a subtree of a volume', () => {
  test('reads each extent once for three destinations, and pushes each value once', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, [1, 2, null, 1, 0, 3, ...numbered(300)], EXTENT);
    const stores = ['a', 'b', 'c'].map((store) => new MemoryRepository({ store, codec: store === 'c' ? 'zstd-3' : 'zstd-1' }));
    const result = await ship(file, stores.map(all));
    expect(result.extentsRead).toBe(305);
    expect(result.readBytes).toBe(305 * EXTENT);
    expect(result.encoded).toBe(303 * 2);
    expect([...result.outcomes.values()].map((o) => o.ok)).toEqual([true, true, true]);
    for (const store of stores) expect(store.shipped[0]?.brought.size).toBe(303);
  });

  test('with different bases reads the union of what each may lack', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    const image = numbered(256);
    writeImage(file, image, EXTENT);
    const [hinted, other] = [new MemoryRepository({ store: 'hinted' }), new MemoryRepository({ store: 'other' })];
    await ship(file, [all(hinted)]);
    hinted.commit();
    image[7] = 1;
    writeImage(file, image, EXTENT);
    const selection = { kind: 'changed' as const, ranges: [{ offset: 7 * EXTENT, length: 1 }], baseSizeBytes: 256 * EXTENT, seed: 1 };
    const alone = await ship(file, [{ destination: hinted, selection }]);
    // The changed one, and a sample of one stratum.
    expect(alone.extentsRead).toBeLessThanOrEqual(2);
    hinted.nextTry();
    const both = await ship(file, [{ destination: hinted, selection }, all(other)]);
    expect(both.extentsRead).toBe(256);
    expect(hinted.shipped[0]?.changes.map((change) => change.extent)).toEqual([7]);
    expect(other.shipped[0]?.changes).toHaveLength(256);
  });

  test('a hint that leaves out a change is found out by its sample', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, numbered(256), EXTENT);
    const repository = new MemoryRepository();
    await ship(file, [all(repository)]);
    repository.commit();
    writeImage(file, numbered(256, 1000), EXTENT);
    const selection = { kind: 'changed' as const, ranges: [], baseSizeBytes: 256 * EXTENT, seed: 5 };
    await expect(ship(file, [{ destination: repository, selection }])).rejects.toMatchObject({ code: 'HINT_INVALID' });
    expect(threads.buffers.reservedBytes).toBe(0);
  });

  test('reads no further than buffers reach while a store hangs, and leaves nothing behind when aborted', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, numbered(8000), EXTENT);
    const abort = new AbortController();
    const hanging = new MemoryRepository({
      store: 'hanging',
      codec: 'raw',
      onPut: (_, signal) => new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error))),
    });
    await using source = await openFileSource(file);
    const destinations = [all(hanging)];
    const shipping = shipSubtree({ source, extentBytes: EXTENT, subtree: 0, destinations, threads, signal: abort.signal });
    let before = -1;
    while (source.readBytes !== before || before === 0) {
      before = source.readBytes;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // Four packs and three slots; the image has 125 MiB.
    expect(source.readBytes).toBeLessThanOrEqual(4 * PACK_BYTES_MAX + 3 * BATCH_BYTES);
    abort.abort(new Error('given up'));
    await expect(shipping).rejects.toThrow('given up');
    expect(threads.buffers.reservedBytes).toBe(0);
  });

  test('asks before each batch whether to go on, and reports each put', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, numbered(8000), EXTENT);
    const [good, bad] = [
      new MemoryRepository({ store: 'good', codec: 'raw' }),
      new MemoryRepository({
        store: 'bad',
        codec: 'raw',
        onPut: () => {
          throw unreachable('bad');
        },
      }),
    ];
    const reports: string[] = [];
    let asked = 0;
    const health: Health = {
      report: (store, { ok, bytes }) => reports.push(`${store} ${ok} ${bytes > 0}`),
      proceed: () => {
        asked++;
        return reports.includes('bad false false') ? Promise.reject(new Error('paused')) : Promise.resolve();
      },
    };
    await expect(ship(file, [all(good), all(bad)], { health })).rejects.toThrow('paused');
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThan(8000 / batchExtents(EXTENT) + 1);
  });

  test('a file that changes while it is read is fuzzy; one that is cut short ends the capture', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, numbered(64), EXTENT);
    {
      await using source = await openFileSource(file);
      expect(await source.consistency()).toBe('crash');
      appendFileSync(file, 'x');
      expect(await source.consistency()).toBe('fuzzy');
    }
    await using source = await openFileSource(file);
    truncateSync(file, 10 * EXTENT);
    const shipping = shipSubtree({ source, extentBytes: EXTENT, subtree: 0, destinations: [all(new MemoryRepository())], threads });
    // What is past the new end looks like a hole, what was planned before may be cut short: the one is told by the stamp, the other at once.
    await shipping.catch((error: unknown) => expect(error).toMatchObject({ code: 'SOURCE_CHANGED' }));
    expect(await source.consistency()).toBe('fuzzy');
  });

  test('what is no file or device is refused', async () => {
    await expect(openFileSource('/nonexistent')).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    await expect(openFileSource('/tmp')).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
  });
});

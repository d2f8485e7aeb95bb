import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import { shipSubtree } from '../../../src/engine/transfer/ship-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { MemoryRepository } from './memory-repository.ts';
import { temporaryFolder, writeImage } from './volume-image.ts';

const EXTENT = 16 * 1024;
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 2 });
});
afterAll(() => threads[Symbol.asyncDispose]());

describe('shipping a subtree of a volume', () => {
  test('reads each extent once for three destinations, and pushes each value once', async () => {
    using tmp = temporaryFolder();
    const file = path.join(tmp.folder, 'image');
    writeImage(file, [1, 2, null, 1, 0, 3, ...Array.from({ length: 300 }, (_, i) => 10 + i)], EXTENT);
    await using source = await openFileSource(file);
    const stores = ['a', 'b', 'c'].map((store) => new MemoryRepository({ store, codec: store === 'c' ? 'zstd-3' : 'zstd-1' }));
    const result = await shipSubtree({
      source,
      extentBytes: EXTENT,
      subtree: 0,
      destinations: stores.map((destination) => ({ destination, selection: { kind: 'all' } })),
      threads,
    });
    expect(result.extentsRead).toBe(305);
    expect(result.encoded).toBe(303 * 2);
    expect([...result.outcomes.values()].map((o) => o.ok)).toEqual([true, true, true]);
    for (const store of stores) expect(store.shipped[0]?.brought.size).toBe(303);
  });
});

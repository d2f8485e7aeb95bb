import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import { proveSubtree, restoreSubtree } from '../../../src/engine/transfer/restore.ts';
import { openRestoreTarget, type ExistingTarget } from '../../../src/engine/transfer/restore-target.ts';
import { shipSubtree } from '../../../src/engine/transfer/ship-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { MemoryRepository } from './memory-repository.ts';
import { contentOf, temporaryFolder, writeImage, type Content } from './volume-image.ts';

const EXTENT = 16 * 1024;
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 2 });
});
afterAll(() => threads[Symbol.asyncDispose]());

async function capture(file: string, repository: MemoryRepository): Promise<void> {
  await using source = await openFileSource(file);
  const { outcomes } = await shipSubtree({
    source,
    extentBytes: EXTENT,
    subtree: 0,
    destinations: [{ destination: repository, selection: { kind: 'all' } }],
    threads,
  });
  expect(outcomes.get(repository.store)?.ok).toBe(true);
  repository.commit();
}

async function restore(
  repository: MemoryRepository,
  file: string,
  sizeBytes: number,
  existing: ExistingTarget = 'refuse',
  write: 'all' | 'differences' = 'all',
) {
  await using target = await openRestoreTarget(file, { sizeBytes, existing });
  const common = { target, extentBytes: EXTENT, subtree: 0, threads };
  const result = await restoreSubtree({ ...common, values: repository.values(), reader: repository, write });
  await target.sync();
  await proveSubtree({ ...common, values: repository.values() });
  return result;
}

const IMAGE: readonly Content[] = [1, 2, null, 1, 0, 3, ...Array.from({ length: 700 }, (_, i) => 10 + i), null, null, 5];
const SIZE = IMAGE.length * EXTENT - 1000;

describe('restoring a subtree', () => {
  test('gives back the bytes, sparse', async () => {
    using tmp = temporaryFolder();
    const [image, back] = [path.join(tmp.folder, 'image'), path.join(tmp.folder, 'back')];
    writeImage(image, IMAGE, EXTENT, SIZE);
    const repository = new MemoryRepository();
    await capture(image, repository);
    const result = await restore(repository, back, SIZE);
    expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
    expect(statSync(back).blocks).toBeLessThan(statSync(image).blocks + 1);
    expect(result.gotBytes).toBeLessThan([...repository.objects.values()].reduce((sum, pack) => sum + pack.length, 0));
  });

  test('refuses a target that is there, and writes only what differs when asked to', async () => {
    using tmp = temporaryFolder();
    const [image, back] = [path.join(tmp.folder, 'image'), path.join(tmp.folder, 'back')];
    writeImage(image, IMAGE, EXTENT, SIZE);
    const repository = new MemoryRepository();
    await capture(image, repository);
    const other = Buffer.concat([readFileSync(image), Buffer.alloc(5000, 7)]);
    other.set(contentOf(9999, EXTENT), 2 * EXTENT);
    other.set([1, 2, 3], 10 * EXTENT);
    writeFileSync(back, other);
    await expect(restore(repository, back, SIZE)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    const result = await restore(repository, back, SIZE, 'keep', 'differences');
    expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
    expect(result).toMatchObject({ writtenBytes: EXTENT });
    expect(result.clearedBytes).toBeGreaterThanOrEqual(EXTENT);
  });

  test('replaces what is there', async () => {
    using tmp = temporaryFolder();
    const [image, back] = [path.join(tmp.folder, 'image'), path.join(tmp.folder, 'back')];
    writeImage(image, IMAGE, EXTENT, SIZE);
    const repository = new MemoryRepository();
    await capture(image, repository);
    writeFileSync(back, Buffer.alloc(3 * SIZE, 9));
    await restore(repository, back, SIZE, 'replace');
    expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
  });

  test('names the extent and the object of a value that is damaged', async () => {
    using tmp = temporaryFolder();
    const image = path.join(tmp.folder, 'image');
    writeImage(image, IMAGE, EXTENT, SIZE);
    const repository = new MemoryRepository();
    await capture(image, repository);
    const location = repository.index.get(repository.map.get(0)!.toString('hex'))!;
    const pack = repository.objects.get(location.pack.toString('hex'))!;
    pack[location.offset + 100]! ^= 1;
    await expect(restore(repository, path.join(tmp.folder, 'back'), SIZE)).rejects.toMatchObject({
      code: 'DAMAGED',
      details: { extent: 0, object: repository.packOf(location.pack).name },
    });
  });
});

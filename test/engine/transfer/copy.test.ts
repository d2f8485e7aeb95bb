import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { copySubtree } from '../../../src/engine/transfer/copy.ts';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import { shipSubtree } from '../../../src/engine/transfer/ship-volume.ts';
import { verifyPacks, verifyValues } from '../../../src/engine/transfer/verify.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { MemoryRepository, unreachable } from './memory-repository.ts';
import { temporaryFolder, writeImage, type Content } from './volume-image.ts';

const EXTENT = 16 * 1024;
const IMAGE: readonly Content[] = [1, 2, null, 1, ...Array.from({ length: 900 }, (_, i) => 10 + i), null, 2];
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 2 });
});
afterAll(() => threads[Symbol.asyncDispose]());

async function captured(image: readonly Content[], repository = new MemoryRepository({ store: 'source' })): Promise<MemoryRepository> {
  using tmp = temporaryFolder();
  const file = path.join(tmp.folder, 'image');
  writeImage(file, image, EXTENT);
  await using source = await openFileSource(file);
  await shipSubtree({
    source,
    extentBytes: EXTENT,
    subtree: 0,
    destinations: [{ destination: repository, selection: { kind: 'all' } }],
    threads,
  });
  repository.commit();
  return repository;
}

const hexMap = (repository: MemoryRepository): Record<number, string> =>
  Object.fromEntries([...repository.map].map(([extent, fingerprint]) => [extent, fingerprint.toString('hex')]));

describe('copying a subtree between repositories', () => {
  test('sends each value once, without compressing again what is compressed', async () => {
    const source = await captured(IMAGE);
    const targets = [new MemoryRepository({ store: 'a' }), new MemoryRepository({ store: 'b', codec: 'raw' })];
    const result = await copySubtree({
      changes: source.values(),
      reader: source,
      extentBytes: EXTENT,
      subtree: 0,
      destinations: targets,
      threads,
    });
    for (const target of targets) target.commit();
    expect(result).toMatchObject({ valuesFetched: 902, encoded: 0 });
    for (const target of targets) {
      expect(hexMap(target)).toEqual(hexMap(source));
      const { values, damage } = await verifyValues({ values: target.values(), reader: target, extentBytes: EXTENT, threads });
      expect({ values, damage }).toEqual({ values: 902, damage: [] });
    }
  });

  test('fetches nothing of what the target counts already', async () => {
    const source = await captured(IMAGE);
    const target = new MemoryRepository({ store: 'a' });
    const copy = () =>
      copySubtree({ changes: source.values(), reader: source, extentBytes: EXTENT, subtree: 0, destinations: [target], threads });
    await copy();
    target.commit();
    await captured([...IMAGE.slice(0, -1), 7777, 7778], source);
    expect(await copy()).toMatchObject({ valuesFetched: 2 });
  });

  test('a locator that leads nowhere is looked up again', async () => {
    const source = await captured(IMAGE);
    const target = new MemoryRepository({ store: 'a' });
    async function* stale() {
      for await (const value of source.values())
        yield { ...value, location: value.extent % 3 === 0 ? null : value.location && { ...value.location, pack: Buffer.alloc(16, 9) } };
    }
    const { valuesFetched } = await copySubtree({
      changes: stale(),
      reader: source,
      extentBytes: EXTENT,
      subtree: 0,
      destinations: [target],
      threads,
    });
    expect(valuesFetched).toBe(902);
  });

  test('a target that fails leaves the other one whole', async () => {
    const source = await captured(IMAGE);
    const target = new MemoryRepository({ store: 'good' });
    const failing = new MemoryRepository({
      store: 'bad',
      onPut: () => {
        throw unreachable('bad');
      },
    });
    const { outcomes } = await copySubtree({
      changes: source.values(),
      reader: source,
      extentBytes: EXTENT,
      subtree: 0,
      destinations: [failing, target],
      threads,
    });
    target.commit();
    expect(hexMap(target)).toEqual(hexMap(source));
    expect(outcomes.get('bad')).toMatchObject({ ok: false, error: { code: 'STORE_UNREACHABLE' } });
  });
});

describe('verifying', () => {
  test('reports everything that is damaged, with the extents it affects, and goes on', async () => {
    const source = await captured(IMAGE);
    const at = (extent: number) => source.index.get(source.map.get(extent)!.toString('hex'))!;
    for (const extent of [0, 500]) {
      const { pack, offset } = at(extent);
      source.objects.get(pack.toString('hex'))![offset + 50]! ^= 0x40;
    }
    const { damage, values } = await verifyValues({ values: source.values(), reader: source, extentBytes: EXTENT, threads });
    expect(values).toBe(900);
    expect(damage.map(({ extents, error }) => ({ extents, code: error.code }))).toEqual(
      expect.arrayContaining([
        { extents: [0, 3], code: 'DAMAGED' },
        { extents: [500], code: 'DAMAGED' },
      ]),
    );
    expect(damage).toHaveLength(2);
    const whole = await verifyPacks({ packs: source.packs(), reader: source, extentBytes: EXTENT, threads });
    expect(whole.damage).toHaveLength(2);
  });

  test('a truncated pack is damage of that object alone', async () => {
    const source = await captured(IMAGE);
    const [id, bytes] = [...source.objects][0]!;
    source.objects.set(id, bytes.subarray(0, bytes.length - 100));
    const { damage, values } = await verifyPacks({ packs: source.packs(), reader: source, extentBytes: EXTENT, threads });
    expect(damage).toMatchObject([{ object: source.packOf(Buffer.from(id, 'hex')).name, fingerprint: null }]);
    expect(values).toBeGreaterThan(0);
  });
});

/**
 * Whatever the volume, the bases, the hints, the failing stores and the moments of interruption: what a destination
 * commits is the volume, and what is restored from it is the volume, bit for bit.
 *
 * A case that fails prints fast-check's seed and path; HOLDFAST_SEED=... repeats it.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import { restoreSubtree } from '../../../src/engine/transfer/restore.ts';
import { openRestoreTarget } from '../../../src/engine/transfer/restore-target.ts';
import type { Selection } from '../../../src/engine/transfer/selection.ts';
import { shipSubtree, type VolumeShipResult } from '../../../src/engine/transfer/ship-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { fingerprintOf } from '../../../src/engine/map/node.ts';
import { MemoryRepository, unreachable } from './memory-repository.ts';
import { temporaryFolder, writeImage, type Content } from './volume-image.ts';

const EXTENT = 16 * 1024;
const seed = process.env['HOLDFAST_SEED'];
const RUNS = { numRuns: 40, ...(seed === undefined ? {} : { seed: Number(seed) }) };
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 2 });
});
afterAll(() => threads[Symbol.asyncDispose]());

/** Few contents, so that there are duplicates, holes and written zeros; long enough for several leaves. */
const volumes = fc.record({
  extents: fc.array(fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 40 })), { minLength: 1, maxLength: 600 }),
  shortBy: fc.integer({ min: 0, max: EXTENT - 1 }),
});
type Volume = { readonly extents: readonly Content[]; readonly shortBy: number };
const sizeOf = (volume: Volume): number => volume.extents.length * EXTENT - volume.shortBy;

async function ship(
  file: string,
  repositories: readonly MemoryRepository[],
  selections: readonly Selection[] = [],
  signal?: AbortSignal,
): Promise<VolumeShipResult> {
  await using source = await openFileSource(file);
  const destinations = repositories.map((destination, d) => ({ destination, selection: selections[d] ?? { kind: 'all' as const } }));
  return await shipSubtree({ source, extentBytes: EXTENT, subtree: 0, destinations, threads, ...(signal === undefined ? {} : { signal }) });
}

function expectedMap(file: string): Record<number, string> {
  const bytes = readFileSync(file);
  const map: Record<number, string> = {};
  for (let at = 0; at < bytes.length; at += EXTENT) {
    const extent = Buffer.alloc(EXTENT);
    extent.set(bytes.subarray(at, at + EXTENT));
    if (!extent.equals(Buffer.alloc(EXTENT))) map[at / EXTENT] = fingerprintOf(extent).toString('hex');
  }
  return map;
}

const mapOf = (repository: MemoryRepository): Record<number, string> =>
  Object.fromEntries([...repository.map].map(([extent, fingerprint]) => [extent, fingerprint.toString('hex')]));

async function expectRestored(repository: MemoryRepository, image: string, sizeBytes: number, back: string): Promise<void> {
  await using target = await openRestoreTarget(back, { sizeBytes, existing: 'replace' });
  await restoreSubtree({
    values: repository.values(),
    reader: repository,
    target,
    extentBytes: EXTENT,
    subtree: 0,
    write: 'all',
    threads,
  });
  expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
}

/** Byte ranges in which two volumes differ, as a tracker of changed extents would tell them. */
function changedRanges(from: Volume, to: Volume): { readonly offset: number; readonly length: number }[] {
  const length = Math.min(from.extents.length, to.extents.length);
  return Array.from({ length }, (_, i) => i)
    .filter((i) => (from.extents[i] ?? 0) !== (to.extents[i] ?? 0))
    .map((i) => ({ offset: i * EXTENT, length: EXTENT }));
}

describe('a volume through the pipeline', () => {
  test('is what each destination commits and what is restored, generation after generation', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(volumes, { minLength: 1, maxLength: 3 }), fc.boolean(), async (generations, hinted) => {
        using tmp = temporaryFolder();
        const [image, back] = [path.join(tmp.folder, 'image'), path.join(tmp.folder, 'back')];
        const [always, sometimes] = [new MemoryRepository({ store: 'a' }), new MemoryRepository({ store: 'b', codec: 'raw' })];
        for (const [g, volume] of generations.entries()) {
          writeImage(image, volume.extents, EXTENT, sizeOf(volume));
          const before = generations[g - 1];
          const selection: Selection =
            hinted && before !== undefined
              ? { kind: 'changed', ranges: changedRanges(before, volume), baseSizeBytes: sizeOf(before), seed: g }
              : { kind: 'all' };
          // The second one skips a generation, so that the two have different bases.
          const taking = g === 1 ? [always] : [always, sometimes];
          const result = await ship(image, taking, [selection, { kind: 'all' }]);
          expect(new Set([...result.outcomes.values()].map((o) => o.ok))).toEqual(new Set([true]));
          for (const repository of taking) {
            repository.commit();
            expect(mapOf(repository)).toEqual(expectedMap(image));
            await expectRestored(repository, image, sizeOf(volume), back);
          }
        }
      }),
      RUNS,
    );
  });

  test('reads, encodes and puts every value once, and only values that are there', async () => {
    await fc.assert(
      fc.asyncProperty(volumes, async (volume) => {
        using tmp = temporaryFolder();
        const image = path.join(tmp.folder, 'image');
        writeImage(image, volume.extents, EXTENT, sizeOf(volume));
        const repositories = ['a', 'b'].map((store) => new MemoryRepository({ store }));
        const result = await ship(image, repositories);
        const distinct = new Set(Object.values(expectedMap(image))).size;
        expect(result.extentsRead).toBeLessThanOrEqual(volume.extents.filter((content) => content !== null).length);
        expect(result.encoded).toBe(distinct);
        for (const repository of repositories) {
          const stored = [...repository.objects].flatMap(([id, bytes]) => repository.directory(Buffer.from(id, 'hex'), bytes));
          expect(stored).toHaveLength(distinct);
        }
      }),
      RUNS,
    );
  });

  test('one failing store costs the others nothing', async () => {
    await fc.assert(
      fc.asyncProperty(volumes, fc.integer({ min: 0, max: 3 }), async (volume, putsBefore) => {
        using tmp = temporaryFolder();
        const [image, back] = [path.join(tmp.folder, 'image'), path.join(tmp.folder, 'back')];
        writeImage(image, volume.extents, EXTENT, sizeOf(volume));
        let puts = 0;
        const good = new MemoryRepository({ store: 'good' });
        const bad = new MemoryRepository({
          store: 'bad',
          onPut: () => {
            if (puts++ >= putsBefore) throw unreachable('bad');
          },
        });
        const { outcomes } = await ship(image, [bad, good]);
        expect(outcomes.get('good')?.ok).toBe(true);
        good.commit();
        await expectRestored(good, image, sizeOf(volume), back);
        const outcome = outcomes.get('bad');
        if (outcome?.ok === false) expect(outcome.error.code).toBe('STORE_UNREACHABLE');
        else expect(puts).toBeLessThanOrEqual(putsBefore);
      }),
      RUNS,
    );
  });

  test('interrupted anywhere, it goes on with what the store has confirmed', async () => {
    // Incompressible enough for several packs: 3,000 extents of 16 KiB, a quarter of each random, are some 12 MiB a pack and lane.
    const extents = Array.from({ length: 6000 }, (_, i) => i + 1);
    using tmp = temporaryFolder();
    const image = path.join(tmp.folder, 'image');
    writeImage(image, extents, EXTENT);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 12 }), fc.boolean(), async (atPut, midPut) => {
        const controller = new AbortController();
        let puts = 0;
        const repository = new MemoryRepository({
          codec: 'raw',
          onPut: async () => {
            if (puts++ !== atPut) return;
            if (!midPut) await new Promise((resolve) => setTimeout(resolve, 20));
            controller.abort(new Error('interrupted'));
          },
        });
        await ship(image, [repository], [], controller.signal).catch((error: unknown) =>
          expect(error).toMatchObject({ message: 'interrupted' }),
        );
        const confirmed = repository.objects.size;
        repository.nextTry();
        const { outcomes } = await ship(image, [repository]);
        expect(outcomes.get('memory')?.ok).toBe(true);
        repository.commit();
        expect(mapOf(repository)).toEqual(expectedMap(image));
        const stored = [...repository.objects].flatMap(([id, bytes]) => repository.directory(Buffer.from(id, 'hex'), bytes));
        expect(stored).toHaveLength(extents.length);
        expect(repository.putNames.length).toBe(repository.objects.size);
        expect(confirmed).toBeLessThanOrEqual(repository.objects.size);
      }),
      { ...RUNS, numRuns: 12 },
    );
  });
});

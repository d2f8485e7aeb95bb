/** The demo's volume: copied without being written, changed the same way for the same seed, changed where it harms nothing. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  buildImage,
  copySparse,
  dataExtents,
  dataOf,
  digestOfFile,
  extBlockBytes,
  measureTree,
} from '../../../src/faces/demo/disk-image.ts';
import { choose, overwrite } from '../../../src/faces/demo/overwrite.ts';
import { fileContents, wholeExtents } from '../../../src/faces/demo/overwritable.ts';
import { createPrograms } from '../../../src/faces/demo/programs.ts';

const EXTENT = 262_144;
const programs = createPrograms(process.env['PATH'] ?? '', new AbortController().signal);
const hasExt4 = (await programs.find('mke2fs')) !== null && (await programs.find('debugfs')) !== null;

let folder: string;
const inside = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'demo-volume-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a copy of a file', () => {
  test('has its bytes and its holes, and leaves it alone', async () => {
    const original = inside('original.img');
    await writeFile(original, '');
    {
      await using handle = await open(original, 'r+');
      await handle.write(Buffer.alloc(EXTENT, 7), 0, EXTENT, 0);
      await handle.write(Buffer.from('the end'), 0, 7, 9 * EXTENT + 100);
    }
    const before = await stat(original, { bigint: true });
    await copySparse(original, inside('copy.img'));
    expect(await readFile(inside('copy.img'))).toEqual(await readFile(original));
    expect((await stat(original, { bigint: true })).mtimeNs).toBe(before.mtimeNs);
    expect(dataExtents((await dataOf(inside('copy.img'))).ranges)).toEqual([0, 9]);
  });
});

describe('changes', () => {
  const candidates = wholeExtents(
    Array.from({ length: 40 }, (_, i) => i),
    EXTENT,
    40 * EXTENT - 5,
  );

  test('are the same for the same seed, and others for another', () => {
    const chosen = choose(candidates, 8, 1);
    expect(chosen).toEqual(choose(candidates.toReversed(), 8, 1));
    expect(chosen).not.toEqual(choose(candidates, 8, 2));
    expect(chosen.map(({ extent }) => extent)).toEqual(chosen.map(({ extent }) => extent).sort((a, b) => a - b));
    expect(choose(candidates, 100, 1)).toHaveLength(40);
  });

  test('stay within the extents chosen and within the volume', async () => {
    const file = inside('changed.img');
    await writeFile(file, Buffer.alloc(40 * EXTENT - 5));
    const chosen = choose(candidates, 3, 5);
    const bytes = await overwrite(file, chosen, 5, 1);
    const after = await readFile(file);
    expect(after.length).toBe(40 * EXTENT - 5);
    const touched = candidates.filter(({ extent }) => after.subarray(extent * EXTENT, (extent + 1) * EXTENT).some((byte) => byte !== 0));
    expect(touched).toEqual(chosen);
    expect(bytes).toBe(chosen.flatMap(({ ranges }) => ranges).reduce((sum, { length }) => sum + length, 0));
    const digest = await digestOfFile(file);
    await overwrite(file, chosen, 5, 2);
    expect(await digestOfFile(file)).not.toBe(digest);
    await overwrite(file, chosen, 5, 1);
    expect(await digestOfFile(file)).toBe(digest);
  });
});

(hasExt4 ? describe : describe.skip)('an ext4 image', () => {
  test('is still sound when all contents that may be overwritten were', async () => {
    const files = inside('files');
    await mkdir(path.join(files, 'below'), { recursive: true });
    for (let i = 0; i < 30; i++)
      await writeFile(path.join(files, i % 2 ? 'below' : '.', `file-${i}`), Buffer.alloc(40_000 * (i + 1), i + 1));
    const image = inside('ext4.img');
    await buildImage(programs, image, files, await measureTree(files));
    const blockBytes = await extBlockBytes(image);
    expect(blockBytes).toBe(4096);
    const { ranges } = await dataOf(image);
    const overwritable = await fileContents(programs, image, blockBytes!, dataExtents(ranges), EXTENT);
    const bytes = await overwrite(image, overwritable, 1, 1);
    expect(bytes).toBeGreaterThan(15_000_000);
    const checked = await programs.run('e2fsck', ['-fn', image]);
    expect({ status: checked.status, said: checked.status === 0 ? '' : checked.stdout }).toEqual({ status: 0, said: '' });
  });

  test('a file without a file system is told from one', async () => {
    await writeFile(inside('noise.img'), Buffer.alloc(100_000, 3));
    expect(await extBlockBytes(inside('noise.img'))).toBeNull();
  });
});

/** Bases over a real repository: what is written is what is read, increments are increments, and labels say what collection asks. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { BaseNotes, Bases } from '../../../../src/engine/journal/keeping/bases.ts';
import { createRepositoryBases } from '../../../../src/engine/journal/keeping/repository-bases.ts';
import type { VolumeExtent } from '../../../../src/engine/journal/recovery/replay.ts';
import type { Repository } from '../../../../src/engine/repository/repository.ts';
import { openRestoreTarget } from '../../../../src/engine/transfer/restore-target.ts';
import { Threads } from '../../../../src/ground/threads/threads.ts';
import { createRandom, type Random } from '../../../simulation/random.ts';
import { createMemoryStore, type MemoryStore } from '../../memory-store.ts';
import { LINEAGE, open, snapshot } from '../../repository/world.ts';

const EXTENT = 16 * 1024;
const SIZES = [21 * EXTENT, 5 * EXTENT + 512];
const scratch = mkdtempSync(path.join(tmpdir(), 'bases-'));
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 1 });
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true });
});

interface Region {
  readonly bases: Bases;
  readonly repository: Repository;
  readonly store: MemoryStore;
}

function region(name: string, sizes = SIZES): Region {
  const store = createMemoryStore();
  const { repository } = open(store);
  const volumes = sizes.map((sizeBytes, volume) => ({ volume, sizeBytes }));
  const options = { journal: 'j', volumes, extentBytes: EXTENT, codec: 'zstd-1' as const, threads, scratch };
  return { store, repository, bases: createRepositoryBases({ region: name, repository, ...options }) };
}

const notes = (from: number): BaseNotes => ({ epoch: 3, from, takenMs: 1000 + from, consistency: 'crash' });

/** Changes by chance, which do not overlap, made to `truth` as well. */
function changes(random: Random, truth: readonly Buffer[]): VolumeExtent[] {
  const made: VolumeExtent[] = [];
  for (const [volume, bytes] of truth.entries())
    for (let at = random.below(3 * EXTENT); at < bytes.length; at += random.below(3 * EXTENT)) {
      const length = Math.min(bytes.length - at, 1 + random.below(random.chance(0.3) ? 3 * EXTENT : 700));
      const data = random.chance(0.7) ? random.bytes(length) : null;
      bytes.set(data ?? Buffer.alloc(length), at);
      made.push({ volume, offset: at, length, data });
      at += length;
    }
  return made.sort(() => random.next() - 0.5);
}

async function* each<T>(things: readonly T[]): AsyncGenerator<T> {
  yield* things;
}

async function contentOf(bases: Bases, id: string): Promise<Buffer> {
  const image = (await bases.open(id))!;
  const into = Buffer.alloc(image.sizeBytes);
  await image.read(into, 0);
  const seen = Buffer.alloc(image.sizeBytes);
  for await (const { offset, length } of image.data()) await image.read(seen.subarray(offset, offset + length), offset);
  expect(seen.equals(into)).toBe(true);
  return into;
}

test('bases over bases hold what was laid over them, and cost what changed', async () => {
  for (const seed of [1, 2, 3]) {
    const random = createRandom(seed);
    const { bases, store } = region('a');
    const truth = SIZES.map((size) => Buffer.alloc(size));
    let on: Awaited<ReturnType<Bases['write']>> = [];
    for (let round = 1; round <= 4; round++) {
      on = await bases.write(on, each(changes(random, truth)), notes(round));
      expect(on.map(({ volume }) => volume)).toEqual([0, 1]);
      for (const { volume, id } of on)
        expect([`seed ${seed}`, round, volume, (await contentOf(bases, id)).equals(truth[volume]!)]).toEqual([
          `seed ${seed}`,
          round,
          volume,
          true,
        ]);
    }
    const listed = await bases.list();
    expect(listed).toHaveLength(8);
    expect(listed.filter(({ id }) => id === on[1]!.id)).toEqual([{ id: on[1]!.id, volume: 1, epoch: 3, from: 4, takenMs: 1004 }]);
    const packs = [...store.objects].reduce((sum, [, bytes]) => sum + bytes.length, 0);
    await bases.write(on, each([{ volume: 0, offset: 5, length: 1, data: Buffer.from([1]) }]), notes(9));
    const more = [...store.objects].reduce((sum, [, bytes]) => sum + bytes.length, 0) - packs;
    expect(more).toBeLessThan(3 * EXTENT);
  }
});

test('a base that is not over the newest is compared as a whole, and is right', async () => {
  const random = createRandom(4);
  const { bases } = region('a');
  const truth = SIZES.map((size) => Buffer.alloc(size));
  const first = await bases.write([], each(changes(random, truth)), notes(1));
  const other = truth.map((bytes) => Buffer.from(bytes));
  await bases.write(first, each(changes(random, other)), notes(2));
  const [third] = await bases.write(first, each(changes(random, truth)), notes(3));
  expect((await contentOf(bases, third!.id)).equals(truth[0]!)).toBe(true);
});

test('a copy in another region is the same; what is deleted is listed no more, and what is no base is left alone', async () => {
  const random = createRandom(5);
  const [a, b] = [region('a'), region('b')];
  const truth = SIZES.map((size) => Buffer.alloc(size));
  const made = await a.bases.write([], each(changes(random, truth)), notes(7));
  const image = (await a.bases.open(made[0]!.id))!;
  const copied = await b.bases.copy(0, image, { ...notes(7), consistency: 'fuzzy' });
  expect((await contentOf(b.bases, copied.id)).equals(truth[0]!)).toBe(true);
  expect(await b.bases.list()).toMatchObject([{ id: copied.id, epoch: 3, from: 7 }]);

  const stranger = await snapshot(a.repository, 1);
  expect(await a.bases.list()).toHaveLength(2);
  for (const { id } of made) await a.bases.delete(id);
  for (const { id } of made) await a.bases.delete(id);
  expect(await a.bases.list()).toEqual([]);
  expect(a.repository.ledger().order.get(LINEAGE)).toEqual([stranger]);
});

test('a volume that grew, and one that was not there before, begin with zeros', async () => {
  const random = createRandom(6);
  const { store, bases: small } = region('a', [3 * EXTENT + 7]);
  const truth = [Buffer.alloc(3 * EXTENT + 7)];
  const on = await small.write([], each(changes(random, truth)), notes(1));
  const { repository } = open(store);
  const volumes = [
    { volume: 0, sizeBytes: 6 * EXTENT },
    { volume: 4, sizeBytes: EXTENT },
  ];
  const options = { journal: 'j', volumes, extentBytes: EXTENT, codec: 'raw' as const, threads, scratch };
  const bases = createRepositoryBases({ region: 'a', repository, ...options });
  const [grown, fresh] = await bases.write(on, each([{ volume: 4, offset: 1, length: 1, data: Buffer.from([9]) }]), notes(2));
  const expected = Buffer.alloc(6 * EXTENT);
  truth[0]!.copy(expected);
  expect((await contentOf(bases, grown!.id)).equals(expected)).toBe(true);
  expect((await contentOf(bases, fresh!.id)).subarray(0, 3)).toEqual(Buffer.from([0, 9, 0]));
});

test('what was written past the end of a volume, or to none, is refused, and the lineage is free again', async () => {
  const { bases, repository } = region('a');
  const past = { volume: 1, offset: SIZES[1]! - 1, length: 2, data: null };
  await expect(bases.write([], each([past]), notes(1))).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  await expect(bases.write([], each([{ ...past, volume: 9 }]), notes(1))).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  await bases.write([], each([]), notes(1));
  expect(repository.ledger().claims.size).toBe(0);
});

test('a base is restored but for extents that are overwritten whole, the last one too', async () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const random = createRandom(seed);
    const { bases } = region('a');
    const truth = SIZES.map((size) => random.bytes(size));
    const made = await bases.write([], each(truth.map((data, volume) => ({ volume, offset: 0, length: data.length, data }))), notes(1));
    for (const { volume, id } of made) {
      const content = truth[volume]!;
      const ranges: { offset: number; length: number }[] = [];
      for (let at = random.below(2 * EXTENT); at < content.length; at += 1 + random.below(3 * EXTENT)) {
        const offset = random.chance(0.5) ? Math.floor(at / EXTENT) * EXTENT : at;
        const length = Math.min(content.length - offset, random.chance(0.5) ? EXTENT * random.between(1, 4) : 1 + random.below(3 * EXTENT));
        if (offset > (ranges.at(-1)?.offset ?? -1) + (ranges.at(-1)?.length ?? 0)) ranges.push({ offset, length });
        at = offset + length;
      }
      const isOver = (at: number): boolean => ranges.some(({ offset, length }) => at >= offset && at < offset + length);
      const bytes = [...content.keys()].map((at) => !isOver(at));
      const extents = Array.from({ length: Math.ceil(content.length / EXTENT) }, (_, i) => [
        i * EXTENT,
        Math.min(content.length, (i + 1) * EXTENT),
      ]);
      const left = extents.filter(([from, to]) => bytes.slice(from, to).some(Boolean));
      const file = path.join(scratch, `${seed}-${volume}.img`);
      await using target = await openRestoreTarget(file, { sizeBytes: content.length, existing: 'refuse', partBytes: 4096 });
      let written = 0;
      const into = { target, overwritten: Promise.resolve(ranges), onWritten: (some: number) => void (written += some) };
      expect(await bases.restore(id, into)).toBe(true);
      const expected = Buffer.alloc(content.length);
      for (const [from, to] of left) content.copy(expected, from, from, to);
      expect(readFileSync(file).equals(expected)).toBe(true);
      expect(written).toBe(left.reduce((sum, [from = 0, to = 0]) => sum + to - from, 0));
      expect(await bases.restore('00000000000000000000000009', into)).toBe(false);
    }
  }
});

/** Folding, and bases of the live volume: where they may be made, what they wait for, and when they are void. */
import { expect, test } from '@jest/globals';
import { foldRegion } from '../../../../src/engine/journal/keeping/fold.ts';
import { recordFuzzyBase } from '../../../../src/engine/journal/keeping/fuzzy-base.ts';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { SmallJournal } from '../reading/small-journal.ts';
import { createMemoryBases } from './memory-bases.ts';

test('a region is folded at the newest batch that is acknowledged, exactly, and over its base the next time', async () => {
  const world = new SmallJournal(['a', 'b']);
  const bases = createMemoryBases('a', 1, 512);
  await world.open('pair', ['a', 'b']);
  expect(await foldRegion(world.reading(), bases)).toEqual({ kind: 'nothing' });
  await world.put({ records: 'ww', in: ['a', 'b'], labelUs: 5_000_000 });
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a', 'b'], acknowledged: 2, labelUs: 7_000_000 });
  await world.put({ records: 'zw', in: ['a', 'b'], acknowledged: 4, labelUs: 8_000_000 });
  const at = { epoch: 1, index, seq, digest };
  expect(await foldRegion(world.reading(), bases)).toMatchObject({ kind: 'folded', bytes: 24, base: { from: 4, to: 4, at } });
  expect(await foldRegion(world.reading(), bases)).toEqual({ kind: 'nothing' });
  await world.put({ records: '', in: ['a', 'b'], acknowledged: 6 });
  expect([...bases.stored.values()]).toMatchObject([{ epoch: 1, from: 4, takenMs: 7000 }]);
});

test('of the open epoch only what the region holds itself; of a closed one also what it has as a copy or not at all', async () => {
  const world = new SmallJournal(['a', 'b']);
  const bases = createMemoryBases('a', 1, 512);
  await world.open('local', ['a', 'b']);
  await world.put({ records: 'w', in: ['a', 'b'], acknowledged: 0 });
  const second = await world.put({ records: 'w', in: ['b'], acknowledged: 1 });
  await world.put({ records: '', in: ['a', 'b'], acknowledged: 2 });
  expect(await foldRegion(world.reading(), bases)).toMatchObject({ kind: 'folded', base: { from: 1 } });
  const { seq, digest } = second;
  await world.open('local', ['a'], { end: { index: 1, seq, digest }, full: ['b'] });
  expect(await foldRegion(world.reading(), bases)).toEqual({ kind: 'refused', why: 'a is not whole' });
  await world.journal.log.append(() => ({ kind: 'HELD', epoch: 1, region: 'a' }));
  expect(await foldRegion(world.reading(), bases)).toMatchObject({ kind: 'folded', base: { from: 2, at: { epoch: 1, index: 1 } } });
});

test('each head is read once', async () => {
  const heads = new Map<string, number>();
  const counting = (_: string, store: ObjectStore): ObjectStore => ({
    ...store,
    get: async (name, options) => {
      if (options?.range !== undefined) heads.set(name, (heads.get(name) ?? 0) + 1);
      return store.get(name, options);
    },
  });
  const world = new SmallJournal(['a'], counting);
  await world.open('local', ['a']);
  for (let i = 0; i < 5; i++) await world.put({ records: 'wf', in: ['a'] });
  await world.open('local', ['a']);
  expect(await foldRegion(world.reading(), createMemoryBases('a', 1, 512))).toMatchObject({ kind: 'folded', base: { from: 10 } });
  expect([0, 1, 2, 3, 4].map((index) => heads.get(batchName(1, index)))).toEqual([1, 1, 1, 1, 1]);
});

/** A gap at 3, batches up to 7. */
async function gapped() {
  const world = new SmallJournal(['a']);
  const bases = createMemoryBases('a', 1, 512);
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'] });
  const gap = await world.put({ records: 'gw', in: ['a'], acknowledged: 2 });
  await world.put({ records: 'wwf', in: ['a'], acknowledged: 4 });
  const image = (from: number) => [bases.keep(0, Buffer.alloc(512), { epoch: 1, from, takenMs: 0, consistency: 'fuzzy' })];
  return { world, bases, gap, image };
}

test('a base of the live volume begins at its gap, and waits until the chain has reached where the reading ended', async () => {
  const { world, image } = await gapped();
  const wanted = { region: 'a', epoch: 1, from: 3, to: 7, snapshots: image(3) };
  expect(await recordFuzzyBase(world.reading(), wanted)).toEqual({ kind: 'waits', reachedSeq: 4 });
  await world.put({ records: '', in: ['a'], acknowledged: 7 });
  const told = await recordFuzzyBase(world.reading(), wanted);
  expect(told).toMatchObject({ kind: 'recorded', base: { from: 3, to: 7, at: { epoch: 1, index: 0, seq: 2 } } });
  expect(await recordFuzzyBase(world.reading(), wanted)).toMatchObject({ kind: 'recorded' });
  expect(world.journal.log.known().bases.get('a')).toHaveLength(1);
});

test('it waits for nobody but its own region, unless the epoch is closed while that is read', async () => {
  const never = new Set<string>();
  let close = async (): Promise<unknown> => null;
  const world: SmallJournal = new SmallJournal(['a', 'b'], (region, store) => ({
    ...store,
    get: async (name, options) => (never.has(region) ? new Promise<never>(() => undefined) : store.get(name, options)),
    list: async (prefix, options) => {
      await close();
      return never.has(region) ? new Promise<never>(() => undefined) : store.list(prefix, options);
    },
  }));
  const bases = createMemoryBases('a', 1, 512);
  const image = () => [bases.keep(0, Buffer.alloc(512), { epoch: 1, from: 1, takenMs: 0, consistency: 'fuzzy' })];
  await world.open('local', ['a', 'b']);
  never.add('b');
  await world.put({ records: 'gw', in: ['a'], acknowledged: 2 });
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['b'], acknowledged: 4 });
  const wanted = (to: number) => ({ region: 'a', epoch: 1, from: 1, to, snapshots: image() });
  expect(await recordFuzzyBase(world.reading(), wanted(4))).toEqual({ kind: 'waits', reachedSeq: 2 });
  expect(await recordFuzzyBase(world.reading(), wanted(2))).toMatchObject({ kind: 'recorded', base: { to: 2 } });
  close = async () => {
    close = async () => null;
    never.clear();
    await world.open('local', ['b'], { end: { index, seq, digest }, full: ['b'] }, world.anotherLog());
  };
  // The chain is there, in b; that a itself has no part in it is the log's to say.
  expect(await recordFuzzyBase(world.reading(), wanted(4))).toMatchObject({ kind: 'refused' });
});

test('it is void when order was lost again while it was read, or its epoch ended before', async () => {
  const { world, image } = await gapped();
  await world.put({ records: 'gf', in: ['a'], acknowledged: 7 });
  await world.put({ records: '', in: ['a'], acknowledged: 9 });
  expect(await recordFuzzyBase(world.reading(), { region: 'a', epoch: 1, from: 3, to: 9, snapshots: image(3) })).toMatchObject({
    kind: 'void',
  });
  await world.open('local', ['a']);
  expect(await recordFuzzyBase(world.reading(), { region: 'a', epoch: 1, from: 8, to: 10, snapshots: image(8) })).toMatchObject({
    kind: 'void',
  });
  expect(await recordFuzzyBase(world.reading(), { region: 'a', epoch: 2, from: 8, to: 10, snapshots: image(8) })).toMatchObject({
    kind: 'void',
  });
});

test('inside a gap nothing is folded, and after its base all is again', async () => {
  const { world, bases, image } = await gapped();
  await world.put({ records: '', in: ['a'], acknowledged: 7 });
  expect(await foldRegion(world.reading(), bases)).toEqual({ kind: 'nothing' });
  await recordFuzzyBase(world.reading(), { region: 'a', epoch: 1, from: 3, to: 6, snapshots: image(3) });
  expect(await foldRegion(world.reading(), bases)).toMatchObject({ kind: 'folded', base: { from: 7, to: 7 } });
});

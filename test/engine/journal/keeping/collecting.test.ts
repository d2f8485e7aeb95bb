/** Collection: a plan deletes nothing, seals stay whatever they look like, a page has an end, and the log alone decides. */
import { expect, test } from '@jest/globals';
import { collectRegion, planCollection, type Collectable } from '../../../../src/engine/journal/keeping/collecting.ts';
import { copyName } from '../../../../src/engine/journal/object-names.ts';
import { SmallJournal } from '../reading/small-journal.ts';
import { createMemoryBases } from './memory-bases.ts';

async function planned(world: SmallJournal, region: string): Promise<readonly Collectable[]> {
  const all: Collectable[] = [];
  for await (const one of planCollection(world.journal, region)) all.push(one);
  return all;
}

/** Epoch 1 in a and b, folded in a up to its batch 1; a seal in a's place 3; epoch 2 open. */
async function folded() {
  const world = new SmallJournal(['a', 'b']);
  const bases = createMemoryBases('a', 1, 512);
  await world.open('pair', ['a', 'b']);
  const put = [];
  for (let i = 0; i < 3; i++) put.push(await world.put({ records: 'wf', in: ['a', 'b'] }));
  const past = await world.put({ records: 'wf', in: ['b'] });
  const seal = await world.seal('a', 3);
  const [, second, third] = put;
  await world.open('pair', ['a', 'b'], { end: { index: 2, seq: third!.seq, digest: third!.digest } });
  const { seq, digest } = second!;
  const notes = { epoch: 1, from: seq, takenMs: 0, consistency: 'crash' as const };
  const snapshots = [bases.keep(0, Buffer.alloc(512), notes)];
  await world.journal.log.append(() => ({
    ...{ kind: 'BASE' as const, region: 'a', snapshots, from: seq, to: seq },
    at: { epoch: 1, index: 1, seq, digest },
  }));
  return { world, bases, put, past, seal, seq };
}

test('below the base that is kept, and past an end, region by region; a plan deletes nothing', async () => {
  const { world, put, past, seal, seq } = await folded();
  expect(await planned(world, 'a')).toEqual([]);
  expect(await planned(world, 'b')).toMatchObject([{ kind: 'batch', name: past.name }]);
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  const names = (await planned(world, 'a')).map((one) => (one.kind === 'batch' ? one.name : ''));
  expect(names).toEqual([put[0]!.name, put[1]!.name]);
  expect(world.stores.get('a')!.objects.size).toBe(4);
  expect(await collectRegion(world.journal, 'a')).toMatchObject({ batches: 2, snapshots: 0 });
  expect([...world.stores.get('a')!.objects.keys()]).toEqual([put[2]!.name, seal]);
  expect(await collectRegion(world.journal, 'b')).toMatchObject({ batches: 1 });
  expect(await collectRegion(world.journal, 'b')).toMatchObject({ batches: 0 });
});

test('a seal stays wherever it stands, and so does what cannot be told from one', async () => {
  const { world, put, seq } = await folded();
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  const { objects } = world.stores.get('a')!;
  const sealed = [...objects].at(-1)![1];
  objects.delete(put[0]!.name);
  // In the place of a batch that is not needed: of a member that lagged when it was sealed.
  objects.set(put[0]!.name, sealed);
  expect((await planned(world, 'a')).map((one) => one.kind === 'batch' && one.name)).toEqual([put[1]!.name]);
  const harmed = Buffer.from(put[1]!.stored);
  harmed[4]! ^= 1;
  objects.set(put[1]!.name, harmed);
  expect(await planned(world, 'a')).toEqual([]);
});

test('a batch is told from a seal by its size, without reading it, when it is larger than any', async () => {
  const { world, put, seq } = await folded();
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  const { objects } = world.stores.get('a')!;
  objects.set(put[1]!.name, Buffer.alloc(5000));
  expect(await planned(world, 'a')).toHaveLength(2);
});

test('more than a page goes, copies too, and never what lies above', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const store = world.stores.get('a')!;
  const put = [];
  for (let i = 0; i < 2300; i++) put.push(await world.put({ records: 'f', in: ['a'] }));
  for (const i of [3, 1500, 2298]) store.objects.set(copyName(1, i), put[i]!.stored);
  const { index, seq, digest } = put[2200]!;
  await world.open('local', ['a']);
  const snapshots = [{ volume: 0, id: '00000000000000000000000001' }];
  await world.journal.log.append(() => ({
    kind: 'BASE',
    region: 'a',
    snapshots,
    from: seq,
    to: seq,
    at: { epoch: 1, index, seq, digest },
  }));
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  expect(await collectRegion(world.journal, 'a')).toMatchObject({ batches: 2203 });
  expect(store.objects.size).toBe(2300 - 2201 + 1);
  expect(store.objects.has(copyName(1, 2298))).toBe(true);
});

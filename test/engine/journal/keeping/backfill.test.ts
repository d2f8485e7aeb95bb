/** Backfill: HELD is said of what is there and of nothing else; it goes on where it stopped, and looks for the right bytes. */
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { backfillRegion } from '../../../../src/engine/journal/keeping/backfill.ts';
import type { Bases } from '../../../../src/engine/journal/keeping/bases.ts';
import { collectRegion } from '../../../../src/engine/journal/keeping/collecting.ts';
import { heldOnce } from '../../../../src/engine/journal/keeping/at-risk.ts';
import { copyName } from '../../../../src/engine/journal/object-names.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { SmallJournal } from '../reading/small-journal.ts';
import { createMemoryBases } from './memory-bases.ts';

/** Epoch 1 in a and b, four batches; epoch 2 in b and c, open. */
async function twoEpochs(wrap?: (region: string, store: ObjectStore) => ObjectStore) {
  const world = new SmallJournal(['a', 'b', 'c', 'd'], wrap);
  await world.open('pair', ['a', 'b']);
  const put = [];
  for (let i = 0; i < 4; i++) put.push(await world.put({ records: 'wf', in: ['a', 'b'] }));
  await world.open('pair', ['b', 'c']);
  return { world, put };
}

const fullIn = (world: SmallJournal, epoch: number): readonly string[] => world.journal.log.known().epochs.get(epoch)!.full;

test('the same bytes are copied below b/, then the region is said to hold the epoch', async () => {
  const { world, put } = await twoEpochs();
  const paced: number[] = [];
  const pace = async (bytes: number): Promise<void> => void paced.push(bytes);
  expect(await backfillRegion(world.reading(), 'c', { pace })).toMatchObject({ held: [1], batches: 4, basesCopied: 0 });
  expect(paced).toEqual(put.map(({ stored }) => stored.length));
  for (const [i, { stored }] of put.entries()) expect(world.stores.get('c')!.objects.get(copyName(1, i))).toEqual(stored);
  expect(fullIn(world, 1)).toEqual(['a', 'b', 'c']);
  expect(await backfillRegion(world.reading(), 'c')).toMatchObject({ held: [], batches: 0 });
});

test('while a put fails nothing is said to be held; the next try copies the rest', async () => {
  let puts = 0;
  const failing = (region: string, store: ObjectStore): ObjectStore =>
    region !== 'c'
      ? store
      : {
          ...store,
          put: (name, bytes, options) => {
            if (++puts === 3) return Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'away'));
            return store.put(name, bytes, options);
          },
        };
  const { world } = await twoEpochs(failing);
  await expect(backfillRegion(world.reading(), 'c')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  expect(fullIn(world, 1)).toEqual(['a', 'b']);
  expect(await backfillRegion(world.reading(), 'c')).toMatchObject({ held: [1], batches: 2 });
});

test('what is damaged at one source comes from the other, and a copy that is damaged is made again', async () => {
  const { world, put } = await twoEpochs();
  world.stores.get('a')!.objects.get(put[1]!.name)![put[1]!.stored.length - 1]! ^= 1;
  world.stores.get('c')!.objects.set(copyName(1, 2), put[2]!.stored.subarray(0, 50));
  expect(await backfillRegion(world.reading({ prefer: ['a'] }), 'c')).toMatchObject({ held: [1] });
  for (const [i, { stored }] of put.entries()) expect(world.stores.get('c')!.objects.get(copyName(1, i))).toEqual(stored);
  expect(world.damage.map(({ region }) => region).sort()).toEqual(['a', 'c']);
});

test('an epoch that cannot be filled keeps no other from it, and is told in the end', async () => {
  const { world, put } = await twoEpochs();
  await world.put({ records: 'wf', in: ['b', 'c'] });
  const third = await world.open('pair', ['a', 'd']);
  for (const region of ['a', 'b']) world.stores.get(region)!.objects.delete(put[2]!.name);
  await expect(backfillRegion(world.reading(), 'd')).rejects.toMatchObject({ code: 'OBJECT_MISSING', details: { epoch: 1, index: 2 } });
  expect(fullIn(world, 1)).toEqual(['a', 'b']);
  expect(fullIn(world, third - 1)).toEqual(['b', 'c', 'd']);
});

test('what is in no region is not held anywhere, and where one is silent nothing is given up', async () => {
  const away = new Set<string>();
  const { world, put } = await twoEpochs((region, store) => ({
    ...store,
    get: (name, options) =>
      away.has(region) ? Promise.reject(new HoldfastError('STORE_UNREACHABLE', `${region} is away`)) : store.get(name, options),
  }));
  for (const region of ['a', 'b']) world.stores.get(region)!.objects.delete(put[2]!.name);
  await expect(backfillRegion(world.reading(), 'c')).rejects.toMatchObject({ code: 'OBJECT_MISSING', details: { epoch: 1, index: 2 } });
  away.add('b');
  await expect(backfillRegion(world.reading(), 'c')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  expect(fullIn(world, 1)).toEqual(['a', 'b']);
});

/** Epoch 1 folded in a and b at its batch 2, the floor there, and what is below dropped. */
async function dropped() {
  const { world, put } = await twoEpochs();
  const { index, seq, digest } = put[2]!;
  const bases = new Map(['a', 'b', 'c'].map((region) => [region, createMemoryBases(region, 1, 512)]));
  for (const region of ['a', 'b']) {
    const snapshots = [bases.get(region)!.keep(0, Buffer.alloc(512, 7), { epoch: 1, from: seq, takenMs: 5, consistency: 'crash' })];
    await world.journal.log.append(() => ({ kind: 'BASE', region, snapshots, from: seq, to: seq, at: { epoch: 1, index, seq, digest } }));
  }
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  for (const region of ['a', 'b']) expect(await collectRegion(world.journal, region)).toMatchObject({ batches: 3 });
  return { world, put, bases, seq };
}

test('where others have dropped what is lacking, their base is copied first, and only what is above it', async () => {
  const { world, put, bases, seq } = await dropped();
  expect(await backfillRegion(world.reading(), 'c', { bases })).toMatchObject({ held: [1], batches: 1, basesCopied: 1 });
  expect([...world.stores.get('c')!.objects.keys()]).toEqual([copyName(1, 3)]);
  expect(world.journal.log.known().bases.get('c')).toMatchObject([{ from: seq, to: seq, at: { digest: put[2]!.digest } }]);
  expect([...bases.get('c')!.stored.values()]).toMatchObject([{ epoch: 1, from: seq, takenMs: 5, content: Buffer.alloc(512, 7) }]);
});

test.each([
  ['is damaged', 'DAMAGED'],
  ['is not there', null],
  ['does not answer', 'STORE_UNREACHABLE'],
] as const)('a base that %s at one source is copied from another', async (_, code) => {
  // Which source is asked first is nobody's promise.
  for (const bad of ['a', 'b']) {
    const { world, bases, seq } = await dropped();
    const of = bases.get(bad)!;
    const failing = (): Promise<never> => Promise.reject(new HoldfastError(code ?? 'INTERNAL', 'not to be had'));
    const open: Bases['open'] = async (id) => (code === null ? null : { ...(await of.open(id))!, read: failing });
    const known = new Map<string, Bases>(bases).set(bad, { ...of, open });
    expect(await backfillRegion(world.reading(), 'c', { bases: known })).toMatchObject({ held: [1], basesCopied: 1 });
    expect(world.journal.log.known().bases.get('c')).toMatchObject([{ from: seq, to: seq }]);
    expect([...bases.get('c')!.stored.values()]).toMatchObject([{ content: Buffer.alloc(512, 7) }]);
  }
});

test('a base that no source has as it was written is copied from none, and nothing is said to be held', async () => {
  const { world, bases } = await dropped();
  const failing = (): Promise<never> => Promise.reject(new HoldfastError('DAMAGED', 'not to be had'));
  const known = new Map<string, Bases>(bases);
  for (const bad of ['a', 'b']) {
    const of = bases.get(bad)!;
    known.set(bad, { ...of, open: async (id) => ({ ...(await of.open(id))!, read: failing }) });
  }
  await expect(backfillRegion(world.reading(), 'c', { bases: known })).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  expect(world.journal.log.known().bases.has('c')).toBe(false);
  expect(world.damage.flatMap(({ region, code }) => (code === 'DAMAGED' ? [region] : []))).toEqual(expect.arrayContaining(['a', 'b']));
});

test('an epoch that failed has its turn again when a base has been copied since', async () => {
  const { world, bases, seq } = await dropped();
  const { name } = await world.put({ records: 'wf', in: ['b', 'c'] });
  await world.open('pair', ['a', 'd']);
  for (const region of ['b', 'c']) world.stores.get(region)!.objects.delete(name);
  const asked = new Set<string>();
  const known = new Map<string, Bases>([['d', createMemoryBases('d', 1, 512)]]);
  for (const region of ['a', 'b']) {
    const of = bases.get(region)!;
    const firstAway = async (id: string) =>
      asked.size === asked.add(region).size ? of.open(id) : Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'away'));
    known.set(region, { ...of, open: firstAway });
  }
  await expect(backfillRegion(world.reading(), 'd', { bases: known })).rejects.toMatchObject({
    code: 'OBJECT_MISSING',
    details: { epoch: 2 },
  });
  expect(world.journal.log.known().bases.get('d')).toMatchObject([{ from: seq, to: seq }]);
  expect(fullIn(world, 1)).toEqual(['a', 'b', 'd']);
});

test('without bases to copy a region that lacks what was dropped is not said to hold it', async () => {
  const { world } = await dropped();
  await expect(backfillRegion(world.reading(), 'c')).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  expect(fullIn(world, 1)).toEqual(['a', 'b']);
});

test('a base of the open epoch goes to nobody who does not hold the batch that it ends with', async () => {
  const world = new SmallJournal(['a', 'b', 'c']);
  await world.open('pair', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'] });
  await world.open('pair', ['a', 'b']);
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a', 'b'] });
  const bases = new Map<string, Bases>(['a', 'b', 'c'].map((region) => [region, createMemoryBases(region, 1, 512)]));
  for (const region of ['a', 'b']) {
    const snapshots = await bases.get(region)!.write([], none(), { epoch: 2, from: seq, takenMs: 5, consistency: 'crash' });
    await world.journal.log.append(() => ({
      kind: 'BASE',
      region,
      snapshots: [...snapshots],
      from: seq,
      to: seq,
      at: { epoch: 2, index, seq, digest },
    }));
  }
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq }));
  for (const region of ['a', 'b']) await collectRegion(world.journal, region);
  await expect(backfillRegion(world.reading(), 'c', { bases })).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  expect(world.journal.log.known().bases.has('c')).toBe(false);
});

async function* none(): AsyncGenerator<never> {
  // Nothing was written.
}

test('what is held once is told with its bytes, until it is held twice', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('local', ['a']);
  const put = [await world.put({ records: 'wf', in: ['a'] }), await world.put({ records: 'f', in: ['a'] })];
  await world.put({ records: 'wf', in: ['a'] });
  const { index, seq, digest } = put[1]!;
  await world.open('local', ['b'], { end: { index, seq, digest } });
  const bytes = put.reduce((sum, { stored }) => sum + stored.length, 0);
  expect(await heldOnce(world.journal)).toEqual({ epochs: [1], bytes });
  await backfillRegion(world.reading(), 'b');
  expect(await heldOnce(world.journal)).toEqual({ epochs: [], bytes: 0 });
});

test('an epoch that does not end as the log says is held by nobody more', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('local', ['a']);
  const { index, seq } = await world.put({ records: 'wf', in: ['a'] });
  await world.open('local', ['a'], { end: { index, seq, digest: 'f'.repeat(64) } });
  await expect(backfillRegion(world.reading(), 'b')).rejects.toMatchObject({ code: 'CHAIN_BROKEN' });
  expect(fullIn(world, 1)).toEqual(['a']);
});

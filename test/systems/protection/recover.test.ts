/** What a recovery does when something of what it needs is damaged, or is dropped while it goes on. */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import type { Bases } from '../../../src/engine/journal/keeping/bases.ts';
import { collectRegion } from '../../../src/engine/journal/keeping/collecting.ts';
import { batchName } from '../../../src/engine/journal/object-names.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { firstDifference, flip, type RecoveryWorld, recoveryWorlds, REGIONS, SIZES } from './recovery-world.ts';

const newWorld = recoveryWorlds({ threads: 1 });

/** The first pack of a subtree: its extents. */
const EXTENTS = /\/0{8}-\w+-p0000$/;

interface Get {
  readonly name: string;
  /** Not a head alone. */
  readonly isWhole: boolean;
}

/** `onGet` sees each read of a batch before it is made, from when it is set; 'nothing': it finds nothing. */
interface Watched {
  readonly world: RecoveryWorld;
  onGet: ((get: Get) => Promise<'nothing' | void>) | null;
}

async function worldOf(seed: number, batches: number): Promise<Watched> {
  const watch = (store: ObjectStore): ObjectStore => ({
    ...store,
    get: async (name, options) => {
      const told = await watched.onGet?.({ name, isWhole: options?.range === undefined });
      return told === 'nothing' ? null : store.get(name, options);
    },
  });
  const wrap = (_: string, store: ObjectStore, of: 'batches' | 'bases'): ObjectStore => (of === 'batches' ? watch(store) : store);
  const watched: Watched = { onGet: null, world: newWorld({ seed, wrap }) };
  await watched.world.open();
  for (let i = 0; i < batches; i++) await write(watched.world);
  return watched;
}

async function write(world: RecoveryWorld): Promise<void> {
  await world.write();
  await world.acknowledge();
}

/** The floor rises to a number, and what is below is collected. */
async function dropBelow(world: RecoveryWorld, seq: number): Promise<void> {
  const { journal } = world.small;
  await journal.log.append(() => ({ kind: 'FLOOR', seq }));
  for (const [region, bases] of world.bases) await collectRegion(journal, region, { bases });
}

test('a body that is damaged in one region is taken from another, and told; in no region as it was, it ends the recovery', async () => {
  const { world } = await worldOf(1, 4);
  const { point, content } = world.moments.at(-1)!;
  const name = batchName(1, 0);
  const [a, b] = REGIONS.map((region) => world.small.stores.get(region)!);
  flip(a!, name, 1);
  const paths = world.paths();
  await world.recover(point, { prefer: ['a'] }, paths);
  expect(firstDifference(paths, content)).toBeNull();
  expect(world.small.damage).toContainEqual(expect.objectContaining({ region: 'a', object: name, code: 'DAMAGED' }));
  flip(b!, name, 1);
  await expect(world.recover(point)).rejects.toMatchObject({ code: 'DAMAGED', details: { epoch: 1, index: 0 } });
  expect((await world.small.journal.log.sync()).pins.size).toBe(0);
});

test('a body that is damaged in every region is left for a base that holds what it held, in whichever region', async () => {
  const { world } = await worldOf(9, 4);
  const { point, content } = world.moments.at(-1)!;
  await world.fold('b');
  for (const region of REGIONS) flip(world.small.stores.get(region)!, batchName(1, 0), 1);
  const paths = world.paths();
  // The empty volume would do for `a`, and the batch, if it could be had.
  expect(await world.recover(point, { prefer: ['a'] }, paths)).toMatchObject({ region: 'b', baseSeq: point.seq });
  expect(firstDifference(paths, content)).toBeNull();
});

test('a base that is damaged is left for another; where there is none its extent and object are named', async () => {
  const { world } = await worldOf(2, 3);
  const { point, content } = world.moments.at(-1)!;
  const harm = (region: string): void => {
    const { store } = world.repositories.get(region)!;
    for (const name of [...store.objects.keys()].filter((one) => EXTENTS.test(one)))
      flip(store, name, store.objects.get(name)!.length - 40);
  };
  await world.fold('a');
  harm('a');
  const paths = world.paths();
  const { baseSeq } = await world.recover(point, { prefer: ['a'] }, paths);
  // The empty volume, which is a base as long as nothing was dropped.
  expect(baseSeq).toBe(0);
  expect(firstDifference(paths, content)).toBeNull();
  await world.fold('b');
  await dropBelow(world, point.seq);
  harm('b');
  const told = { code: 'DAMAGED', details: { extent: expect.any(Number), object: expect.any(String), store: 'a' } };
  await expect(world.recover(point, { prefer: ['a'] })).rejects.toMatchObject(told);
});

test('batches that are folded and dropped under a recovery have it planned anew', async () => {
  const watched = await worldOf(3, 4);
  const { world } = watched;
  const { point, content } = world.moments.at(-1)!;
  watched.onGet = async ({ isWhole }) => {
    if (!isWhole) return;
    watched.onGet = null;
    for (const region of REGIONS) await world.fold(region);
    await dropBelow(world, point.seq);
  };
  const paths = world.paths();
  const { baseSeq } = await world.recover(point, {}, paths);
  expect(baseSeq).toBe(point.seq);
  expect(firstDifference(paths, content)).toBeNull();
});

test('a base that goes away half-way leaves nothing in what is recovered over another', async () => {
  const { world } = await worldOf(4, 2);
  await world.fold('a');
  await write(world);
  const { point, content } = world.moments.at(-1)!;
  const away: Bases['restore'] = async (snapshot, { target }) => {
    writeSync(target.fd, Buffer.alloc(target.sizeBytes, 0xee));
    throw new HoldfastError('OBJECT_MISSING', 'an object is not there', { snapshot });
  };
  const bases = new Map([...world.bases].map(([region, own]) => [region, region === 'a' ? { ...own, restore: away } : own]));
  const paths = world.paths();
  const { baseSeq } = await world.recover(point, { bases, prefer: ['a'] }, paths);
  expect(baseSeq).toBe(0);
  expect(firstDifference(paths, content)).toBeNull();
});

test('a base whose store is away, or knows nothing of it, is left for another, though the plan is still being made', async () => {
  const watched = await worldOf(8, 4);
  const { world } = watched;
  for (const region of REGIONS) await world.fold(region);
  await dropBelow(world, world.moments.at(-1)!.point.seq);
  await write(world);
  const { point, content } = world.moments.at(-1)!;
  // The base fails at once, and long before there is a plan.
  watched.onGet = () => sleep(5);
  const away = [async () => false, () => Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'away'))];
  for (const restore of away) {
    const bases = new Map([...world.bases].map(([region, own]) => [region, region === 'a' ? { ...own, restore } : own]));
    const paths = world.paths();
    expect(await world.recover(point, { bases, prefer: ['a'] }, paths)).toMatchObject({ region: 'b' });
    expect(firstDifference(paths, content)).toBeNull();
  }
});

test('however often the log moves, a batch that is gone is not looked for for ever', async () => {
  const watched = await worldOf(5, 3);
  const { world } = watched;
  const other = world.small.anotherLog();
  let moved = 0;
  watched.onGet = async ({ name, isWhole }) => {
    if (name !== batchName(1, 0)) return;
    // By whoever else keeps the journal: pins of others come and go.
    await other.append(() => ({ kind: 'PIN', pin: `p${++moved}`, epoch: 1, seq: 1, untilMs: 1, why: 'test' }));
    return isWhole ? 'nothing' : undefined;
  };
  const { point } = world.moments.at(-1)!;
  await expect(world.recover(point)).rejects.toMatchObject({ code: 'OBJECT_MISSING', details: { epoch: 1, index: 0 } });
  expect(moved).toBeLessThan(200);
});

test('the base that was begun with makes way for that of the plan', async () => {
  const { world } = await worldOf(6, 2);
  await world.fold('a');
  const lost = world.moments.length * 2;
  await write(world);
  await write(world);
  await world.fold('b');
  await write(world);
  const { point, content } = world.moments.at(-1)!;
  // In no region: what follows the base of `a` breaks off.
  for (const { objects } of world.small.stores.values()) objects.delete(batchName(1, lost));
  const paths = world.paths();
  const { region } = await world.recover(point, { prefer: ['a'] }, paths);
  expect(region).toBe('b');
  expect(firstDifference(paths, content)).toBeNull();
});

test('a target that is smaller than what the journal wrote is refused', async () => {
  const { world } = await worldOf(7, 4);
  const { point } = world.moments.at(-1)!;
  const targets = new Map(world.paths().map((file, volume) => [volume, { path: file, sizeBytes: Math.floor(SIZES[volume]! / 8) }]));
  await expect(world.recover(point, { targets })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'sizeBytes' } });
});

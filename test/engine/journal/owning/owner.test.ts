/** Owning an epoch over real file stores: numbers, batches, acknowledgements, back-pressure, labels. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readBatchHead } from '../../../../src/engine/journal/batch.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import { decodeFold } from '../../../../src/engine/journal/owning/fold.ts';
import { readAll } from './reader.ts';
import { comesToBe, createWorld, ownPair, write, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const headsIn = async (journal: Journal, region: string, epoch: number) => {
  const heads = [];
  for (let index = 0; ; index++) {
    const stored = await journal.regions.get(region)?.store.get(batchName(epoch, index));
    const head = stored ? readBatchHead(journal.key, { epoch, index }, '', stored) : null;
    if (head === null) return heads;
    heads.push(head);
  }
};

test('a flush is answered when both members hold everything up to it, in one batch if it came at once', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  expect(owner.next).toBe(1);
  const appended = owner.append([write('x'), { kind: 'zero', volume: 1, offset: 0, length: 4096 }]);
  expect(owner.next).toBe(3);
  expect(await owner.flush()).toBe(3);
  expect(await appended).toBe(2);
  const found = await readAll(journal);
  for (const region of ['a', 'b'])
    expect([...(found.open.get(region) ?? [])]).toEqual([
      [1, 'write 0 0 x'],
      [2, 'zero'],
      [3, 'flush'],
    ]);
  // A slow machine may be idle long enough for the empty batch that says so.
  expect((await headsIn(journal, 'a', owner.epoch)).filter(({ count }) => count > 0)).toHaveLength(1);
  expect(owner.status()).toMatchObject({ state: 'owning', acknowledged: 3, closed: 3, oldestOpen: null, heldBytes: 0 });
});

test('what nobody flushes is shipped after a while, and an idle owner says once what was acknowledged, then nothing', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  await owner.append([write('x')]);
  expect(owner.status().oldestOpen).toMatchObject({ seq: 1 });
  await owner.drain();
  expect(owner.status()).toMatchObject({ acknowledged: 1, oldestOpen: null });
  await owner.flush();
  await comesToBe(async () => (await headsIn(journal, 'b', owner.epoch)).length >= 4);
  // Time enough for more of them, if there were any.
  await wait(150);
  const heads = await headsIn(journal, 'b', owner.epoch);
  expect(heads.map(({ count, acknowledged, acknowledgedBatches }) => [count, acknowledged, acknowledgedBatches])).toEqual([
    [1, 0, 0],
    [0, 1, 1],
    [1, 1, 2],
    [0, 2, 3],
  ]);
});

test('labels do not fall when the clock is set back, and the next epoch goes on where they were', async () => {
  let now = 1_000_000;
  const journal = await world.open(undefined, { nowMs: () => now });
  {
    await using owner = await ownPair(journal, 'one');
    await owner.flush();
    now = 5000;
    await owner.flush();
    await owner.drain();
    const labels = (await headsIn(journal, 'a', owner.epoch)).map(({ labelUs }) => labelUs);
    expect(labels.every((label) => label === 1_000_000_000)).toBe(true);
  }
  await using next = await ownPair(journal, 'two');
  await next.flush();
  await next.drain();
  const [first] = await headsIn(journal, 'a', next.epoch);
  expect(first?.labelUs).toBe(1_000_000_000);
  await using third = await ownPair(journal, 'three');
  await using fourth = await ownPair(journal, 'four');
  await fourth.flush();
  expect((await headsIn(journal, 'a', fourth.epoch))[0]?.labelUs).toBe(1_000_000_000);
  expect(third.epoch).toBeLessThan(fourth.epoch);
});

test('batch 0 has the state of the journal', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  await owner.flush();
  await using next = await ownPair(journal, 'two');
  await next.flush();
  const [head] = await headsIn(journal, 'a', next.epoch);
  const state = decodeFold(head?.fold as Buffer, 'it');
  expect(state).toEqual(await journal.log.sync());
});

test('a pair whose member is slow takes no more than its bound, then appends wait', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', {
    limits: { batchMs: 10, heldBytesMax: 1000, memberAttemptsMax: 1e9, memberMsMax: 1e9 },
  });
  world.away.add('b');
  let taken = 0;
  const appending = (async () => {
    for (; taken < 20; taken++) await owner.append([write('y'.repeat(200))]);
  })();
  await wait(100);
  expect(taken).toBeLessThan(6);
  expect(owner.status().acknowledged).toBe(0);
  world.away.delete('b');
  await appending;
  await owner.flush();
  expect(owner.status()).toMatchObject({ acknowledged: 21 });
});

test('a record that no journal can hold gets no number', async () => {
  await using owner = await ownPair(await world.open(), 'one');
  await expect(owner.append([write('x'), write('')])).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  expect(owner.next).toBe(1);
});

test('an owner that was closed takes nothing and answers nobody', async () => {
  const owner = await ownPair(await world.open(), 'one');
  world.away.add('a');
  const pending = owner.flush();
  void owner[Symbol.asyncDispose]();
  await expect(pending).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  await expect(owner.append([write('x')])).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  await expect(owner.flush()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  await expect(owner.drain()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
});

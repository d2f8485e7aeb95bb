/** The owner itself, a member gone: the next epoch ends the one before where both had confirmed, and what is left goes out again (J4, J6). */
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { withFaults } from '../../../../src/ground/stores/faulty.ts';
import { Gate } from './gate.ts';
import { brokenPromises, readAll } from './reader.ts';
import { comesToBe, createWorld, member, ownPair, write, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(async () => {
  expect(world.alarms).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const LIVE = ['a', 'c', 'd'];

test('a member that is gone is replaced by the next spare that answers, and what was not acknowledged is so by the new pair', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', { spares: [member('d'), member('c')] });
  await owner.append([write('kept')]);
  await owner.flush();
  world.away.add('b').add('d');
  await owner.append([write('again')]);
  expect(await owner.flush()).toBe(4);
  expect(owner.status().members.map(({ region }) => region)).toEqual(['a', 'c']);
  const found = await readAll(
    journal,
    LIVE.filter((region) => region !== 'd'),
  );
  expect(found.closedThrough).toBe(2);
  const told = new Map([
    [1, 'write 0 0 kept'],
    [2, 'flush'],
    [3, 'write 0 0 again'],
    [4, 'flush'],
  ]);
  expect(brokenPromises(found, told)).toEqual([]);
  expect(found.open.size).toBe(2);
  const { epochs } = await journal.log.sync();
  expect([...epochs.values()].map(({ owner: name }) => name.split(' ')[0])).toEqual(['one', 'one']);
  expect([...epochs.values()][0]).toMatchObject({ full: ['a', 'b'] });
});

test('the end is what both confirmed, not what was sent: a surplus in one member is past it', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', { spares: [member('c')] });
  world.away.add('b');
  await owner.append([write('surplus')]);
  await owner.flush();
  const found = await readAll(journal);
  expect(found.closedThrough).toBe(0);
  const { epochs } = await journal.log.sync();
  expect([...epochs.values()][0]).toMatchObject({ end: { index: -1, seq: 0 } });
  expect(brokenPromises(found, new Map([[1, 'write 0 0 surplus']]))).toEqual([]);
});

test('the third fails, too: again, and an epoch may be empty', async () => {
  const journal = await world.open();
  // c answers when it is asked, and takes nothing.
  const dead = await world.open((store, of) =>
    of === 'c' ? withFaults(store, ({ operation }) => (operation === 'put' ? { kind: 'unavailable' } : undefined)) : store,
  );
  await using owner = await ownPair(dead, 'one', { spares: [member('c'), member('d')] });
  world.away.add('b');
  await owner.append([write('x')]);
  expect(await owner.flush()).toBe(2);
  expect(owner.status().members.map(({ region }) => region)).toEqual(['a', 'd']);
  const { epochs } = await journal.log.sync();
  expect([...epochs.values()].map(({ end }) => end?.index ?? null)).toEqual([-1, -1, null]);
});

test('without a spare the owner waits for its member, and acknowledges nothing meanwhile', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  world.away.add('b');
  let answered = false;
  const flushed = owner.flush().then(() => (answered = true));
  await comesToBe(() => (owner.status().members[1]?.lastError ?? null) !== null);
  await wait(150);
  expect(answered).toBe(false);
  expect(owner.status()).toMatchObject({ state: 'owning', acknowledged: 0 });
  expect(owner.status().members[1]).toMatchObject({ region: 'b', confirmed: 0, lastError: 'STORE_UNREACHABLE' });
  world.away.delete('b');
  await flushed;
  expect(owner.epoch).toBe(1);
});

test('while the log is away nobody fails over, and a member that comes back is enough', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', { spares: [member('c')] });
  world.away.add('b').add('log');
  const flushed = owner.flush();
  await comesToBe(() => owner.status().state === 'opening');
  await wait(150);
  expect(owner.status()).toMatchObject({ state: 'opening', acknowledged: 0 });
  world.away.delete('b');
  await flushed;
  expect(owner.epoch).toBe(1);
  world.away.delete('log');
  world.alarms.length = 0;
});

test('members are changed on request, and everything goes on', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  await owner.append([write('x')]);
  const epoch = await owner.changeMembers([member('c'), member('d')]);
  expect(epoch).toBe(owner.epoch);
  await owner.flush();
  const found = await readAll(journal);
  expect([...found.open.keys()]).toEqual(['c', 'd']);
  expect(
    brokenPromises(
      found,
      new Map([
        [1, 'write 0 0 x'],
        [2, 'flush'],
      ]),
    ),
  ).toEqual([]);
  await expect(owner.changeMembers([member('c'), { region: 'd', domain: 'site-c' }])).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  await expect(owner.changeMembers([member('c')])).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  await expect(owner.changeMembers([member('c'), member('e')])).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  expect(owner.status().state).toBe('owning');
});

test('an owner that is ended while it opens its next epoch says so to all who wait for that', async () => {
  const gate = new Gate();
  const journal = await world.open((store, of) => gate.around(store, of));
  const owner = await ownPair(journal, 'one');
  await owner.append([write('x')]);
  await owner.flush();
  gate.stopAt(gate.calls.length + 1, 'before');
  const asked = Promise.allSettled([['c', 'd'] as const, ['a', 'd'] as const].map((names) => owner.changeMembers(names.map(member))));
  await gate.reached;
  const closed = owner[Symbol.asyncDispose]();
  gate.release();
  expect(await asked).toEqual([1, 2].map(() => ({ status: 'rejected', reason: expect.objectContaining({ code: 'JOURNAL_FENCED' }) })));
  await closed;
});

test('confirmations of an older epoch count no more: a put that lands after the failure point acknowledges nothing', async () => {
  let landed: () => void = () => undefined;
  const late = new Promise<void>((resolve) => (landed = resolve));
  const journal = await world.open((store, of) =>
    of !== 'b' ? store : { ...store, put: async (...args) => (await late, store.put(...args)) },
  );
  await using owner = await ownPair(journal, 'one', {
    // Longer than a slow machine takes for a put that is answered.
    limits: { batchMs: 10, memberMsMax: 500, memberAttemptsMax: 1e9 },
    spares: [member('c'), member('d')],
  });
  world.away.add('c').add('d');
  let answered = false;
  const flushed = owner.flush().then(() => (answered = true));
  await wait(700);
  expect(answered).toBe(false);
  world.away.delete('c');
  // The new pair has to hold it: and c takes nothing until then.
  await flushed;
  expect(answered).toBe(true);
  landed();
  const found = await readAll(journal);
  expect([...found.open.keys()]).toEqual(['a', 'c']);
  expect(brokenPromises(found, new Map([[1, 'flush']]))).toEqual([]);
});

test('answers that are lost, puts that land late: acknowledged is what both hold', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const put = (kind: 'lost-answer' | 'unavailable' | 'late', count: number) => (kind === 'late' ? { kind, afterMs: count } : { kind });
    const journal = await world.open((store) =>
      withFaults(store, ({ operation, count, name }) =>
        operation === 'put' && count === 1
          ? put((['lost-answer', 'unavailable', 'late'] as const)[(name.length + seed) % 3] ?? 'late', 3)
          : undefined,
      ),
    );
    await using owner = await ownPair(journal, `seed ${seed}`, { limits: { batchMs: 10, memberAttemptsMax: 20 } });
    const told = new Map<number, string>();
    for (let i = 0; i < 5; i++) {
      const seq = await owner.append([write(`${seed} ${i}`)]);
      told.set(await owner.flush(), 'flush').set(seq, `write 0 0 ${seed} ${i}`);
    }
    expect(brokenPromises(await readAll(await world.open()), told)).toEqual([]);
  }
});

test('after an outage of both the first to answer does not throw out the other', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', { spares: [member('c')] });
  world.away.add('a').add('b');
  const flushed = owner.flush();
  await comesToBe(() => owner.status().members.every(({ failures }) => failures >= 4));
  // b is back a moment before a: no try fails after that.
  world.away.clear();
  await flushed;
  expect(owner.status()).toMatchObject({ state: 'owning', epoch: 1 });
  expect(owner.status().members.map(({ region }) => region)).toEqual(['a', 'b']);
});

test('a clock that is set by a day throws out nobody', async () => {
  let ahead = 0;
  const journal = await world.open(undefined, { nowMs: () => Date.now() + ahead });
  await using owner = await ownPair(journal, 'one', {
    spares: [member('c')],
    limits: { batchMs: 10, memberMsMax: 20_000, memberAttemptsMax: 1e9 },
  });
  world.away.add('b');
  const flushed = owner.flush();
  await wait(30);
  ahead = 86_400_000;
  await wait(60);
  world.away.delete('b');
  await flushed;
  expect(owner.epoch).toBe(1);
});

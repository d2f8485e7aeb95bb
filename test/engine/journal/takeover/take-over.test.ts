/** Taking over by somebody else: seals, the longest chain, the tail held twice, consent (docs/journal.md, section 8). */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { newSnapshotId } from '../../../../src/domain/ids.ts';
import { formBatch, readBatchHead } from '../../../../src/engine/journal/batch.ts';
import { batchName, copyName } from '../../../../src/engine/journal/object-names.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { readSeal } from '../../../../src/engine/journal/seal.ts';
import { Owner } from '../../../../src/engine/journal/owning/owner.ts';
import { takeOver } from '../../../../src/engine/journal/takeover/take-over.ts';
import { withFaults } from '../../../../src/ground/stores/faulty.ts';
import { brokenPromises, readAll } from '../owning/reader.ts';
import { comesToBe, createWorld, MEMBERS, member, ownPair, QUICK, write, type World } from '../owning/world.ts';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

/** Without batches that only say what was acknowledged: where batches are counted. */
const NEVER_IDLE = { ...QUICK, batchMs: 1e6 };
const pair = { mode: 'pair', members: MEMBERS, tailLost: false } as const;

const gone = (name: string): Promise<never> => Promise.reject(new HoldfastError('STORE_UNREACHABLE', `${name} does not get there`));

const sealAt = async (journal: Journal, region: string, epoch: number, index: number) => {
  const stored = await journal.regions.get(region)?.store.get(batchName(epoch, index));
  return stored ? readSeal(journal.key, { epoch, index }, '', stored) : null;
};

test('the first opening takes the first two candidates that answer, in failure domains of their own', async () => {
  world.away.add('b');
  const journal = await world.open();
  const members = [member('a'), member('b'), { region: 'c', domain: 'site-a' }, member('d')];
  const opened = await takeOver(journal, { ...pair, owner: 'one', members });
  expect(opened).toMatchObject({ epoch: 1, start: 1, closed: null, labelUs: 0, members: [member('a'), member('d')] });
  world.away.add('d').add('c').add('a');
  await expect(takeOver(await world.open(), { ...pair, owner: 'two' })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
});

test('a region without the first objects of the journal is no member: it is passed over, and named when too few are left', async () => {
  for (const region of ['b', 'd'] as const) await world.stores.get(region)?.delete(['journals/j/repository.json']);
  const opened = await takeOver(await world.open(), { ...pair, owner: 'one' });
  expect(opened.members).toEqual([member('a'), member('c')]);
  expect(world.alarms.join()).toContain('"region":"b"');
  await world.stores.get('c')?.delete(['journals/j/repository.json']);
  const other = { ...pair, owner: 'two', members: [member('b'), member('d')] };
  await expect(takeOver(await world.open(), other)).rejects.toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
    details: { silent: ['b: REPOSITORY_NOT_FOUND', 'd: REPOSITORY_NOT_FOUND'] },
  });
  // One that does not answer may be there later.
  world.away.add('d');
  await expect(takeOver(await world.open(), other)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
});

test('whoever takes over seals both chains, and the owner is fenced: what waits is rejected, nothing is acknowledged', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one', { limits: NEVER_IDLE });
  await owner.append([write('x')]);
  await owner.flush();
  const other = await world.open();
  const opened = await takeOver(other, { ...pair, owner: 'two' });
  expect(opened).toMatchObject({ epoch: 2, start: 3 });
  expect(opened.closed).toMatchObject({ epoch: 1, end: { index: 0, seq: 2 }, full: ['a', 'b'] });
  for (const region of ['a', 'b']) expect((await sealAt(other, region, 1, 1))?.by).toMatch(/^two [0-9a-f]{16}$/);
  await expect(owner.flush()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  await expect(owner.append([write('y')])).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  expect(owner.status()).toMatchObject({ state: 'ended', acknowledged: 2, endedBy: { code: 'JOURNAL_FENCED' } });
});

test('one live member is enough, and a spare takes the other place', async () => {
  const journal = await world.open();
  const told = new Map<number, string>();
  {
    await using owner = await ownPair(journal, 'one');
    told.set(await owner.append([write('x')]), 'write 0 0 x').set(await owner.flush(), 'flush');
  }
  world.destroy('a');
  await using next = await ownPair(await world.open(), 'two');
  expect(next.status().members.map(({ region }) => region)).toEqual(['b', 'c']);
  told.set(await next.flush(), 'flush');
  expect(brokenPromises(await readAll(journal, ['b', 'c', 'd']), told)).toEqual([]);
});

test('a surplus that one region holds is copied to a second before it can be read: its region may die (hole 6)', async () => {
  const journal = await world.open();
  const told = new Map<number, string>();
  {
    await using owner = await ownPair(journal, 'one', { limits: NEVER_IDLE });
    told.set(await owner.append([write('both')]), 'write 0 0 both').set(await owner.flush(), 'flush');
    world.away.add('b');
    void owner.flush().catch(() => undefined);
    await owner.append([write('once')]);
    await comesToBe(async () => ((await journal.regions.get('a')?.store.head(batchName(1, 1))) ?? null) !== null);
  }
  world.away.delete('b');
  const other = await world.open();
  const opened = await takeOver(other, { ...pair, owner: 'two', members: [member('a'), member('c')] });
  expect(opened.start).toBeGreaterThan(3);
  // It is shown, ...
  const shown = await readAll(other);
  expect(shown.closed.get(3)).toBe('flush');
  expect([...shown.copies].filter(([, held]) => held < 2)).toEqual([]);
  // ... and stays so when the region that alone had it is gone.
  world.destroy('a');
  const left = await readAll(other, ['b', 'c', 'd']);
  expect(left.faults).toEqual([]);
  expect([...left.closed]).toEqual([...shown.closed]);
  expect(await other.regions.get('c')?.store.head(copyName(1, 1))).not.toBeNull();
});

test('a batch without records has a place in the tail, too (hole 7), and a member that is completed by copies is full', async () => {
  const journal = await world.open();
  {
    // What is left is the empty batch that says what was acknowledged: it gets to one member alone.
    const lacking = await world.open((store, of) =>
      of !== 'b' ? store : { ...store, put: (name, ...rest) => (name.endsWith(batchName(1, 1)) ? gone(name) : store.put(name, ...rest)) },
    );
    await using owner = await ownPair(lacking, 'one', { limits: { ...QUICK, memberAttemptsMax: 1e9 } });
    await owner.flush();
    const there = async () => (await journal.regions.get('a')?.store.head(batchName(1, 1))) ?? null;
    await comesToBe(async () => (await there()) !== null);
  }
  const opened = await takeOver(journal, { ...pair, owner: 'two', members: [member('a'), member('b')] });
  expect(opened.closed).toMatchObject({ end: { index: 1, seq: 1 }, full: ['a', 'b'] });
  expect(await journal.regions.get('b')?.store.head(copyName(1, 1))).not.toBeNull();
  expect((await readAll(journal, ['b'])).faults).toEqual([]);
});

test('an owner that puts faster than a seal is stopped by one ahead of it', async () => {
  const journal = await world.open(undefined, { sleep: (ms) => wait(ms) });
  await using owner = await ownPair(journal, 'one', { limits: { batchMs: 1 } });
  let flushing = true;
  const told = new Map<number, string>();
  const flushes = (async () => {
    while (flushing) told.set(await owner.flush(), 'flush');
  })();
  // Each put of the other takes as long as several batches.
  const slow = await world.open((store, of) =>
    of === 'log' ? store : { ...store, put: async (...args) => (await wait(15), await store.put(...args)) },
  );
  const opened = await takeOver(slow, { ...pair, owner: 'two' });
  await expect(flushes).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  flushing = false;
  expect(opened.epoch).toBeGreaterThan(1);
  expect(brokenPromises(await readAll(await world.open()), told)).toEqual([]);
});

test('of local members one that does not answer may hold more: consent is asked for, with the number that is known', async () => {
  const journal = await world.open();
  const local = { ...pair, mode: 'local', members: [member('a'), member('b')] } as const;
  await takeOver(journal, { ...local, owner: 'one' });
  world.away.add('b');
  const asked = takeOver(await world.open(), { ...local, owner: 'two' });
  await expect(asked).rejects.toMatchObject({ code: 'TAIL_LOST', details: { acknowledged: 0, silent: ['b: STORE_UNREACHABLE'] } });
  const opened = await takeOver(await world.open(), { ...local, owner: 'two', tailLost: true });
  expect(opened.members).toEqual([member('a')]);
  world.away.add('a');
  const all = { ...local, owner: 'three', members: [member('c')] };
  await expect(takeOver(await world.open(), all)).rejects.toMatchObject({ code: 'TAIL_LOST' });
  expect(await takeOver(await world.open(), { ...all, tailLost: true })).toMatchObject({ closed: { end: { index: -1 }, full: ['a'] } });
});

test('a sealed owner that nobody overtook opens again by itself, and loses nothing', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  const told = new Map([[await owner.flush(), 'flush']]);
  // Seals, and then never opens: the log refuses it.
  const broken = await world.open((store, of) =>
    of !== 'log' ? store : { ...store, put: async () => await Promise.reject(new Error('died here')) },
  );
  await expect(takeOver(broken, { ...pair, owner: 'two' })).rejects.toThrow('died here');
  told.set(await owner.append([write('x')]), 'write 0 0 x').set(await owner.flush(), 'flush');
  expect(owner.epoch).toBe(2);
  expect(brokenPromises(await readAll(journal), told)).toEqual([]);
});

test('of several that take over at once one does, and the others are told so', async () => {
  await (await ownPair(await world.open(), 'gone'))[Symbol.asyncDispose]();
  const journals = await Promise.all([world.open(), world.open(), world.open()]);
  const taken = await Promise.allSettled(journals.map((journal, i) => takeOver(journal, { ...pair, owner: `owner ${i}` })));
  expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const one of taken) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'JOURNAL_FENCED' });
  expect((await journals[0]?.log.sync())?.epochs.size).toBe(2);
});

test('a damaged batch: a pair goes by the other member', async () => {
  const journal = await world.open();
  {
    await using owner = await ownPair(journal, 'one', { limits: NEVER_IDLE });
    for (let i = 0; i < 3; i++) await owner.flush();
  }
  const rot = (where: string) =>
    world.open((store, of) =>
      of !== where
        ? store
        : withFaults(store, ({ operation, name }) =>
            operation === 'get' && name.endsWith('1') && name.includes('/e/') ? { kind: 'flip' } : undefined,
          ),
    );
  world.away.add('b');
  await expect(takeOver(await rot('a'), { ...pair, owner: 'two' })).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
    details: { silent: ['a: DAMAGED', 'b: STORE_UNREACHABLE'] },
  });
  world.away.delete('b');
  const opened = await takeOver(await rot('a'), { ...pair, owner: 'two' });
  expect(opened.closed).toMatchObject({ end: { index: 2, seq: 3 }, full: ['b'] });
  expect(await sealAt(journal, 'b', 1, 3)).not.toBeNull();
});

test('a lost batch is no end: alone its region is not believed, and with the other it is not needed', async () => {
  const journal = await world.open();
  {
    await using owner = await ownPair(journal, 'one', { limits: NEVER_IDLE });
    for (let i = 0; i < 3; i++) await owner.flush();
  }
  await journal.regions.get('a')?.store.delete([batchName(1, 1)]);
  world.away.add('b');
  await expect(takeOver(await world.open(), { ...pair, owner: 'two' })).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
    details: { silent: ['a: CHAIN_BROKEN', 'b: STORE_UNREACHABLE'] },
  });
  world.away.delete('b');
  expect((await takeOver(await world.open(), { ...pair, owner: 'two' })).closed).toMatchObject({ end: { index: 2, seq: 3 }, full: ['b'] });
});

test('what is sound before the damage is kept when somebody has consented to the loss of the rest', async () => {
  const local = { ...pair, mode: 'local', members: [member('a')] } as const;
  const journal = await world.open();
  const { epoch } = await takeOver(journal, { ...local, owner: 'one' });
  // Three batches that nobody else has.
  const source = await world.open();
  await using helper = new Owner({
    journal: source,
    opened: { ...(await takeOver(source, { ...local, owner: 'two' })), mode: 'pair' },
    writeAhead: null,
    limits: NEVER_IDLE,
  });
  for (let i = 0; i < 3; i++) await helper.flush();
  await helper[Symbol.asyncDispose]();
  const rotten = await world.open((store, of) =>
    of !== 'a'
      ? store
      : withFaults(store, ({ operation, name }) => (operation === 'get' && /e[/]0*2[/]0*1$/.test(name) ? { kind: 'flip' } : undefined)),
  );
  await expect(takeOver(rotten, { ...local, owner: 'three' })).rejects.toMatchObject({
    code: 'TAIL_LOST',
    details: { silent: ['a: DAMAGED'] },
  });
  const opened = await takeOver(rotten, { ...local, owner: 'three', tailLost: true });
  expect(opened.closed).toMatchObject({ epoch: epoch + 1, end: { index: 0, seq: 1 } });
  expect((await readAll(journal)).faults).toEqual([]);
  expect(await sealAt(journal, 'a', epoch + 1, 3)).not.toBeNull();
});

test('a walk begins after the base of the region: what is below it may have been collected (holes 8 and 9)', async () => {
  const journal = await world.open();
  {
    await using owner = await ownPair(journal, 'one', { limits: NEVER_IDLE });
    for (let i = 0; i < 4; i++) await owner.flush();
  }
  const heads = (await readAll(journal)).open.get('a');
  expect(heads?.size).toBe(4);
  const stored = await journal.regions.get('a')?.store.get(batchName(1, 1));
  const digest = readBatchHead(journal.key, { epoch: 1, index: 1 }, '', stored ?? Buffer.alloc(0))?.after.toString('hex') ?? '';
  const snapshots = [{ volume: 0, id: newSnapshotId(1, Math.random) }];
  const at = { epoch: 1, index: 1, seq: 2, digest };
  for (const region of ['a', 'b']) await journal.log.append(() => ({ kind: 'BASE', region, snapshots, from: 2, to: 2, at }));
  // The floor wins the record that the OPEN was worked out for, and what is below the bases is collected at once.
  let raced = false;
  const other = await world.open((store, of) =>
    of !== 'log'
      ? store
      : {
          ...store,
          put: async (...args) => {
            if (!raced) {
              raced = true;
              await journal.log.append(() => ({ kind: 'FLOOR', seq: 2 }));
              for (const region of ['a', 'b']) await journal.regions.get(region)?.store.delete([batchName(1, 0), batchName(1, 1)]);
            }
            return await store.put(...args);
          },
        },
  );
  const opened = await takeOver(other, { ...pair, owner: 'two' });
  expect(opened.closed).toMatchObject({ end: { index: 3, seq: 4 }, full: ['a', 'b'] });
  const next = await takeOver(await world.open(), { ...pair, owner: 'three' });
  expect(next).toMatchObject({ start: 5, closed: { epoch: opened.epoch, end: { index: -1 } } });
});

test('a planned handover: drained, everything is below the end, in both members, and the next owner goes on', async () => {
  const journal = await world.open();
  await using owner = await ownPair(journal, 'one');
  await owner.append([write('x'), write('y')]);
  expect(await owner.drain()).toBe(2);
  await using next = await ownPair(await world.open(), 'two');
  expect(next.next).toBe(3);
  const told = new Map([
    [1, 'write 0 0 x'],
    [2, 'write 0 0 y'],
    [await next.flush(), 'flush'],
  ]);
  const found = await readAll(journal);
  expect(brokenPromises(found, told)).toEqual([]);
  expect([...found.copies.values()].every((copies) => copies === 2)).toBe(true);
});

test('two histories of one epoch are not chosen from: the take-over is refused', async () => {
  const journal = await world.open();
  const { before } = await takeOver(journal, { ...pair, owner: 'one' });
  for (const region of ['a', 'b']) {
    const records = [{ ...write(`of ${region}`), seq: 1 } as JournalRecord];
    const said = { first: 1, before, acknowledged: 0, acknowledgedBatches: 0, labelUs: 1, fold: Buffer.alloc(0) };
    const forged = formBatch(journal.key, { epoch: 1, index: 0, ...said }, records, { level: null, salt: randomBytes(32) });
    await journal.regions.get(region)?.store.put(batchName(1, 0), forged.stored);
  }
  await expect(takeOver(await world.open(), { ...pair, owner: 'two' })).rejects.toMatchObject({ code: 'CHAIN_BROKEN' });
});

test('an OPEN whose answer was lost is found by its mark, by whoever takes over and by an owner that fails over: one epoch each', async () => {
  const journal = await world.open((store, of) =>
    of !== 'log'
      ? store
      : withFaults(store, ({ operation, count }) => (operation === 'put' && count === 1 ? { kind: 'lost-answer' } : undefined)),
  );
  await using owner = await ownPair(journal, 'one', { spares: [member('c')] });
  expect(owner.epoch).toBe(1);
  world.away.add('b');
  expect(await owner.flush()).toBe(1);
  expect(owner.epoch).toBe(2);
  expect((await journal.log.sync()).epochs.size).toBe(2);
});

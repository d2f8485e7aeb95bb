/** Mode local: acknowledged by the write-ahead file, shipped by and by; restarted, overtaken, detached (docs/journal.md, sections 6 and 8). */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openLocal, orphansIn, type LocalOpened, type LocalStart } from '../../../../src/engine/journal/owning/own-file.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { Owner, type OwnerOptions } from '../../../../src/engine/journal/owning/owner.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { contentOf, readAll } from './reader.ts';
import { comesToBe, createWorld, member, QUICK, write, type World } from './world.ts';

let world: World;
let file: string;
beforeEach(async () => {
  world = await createWorld();
  file = path.join(world.folder, 'file');
  await mkdir(file);
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

interface Local extends AsyncDisposable {
  readonly owner: Owner;
  readonly carried: readonly JournalRecord[];
}

const openOwn = (journal: Journal, some: Partial<LocalStart> = {}): Promise<LocalOpened> =>
  openLocal({ journal, folder: file, owner: 'node', members: [member('a'), member('b')], from: 'own', tailLost: false, ...some });

async function ownLocal(some: Partial<LocalStart & OwnerOptions> = {}): Promise<Local> {
  const journal = some.journal ?? (await world.open());
  const { opened, writeAhead, carried } = await openOwn(journal, some);
  const owner = new Owner({ journal, opened, writeAhead, carried, limits: QUICK, ...some });
  return {
    owner,
    carried,
    async [Symbol.asyncDispose]() {
      await owner[Symbol.asyncDispose]();
      await writeAhead[Symbol.asyncDispose]();
    },
  };
}

const AWAY = ['a', 'b', 'c', 'd'] as const;

/** An owner has ended with one write in its regions, and another one, which was flushed, in its file alone. */
async function endWith(shipped: string, kept: string): Promise<void> {
  {
    await using local = await ownLocal();
    await local.owner.append([write(shipped)]);
    await local.owner.drain();
    for (const region of AWAY) world.away.add(region);
    await local.owner.append([write(kept)]);
    await local.owner.flush();
  }
  world.away.clear();
}

test('a flush is answered by the file alone, without any region, and shipped when one is back', async () => {
  await using local = await ownLocal({ limits: { ...QUICK, memberAttemptsMax: 1e9 } });
  for (const region of AWAY) world.away.add(region);
  await local.owner.append([write('x')]);
  expect(await local.owner.flush()).toBe(2);
  expect(local.owner.status()).toMatchObject({ acknowledged: 2, closed: 0, oldestOpen: { seq: 1 } });
  world.away.delete('a');
  await comesToBe(() => local.owner.status().closed >= 2);
  expect(local.owner.status()).toMatchObject({ closed: 2, oldestOpen: null });
  expect(local.owner.status().members.map(({ confirmed }) => confirmed)).toEqual([2, 0]);
  world.away.delete('b');
  await local.owner.drain();
  expect(local.owner.status().members.map(({ confirmed }) => confirmed)).toEqual([2, 2]);
});

test('a restarted owner ships what its file has above the end, with the same numbers', async () => {
  const journal = await world.open();
  await endWith('shipped', 'kept');
  await using again = await ownLocal();
  expect(again.carried.map(contentOf)).toEqual(['write 0 0 kept', 'flush']);
  expect(again.owner.status()).toMatchObject({ next: 4, acknowledged: 3 });
  await again.owner.append([write('new')]);
  await again.owner.drain();
  const found = await readAll(journal);
  expect([...found.closed]).toEqual([[1, 'write 0 0 shipped']]);
  expect([...(found.open.get('b') ?? [])]).toEqual([
    [2, 'write 0 0 kept'],
    [3, 'flush'],
    [4, 'write 0 0 new'],
  ]);
});

test('with its own file a restarted owner needs no consent for a region that does not answer; anybody else does', async () => {
  {
    // The flush stays in the file: no batch is formed for its age.
    await using local = await ownLocal({ limits: { ...QUICK, batchMs: 1e6 } });
    await local.owner.append([write('x')]);
    await local.owner.drain();
    await local.owner.flush();
  }
  world.away.add('b');
  const other = path.join(world.folder, 'other');
  await expect(ownLocal({ folder: other, from: 'anyone' })).rejects.toMatchObject({ code: 'TAIL_LOST', details: { acknowledged: 1 } });
  await using again = await ownLocal({ members: [member('a'), member('c')] });
  expect(again.carried.map(contentOf)).toEqual(['flush']);
});

test('an owner that was overtaken is refused, and its records above the end are an orphan: kept, exported, never merged', async () => {
  const journal = await world.open();
  await endWith('shipped', 'only here');
  {
    await using other = await ownLocal({ folder: path.join(world.folder, 'other'), owner: 'other', from: 'anyone' });
    await other.owner.append([write('of the other')]);
    await other.owner.drain();
    await expect(ownLocal()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
    await expect(ownLocal()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
    expect(other.owner.status().state).toBe('owning');
  }
  await using back = await ownLocal({ from: 'anyone' });
  expect(back.carried).toEqual([]);
  expect(back.owner.next).toBe(3);
  await back.owner.append([write('after')]);
  await back.owner.drain();
  const [orphan, ...more] = await orphansIn(journal, file);
  expect(more).toEqual([]);
  expect(orphan).toMatchObject({ epoch: 1, endedAt: 1 });
  const kept: string[] = [];
  for await (const record of orphan?.records() ?? []) kept.push(`${record.seq} ${contentOf(record)}`);
  expect(kept).toEqual(['2 write 0 0 only here', '3 flush']);
  const found = await readAll(journal);
  expect([...found.closed, ...(found.open.get('a') ?? [])]).toEqual([
    [1, 'write 0 0 shipped'],
    [2, 'write 0 0 of the other'],
    [3, 'write 0 0 after'],
  ]);
});

test('a local owner that is overtaken while it runs keeps its word by its file, and is refused once it finds the seal', async () => {
  const journal = await world.open();
  await using local = await ownLocal();
  await local.owner.append([write('x')]);
  await local.owner.drain();
  const other = await ownLocal({ folder: path.join(world.folder, 'other'), owner: 'other', from: 'anyone' });
  await local.owner.flush().catch(() => undefined);
  await comesToBe(() => local.owner.status().state === 'ended');
  await expect(local.owner.flush()).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
  expect((await readAll(journal)).faults).toEqual([]);
  await other[Symbol.asyncDispose]();
});

test('whoever finds a seal acknowledges nothing, not even by its file, until the log has said whose the journal is', async () => {
  await using local = await ownLocal({ limits: { ...QUICK, batchMs: 1 } });
  const other = await ownLocal({ folder: path.join(world.folder, 'other'), owner: 'other', from: 'anyone' });
  await other[Symbol.asyncDispose]();
  world.away.add('log');
  await local.owner.append([write('x')]);
  await comesToBe(() => local.owner.status().state !== 'owning');
  expect(local.owner.status().state).toBe('opening');
  const flushed = local.owner.flush().then(
    () => 'answered',
    (error: { code: string }) => error.code,
  );
  expect(await Promise.race([flushed, wait(100, 'nothing')])).toBe('nothing');
  world.away.delete('log');
  expect(await flushed).toBe('JOURNAL_FENCED');
});

test('nothing is shipped that the file has not synced: after a crash no region has more than the file', async () => {
  const journal = await world.open();
  const { opened, writeAhead, carried } = await openOwn(journal, { members: [member('a')] });
  let syncing = Promise.withResolvers<void>();
  syncing.resolve();
  const slow = {
    contents: writeAhead.contents,
    get next() {
      return writeAhead.next;
    },
    get failed() {
      return writeAhead.failed;
    },
    append: (records: readonly JournalRecord[]) => writeAhead.append(records),
    freeBelow: (seq: number) => writeAhead.freeBelow(seq),
    sync: async () => (await syncing.promise, await writeAhead.sync()),
  };
  await using owner = new Owner({ journal, opened, writeAhead: slow, carried, limits: { ...QUICK, batchMs: 1 } });
  await owner.append([write('synced')]);
  await owner.flush();
  syncing = Promise.withResolvers<void>();
  await owner.append([write('not synced')]);
  await comesToBe(() => owner.status().closed >= 2);
  await wait(50);
  expect(owner.status()).toMatchObject({ acknowledged: 2, closed: 2, next: 4 });
  syncing.resolve();
  await owner.drain();
  expect(owner.status()).toMatchObject({ acknowledged: 3, closed: 3 });
  await writeAhead[Symbol.asyncDispose]();
});

test('a region that lags is left out, and everything goes on with the other', async () => {
  // b fails when a holds what b lacks, and not before: the epoch might end before that, with both.
  let isAhead = (): boolean => true;
  const journal = await world.open((store, of) =>
    of !== 'b' ? store : { ...store, put: async (...args) => (await comesToBe(isAhead), await store.put(...args)) },
  );
  await using local = await ownLocal({ journal });
  await local.owner.append([write('x')]);
  await local.owner.drain();
  isAhead = () => local.owner.status().closed >= 2;
  world.away.add('b');
  await local.owner.append([write('y')]);
  await comesToBe(() => local.owner.epoch > 1);
  expect(local.owner.status().members.map(({ region }) => region)).toEqual(['a']);
  await local.owner.append([write('z')]);
  await local.owner.drain();
  const found = await readAll(journal, ['a']);
  expect(found.faults).toEqual([]);
  expect([...found.closed, ...(found.open.get('a') ?? [])].map(([, content]) => content)).toEqual([
    'write 0 0 x',
    'write 0 0 y',
    'write 0 0 z',
  ]);
  expect((await journal.log.sync()).epochs.get(1)).toMatchObject({ full: ['a'] });
});

test('what all members hold, and the volume, leaves the file', async () => {
  await using local = await ownLocal();
  for (let i = 0; i < 20; i++) await local.owner.append([write('z'.repeat(4_000_000), i)]);
  await local.owner.drain();
  const segments = async () =>
    (await readdir(path.join(file, (await readdir(file))[0] ?? ''))).filter((name) => name.endsWith('.wal')).length;
  expect(await segments()).toBe(2);
  local.owner.release(local.owner.next - 1);
  await comesToBe(async () => (await segments()) <= 1);
  expect(await segments()).toBe(1);
});

test('appends are slowed when no region keeps up, and stop at the bound', async () => {
  const sleeps: number[] = [];
  const journal = await world.open(undefined, { sleep: (ms) => (sleeps.push(ms), wait(Math.min(ms, 10))) });
  await using local = await ownLocal({ journal, limits: { ...QUICK, heldBytesMax: 2000, memberAttemptsMax: 1e9 } });
  for (const region of AWAY) world.away.add(region);
  let taken = 0;
  const appending = (async () => {
    for (; taken < 12; taken++) await local.owner.append([write('y'.repeat(236))]);
  })();
  await comesToBe(() => taken >= 5 && sleeps.includes(160));
  // Time enough for more than the bound lets in.
  await wait(100);
  expect(taken).toBeGreaterThanOrEqual(5);
  expect(taken).toBeLessThan(9);
  expect(sleeps).toEqual(expect.arrayContaining([40, 100, 160]));
  world.away.clear();
  await appending;
});

test('a store that takes little is not given more: appends go on at its pace, long before the bound', async () => {
  const bytesPerMs = 4 * 1024;
  let [freeAt, stored] = [0, 0];
  const journal = await world.open(
    (store, of) => ({
      ...store,
      async put(name, bytes, options) {
        if (of === 'a') {
          freeAt = Math.max(freeAt, Date.now()) + bytes.length / bytesPerMs;
          await wait(freeAt - Date.now());
          stored += bytes.length;
        }
        return await store.put(name, bytes, options);
      },
    }),
    { sleep: (ms) => wait(ms) },
  );
  await using local = await ownLocal({ journal, members: [member('a')], limits: { batchMs: 200, memberMsMax: 1e9 } });
  const bytes = 64 * 1024;
  const begun = Date.now();
  let [taken, most] = [0, 0];
  while (Date.now() - begun < 3000) {
    // Other bytes each time, or they would be packed.
    await local.owner.append([{ kind: 'write', volume: 0, offset: taken, data: randomBytes(bytes) }]);
    taken += bytes;
    most = Math.max(most, local.owner.status().heldBytes);
  }
  // Without its pace all that a disk takes in three seconds, up to 192 MiB.
  expect(most).toBeLessThan(24 * 1024 * 1024);
  expect(stored).toBeGreaterThan(0);
  expect(local.owner.status().members).toHaveLength(1);
});

test('a file that fails ends the owner: nothing is acknowledged any more', async () => {
  const journal = await world.open();
  const { opened, writeAhead, carried } = await openOwn(journal, { members: [member('a')] });
  await using owner = new Owner({ journal, opened, writeAhead, carried, limits: QUICK });
  await owner.flush();
  await writeAhead[Symbol.asyncDispose]();
  // In the turn in which somebody asks, and before a record gets a number that the file will never have.
  expect(owner.status()).toMatchObject({ state: 'ended', endedBy: { code: 'WRITE_AHEAD_FAILED' }, next: 2 });
  await expect(owner.flush()).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  await expect(owner.append([write('x')])).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  expect(owner.status()).toMatchObject({ state: 'ended', acknowledged: 1 });
});

test('a member has four batches under way at the most, however far behind it is', async () => {
  let [underWay, most] = [0, 0];
  let isOver = false;
  const journal = await world.open((store, of) =>
    of !== 'b'
      ? store
      : {
          ...store,
          put: async (...args) => {
            most = Math.max(most, ++underWay);
            await comesToBe(() => isOver);
            underWay--;
            return await store.put(...args);
          },
        },
  );
  await using local = await ownLocal({ journal, limits: { ...QUICK, batchMs: 1, memberMsMax: 1e9 } });
  for (let i = 0; i < 12; i++) {
    await local.owner.append([write(`${i}`)]);
    await comesToBe(() => local.owner.status().closed > i);
  }
  // The other has all of them: this one has as many under way as it may.
  isOver = true;
  await local.owner.drain();
  expect(most).toBe(4);
});

import { expect, test } from '@jest/globals';
import { loadCheckpoint, newestCheckpoint, writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import { sweep } from '../../../src/engine/repository/sweep.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { KEY, open, snapshot } from './world.ts';

const dump = ({ table, ledger }: Repository) => ({
  rows: [...table.rows()],
  packs: [...table.packs()],
  parts: [...table.parts()],
  ledger: ledger(),
});

/** A repository with a past: snapshots taken, one of them reclaimed. */
async function withPast(store: MemoryStore): Promise<Repository> {
  const { repository } = open(store);
  await snapshot(repository, 1, 2, 3);
  const middle = await snapshot(repository, 1, 4, 3);
  await snapshot(repository, 1, 4, 5);
  await hideSnapshot(repository, middle, 0, false);
  await collect(repository, { owner: 'test', full: false });
  return repository;
}

test.each(['memory', 'sqlite'] as const)('what is loaded is what was folded (%s table)', async (kind) => {
  const store = createMemoryStore();
  const repository = await withPast(store);
  const n = await writeCheckpoint(repository);
  expect(n).toBe(repository.ledger().n);
  const table = kind === 'memory' ? createMemoryTable() : openSqliteTable(':memory:');
  const checkpoint = await newestCheckpoint(store, KEY);
  if (checkpoint === null) throw new Error('no checkpoint');
  const ledger = await loadCheckpoint(store, KEY, checkpoint, table);
  expect({ ...dump(repository), rows: [...table.rows()], packs: [...table.packs()], parts: [...table.parts()], ledger }).toEqual(
    dump(repository),
  );
});

test('a process that is behind what was swept goes on from the checkpoint', async () => {
  const store = createMemoryStore();
  const behind = open(store).repository;
  await snapshot(behind, 9);
  const repository = await withPast(store);
  await writeCheckpoint(repository);
  await sweep(repository);
  const cold = open(store).repository;
  for (const one of [behind, cold]) {
    await one.sync();
    expect(dump(one)).toEqual(dump(repository));
  }
});

test('a change that is lost, with no checkpoint that explains it: OBJECT_MISSING, by whatever start', async () => {
  const store = createMemoryStore();
  const behind = open(store).repository;
  await snapshot(behind, 9);
  await writeCheckpoint(behind);
  await snapshot(open(store).repository, 1, 2);
  for (const name of [...store.objects.keys()]) if (/^a\/0*3\/.*-c/.test(name)) store.objects.delete(name);
  await expect(behind.sync()).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  await expect(open(store).repository.sync()).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
});

test('a checkpoint that two newer ones replace while it is read is given up for the newest', async () => {
  const store = createMemoryStore();
  const writer = open(store).repository;
  await snapshot(writer, 1);
  await writeCheckpoint(writer);
  let interfere = true;
  const slow: MemoryStore = {
    ...store,
    async get(name, options) {
      if (interfere && name.startsWith('checkpoint-part/')) {
        interfere = false;
        for (const value of [2, 3]) {
          await snapshot(writer, value);
          await writeCheckpoint(writer);
        }
      }
      return store.get(name, options);
    },
  };
  const { repository } = open(slow);
  await repository.sync();
  expect(interfere).toBe(false);
  expect(dump(repository)).toEqual(dump(writer));
});

test('a state that moves while it is written down is no checkpoint', async () => {
  const store = createMemoryStore();
  const other = open(store).repository;
  await snapshot(other, 1);
  let moved = false;
  const slow: MemoryStore = {
    ...store,
    async put(name, bytes, options) {
      if (!moved && name.startsWith('checkpoint-part/')) {
        moved = true;
        await snapshot(other, 2);
        await repository.sync();
      }
      return store.put(name, bytes, options);
    },
  };
  const { repository } = open(slow);
  await repository.sync();
  expect(await writeCheckpoint(repository)).toBe(0);
  expect(await newestCheckpoint(store, KEY)).toBeNull();
  expect(await writeCheckpoint(repository)).toBe(repository.ledger().n);
});

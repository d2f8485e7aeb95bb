/** The local cache: shared by processes, rotten, of another log, or behind. Whatever it is, it costs time and nothing else. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { audit } from '../../../src/engine/repository/audit.ts';
import { loadCheckpoint, newestCheckpoint, writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import { logName } from '../../../src/engine/repository/object-names.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import { sweep } from '../../../src/engine/repository/sweep.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { fingerprintOfValue } from './ship.ts';
import { KEY, open, snapshot } from './world.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-cache-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const file = (): string => path.join(folder, 'cache.db');

const reads = (store: MemoryStore): { readonly store: MemoryStore; readonly names: string[] } => {
  const names: string[] = [];
  return {
    names,
    store: {
      ...store,
      get(name, options) {
        names.push(name);
        return store.get(name, options);
      },
    },
  };
};

test('a second start reads the log from where the first one left it', async () => {
  const store = createMemoryStore();
  {
    using table = openSqliteTable(file());
    await snapshot(open(store, table).repository, 1, 2, 3);
  }
  const counted = reads(store);
  using table = openSqliteTable(file());
  const { repository } = open(counted.store, table);
  expect((await repository.sync()).n).toBe(2);
  expect(counted.names).toEqual([logName(2), logName(3)]);
  expect(await audit(repository)).toEqual([]);
});

test('another process moves the shared cache on: both go on from there', async () => {
  const store = createMemoryStore();
  using one = openSqliteTable(file());
  using other = openSqliteTable(file());
  const first = open(store, one).repository;
  const second = open(store, other).repository;
  await first.sync();
  await second.sync();
  await snapshot(first, 1, 2);
  await snapshot(second, 1, 5);
  await snapshot(first, 4, 5, 6);
  for (const repository of [first, second]) {
    expect((await repository.sync()).n).toBe(6);
    expect(await audit(repository)).toEqual([]);
  }
  expect(one.stamp()).toBe(6);
});

test('a commit is not judged on a table that another process has moved', async () => {
  const store = createMemoryStore();
  using one = openSqliteTable(file());
  using other = openSqliteTable(file());
  const first = open(store, one).repository;
  await snapshot(first, 1, 2);
  expect(first.standsAt(2)).toBe(true);
  await snapshot(open(store, other).repository, 3);
  expect(first.ledger().n).toBe(2);
  expect(first.standsAt(2)).toBe(false);
  await first.sync();
  expect(first.standsAt(4)).toBe(true);
});

test('a damaged row counts as unknown, and the cache is built anew', async () => {
  const store = createMemoryStore();
  {
    using table = openSqliteTable(file());
    await snapshot(open(store, table).repository, 1, 2, 3);
  }
  const raw = new DatabaseSync(file());
  raw.prepare('UPDATE rows SET offset = offset + 1 WHERE fingerprint = ?').run(fingerprintOfValue(2));
  raw.close();
  using table = openSqliteTable(file());
  const { repository, alarms } = open(store, table);
  await repository.sync();
  expect(repository.locate(fingerprintOfValue(1))).not.toBeNull();
  expect(repository.locate(fingerprintOfValue(2))).toBeNull();
  expect(await repository.values.readExtent(fingerprintOfValue(2), null)).toHaveLength(16_384);
  expect(alarms).toEqual(['the local cache is damaged and is built anew']);
  expect(await audit(repository)).toEqual([]);
});

test('a damaged row that a record changes: the cache is built anew and the record folded', async () => {
  const store = createMemoryStore();
  using table = openSqliteTable(file());
  const { repository, alarms } = open(store, table);
  await snapshot(repository, 1, 2, 3);
  const raw = new DatabaseSync(file());
  raw.prepare('UPDATE rows SET runs = runs + 1 WHERE fingerprint = ?').run(fingerprintOfValue(2));
  raw.close();
  await snapshot(open(store).repository, 1, 2, 2);
  expect((await repository.sync()).n).toBe(4);
  expect(alarms).toEqual(['the local cache is damaged and is built anew']);
  expect(await audit(repository)).toEqual([]);
});

test('the cache of another log is discarded, with an alarm', async () => {
  using table = openSqliteTable(file());
  const elsewhere = open(createMemoryStore(), table).repository;
  await snapshot(elsewhere, 7, 8);
  const store = createMemoryStore();
  await snapshot(open(store).repository, 1, 2);
  const { repository, alarms } = open(store, table);
  await repository.sync();
  expect(alarms).toEqual(['the local cache does not fit the log and is discarded']);
  expect(repository.locate(fingerprintOfValue(7))).toBeNull();
  expect(await audit(repository)).toEqual([]);
});

test('a log that ends before what was read, or goes on with another record: LOG_DIVERGED', async () => {
  const store = createMemoryStore();
  using table = openSqliteTable(file());
  const { repository } = open(store, table);
  await snapshot(repository, 1);
  const kept = new Map(store.objects);
  await snapshot(repository, 2);
  const rolledBack = createMemoryStore();
  for (const [name, bytes] of kept) rolledBack.objects.set(name, bytes);
  await expect(open(rolledBack, table).repository.sync()).rejects.toMatchObject({ code: 'LOG_DIVERGED' });
  // The rolled-back store gets a history of its own: its record 5 does not follow our record 4.
  const other = open(rolledBack).repository;
  await snapshot(other, 3);
  await snapshot(other, 4);
  for (const name of [logName(5), logName(6)]) store.objects.set(name, rolledBack.objects.get(name) ?? Buffer.alloc(0));
  await expect(repository.sync()).rejects.toMatchObject({ code: 'LOG_DIVERGED' });
});

test('nothing is swept from a table that stands before the ledger', async () => {
  const store = createMemoryStore();
  using one = openSqliteTable(file());
  const { repository } = open(store, one);
  await snapshot(repository, 1);
  await writeCheckpoint(repository);
  await snapshot(repository, 1, 2);
  const objects = new Set(store.objects.keys());
  // Another process starts over on the same cache, from a checkpoint that lacks the second snapshot.
  using other = openSqliteTable(file());
  const checkpoint = await newestCheckpoint(store, KEY);
  if (checkpoint) await loadCheckpoint(store, KEY, checkpoint, other);
  await expect(sweep(repository)).rejects.toMatchObject({ code: 'CONTENTION' });
  expect(new Set(store.objects.keys())).toEqual(objects);
  await repository.sync();
  await sweep(repository);
  expect(await audit(repository)).toEqual([]);
});

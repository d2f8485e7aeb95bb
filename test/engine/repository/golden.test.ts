/** What earlier versions wrote stays readable: each golden repository opens, folds and reads back as it did when written. */
import { createHash, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { SnapshotId } from '../../../src/domain/ids.ts';
import { digestOf } from '../../../src/engine/log/digest.ts';
import { createLog } from '../../../src/engine/log/log.ts';
import { mapRoot, walkMap } from '../../../src/engine/map/walk.ts';
import { audit } from '../../../src/engine/repository/audit.ts';
import { ENTRY_KINDS, entrySchema } from '../../../src/engine/repository/entries.ts';
import { openRepositoryFormat } from '../../../src/engine/repository/format.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { logName } from '../../../src/engine/repository/object-names.ts';
import { packKeyOf } from '../../../src/engine/repository/pack.ts';
import { openRepository, type Repository } from '../../../src/engine/repository/repository.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import type { Table } from '../../../src/engine/repository/table.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { listAll, type ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { within } from '../../../src/ground/stores/within.ts';
import { GOLDEN, GOLDEN_PREFIX, goldenNames, imageOf, plainLedger, type Golden } from './golden.ts';

const random = (): never => {
  throw new Error('reading needs no randomness');
};
const environment = {
  writer: 'test',
  nowMs: () => 0,
  random,
  sleep: async () => undefined,
  alarm: (message: string) => {
    throw new Error(message);
  },
};

/** The store as it would be had no checkpoint been written: the log alone has to do. */
const withoutCheckpoints = (store: ObjectStore): ObjectStore => ({
  ...store,
  list: async (prefix, options) => (prefix.startsWith('checkpoint') ? [] : store.list(prefix, options)),
});

async function hashOf(repository: Repository, id: SnapshotId): Promise<string> {
  const snapshot = repository.ledger().snapshots.get(id);
  if (!snapshot) throw new Error(`${id} is not live`);
  const extents = new Map<number, Buffer>();
  for await (const { level, index, fingerprint } of walkMap(mapRoot(snapshot.root, snapshot.rootLocation), repository.readNode))
    if (level === 0) extents.set(index, await repository.values.readExtent(fingerprint, null));
  return createHash('sha256')
    .update(imageOf(snapshot.sizeBytes, snapshot.extentBytes, extents))
    .digest('hex');
}

const versions = goldenNames();
const goldenOf = (version: string): Golden => JSON.parse(readFileSync(path.join(GOLDEN, `${version}.json`), 'utf8')) as Golden;
const storeOf = (version: string): ObjectStore => within(createFileStore({ root: path.join(GOLDEN, version) }), GOLDEN_PREFIX);

test('there are golden repositories, and together they hold every kind of log entry', async () => {
  expect(versions).toContain('format-1');
  const entries = new Set<string>();
  for (const version of versions) {
    const { key } = await openRepositoryFormat(storeOf(version), goldenOf(version).passphrase);
    const log = createLog({ store: storeOf(version), sealing: key, nameOf: logName, entrySchema, kinds: ENTRY_KINDS, random });
    for (let seq = 1, record = await log.read(1); record !== null; record = await log.read(++seq))
      for (const { kind } of record.entries) entries.add(kind);
  }
  expect([...entries].sort()).toEqual([...ENTRY_KINDS].sort());
});

test('docs/format.md has the entries and, of the golden repository, the keys that code has', async () => {
  const page = readFileSync(path.join(import.meta.dirname, '../../../docs/format.md'), 'utf8');
  for (const kind of ENTRY_KINDS) expect(page).toContain(`\n| \`${kind}\` | `);
  const store = storeOf('format-1');
  const { header, key } = await openRepositoryFormat(store, 'the golden passphrase');
  const record = await store.get(logName(1));
  const [pack] = await store.list('a/00000000000000000001/00000000-a7e77d3d-p');
  if (record === null || pack === undefined) throw new Error('the golden repository lacks an object');
  const recordKey = Buffer.from(hkdfSync('sha256', key.dataKey, record.subarray(8, 40), 'holdfast envelope', 32));
  const rows = [
    ['repository id', header.id],
    ['data key', Buffer.from(key.dataKey).toString('hex')],
    [`key of \`${logName(1)}\``, recordKey.toString('hex')],
    ['its digest', digestOf(record)],
    [`key of \`${pack.name}\``, Buffer.from(packKeyOf(key, pack.name).key).toString('hex')],
  ];
  for (const [what, value] of rows) expect(page).toContain(`\n| ${what} | \`${value}\` |`);
});

describe.each(versions)('the repository of %s', (version) => {
  const golden = goldenOf(version);
  const store = storeOf(version);

  test('holds every kind of object', async () => {
    const names: string[] = [];
    for await (const { name } of listAll(store, '')) names.push(name);
    const kinds = new Set(names.map((name) => name.replace(/^a\/.*-([pc])[0-9a-f]{4}$/, 'a-$1').replace(/\/.*/, '')));
    expect([...kinds].sort()).toEqual(['a-c', 'a-p', 'checkpoint', 'checkpoint-part', 'keys', 'log', 'repository.json']);
  });

  test.each<readonly [string, ObjectStore, () => Table]>([
    ['its checkpoint, table in memory', store, createMemoryTable],
    ['its checkpoint, table in SQLite', store, () => openSqliteTable(':memory:')],
    ['the first record on', withoutCheckpoints(store), createMemoryTable],
  ])('opens, folds and reads back from %s', async (_, from, createTable) => {
    const { key } = await openRepositoryFormat(from, golden.passphrase);
    const repository = openRepository({ store: from, key, table: createTable(), environment });
    expect(plainLedger(await repository.sync())).toEqual(golden.ledger);
    expect(await audit(repository)).toEqual([]);
    const live = [...repository.ledger().snapshots.keys()];
    expect(live).toEqual(Object.keys(golden.images));
    for (const id of live) expect([id, await hashOf(repository, id)]).toEqual([id, golden.images[id]?.sha256]);
  });
});

/** Tables in the catalog: entered, changed, removed; refused where they do not fit; an archive's id is kept as it was first seen. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { storeName } from '../../../src/domain/ids.ts';
import { openCatalog, printableCatalog, type Catalog, type CatalogEntry } from '../../../src/engine/catalog/catalog.ts';
import { findTable, tableDefinition, type TableDefinition } from '../../../src/engine/catalog/tables.ts';
import { createMemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';

const cloud = storeName('cloud');
const store = {
  ...{ name: cloud, url: 'file:///tmp/cloud', endpoint: null, region: null, credentials: null },
  ...{ passphrase: 'env:P', codec: 'zstd-1', bytesPerSecondMax: null },
};
const source = {
  ...{
    brokers: ['127.0.0.1:9092', '[::1]:9093'],
    tls: null,
    topics: ['shop.public.orders*'],
    transactions: 'shop.transaction',
    heartbeats: [],
  },
  sasl: { mechanism: 'scram-sha-512', username: 'reader', password: 'env:KAFKA_PASSWORD' },
};
const raw = {
  ...{ name: 'orders', store: 'cloud', source, retainMs: null },
  ...{ form: { form: 'debezium', placeholder: '__debezium_unavailable_value' }, snapshots: { bytes: 1, changed: 0.5, ageMs: null } },
};
const table: TableDefinition = tableDefinition.parse(raw);

describe('a table in the catalog', () => {
  let catalog: Catalog;
  const append = (entry: CatalogEntry) => catalog.append(() => entry);

  beforeEach(async () => {
    catalog = openCatalog(createMemoryStore(), KEY, environment);
    await append({ kind: 'STORE_ADD', store });
  });

  test('is known by its name, as it is now', async () => {
    await append({ kind: 'TABLE_ADD', table });
    await expect(append({ kind: 'TABLE_ADD', table })).rejects.toMatchObject({ code: 'TABLE_EXISTS' });
    const kept = { ...table, retainMs: 86_400_000 };
    await append({ kind: 'TABLE_SET', table: kept });
    expect(findTable(await catalog.sync(), 'orders')).toEqual(kept);
    expect(printableCatalog(catalog.known()).tables).toEqual([kept]);
    await append({ kind: 'TABLE_REMOVE', name: 'orders' });
    expect(() => findTable(catalog.known(), 'orders')).toThrow(expect.objectContaining({ code: 'TABLE_NOT_FOUND' }));
    for (const entry of [{ kind: 'TABLE_SET', table } as const, { kind: 'TABLE_REMOVE', name: 'orders' } as const])
      await expect(append(entry)).rejects.toMatchObject({ code: 'TABLE_NOT_FOUND' });
  });

  test('keeps its form, and its store for as long as it is there', async () => {
    await expect(append({ kind: 'TABLE_ADD', table: { ...table, store: storeName('none') } })).rejects.toMatchObject({
      code: 'STORE_NOT_FOUND',
    });
    await append({ kind: 'TABLE_ADD', table });
    const plain = { ...table, form: { form: 'plain', key: 'json', time: 'record' } as const };
    await expect(append({ kind: 'TABLE_SET', table: plain })).rejects.toMatchObject({
      code: 'ARGUMENT_INVALID',
      details: { field: 'form' },
    });
    await expect(append({ kind: 'STORE_REMOVE', name: cloud })).rejects.toMatchObject({ code: 'STORE_EXISTS' });
    await append({ kind: 'TABLE_REMOVE', name: 'orders' });
    await append({ kind: 'STORE_REMOVE', name: cloud });
  });

  test('has the archive that was seen first, whatever somebody sees there later', async () => {
    const seen = (id: string) => append({ kind: 'ARCHIVE_SEEN', store: cloud, table: 'orders', id });
    await seen('first');
    await seen('second');
    expect([...catalog.known().archives]).toEqual([['cloud/orders', 'first']]);
  });

  test.each([
    ['a broker without a port', { brokers: ['kafka.example'] }],
    ['no topic', { topics: [] }],
    ['more topics than are bounded', { topics: Array.from({ length: 65 }, (_, i) => `t${i}`) }],
    ['a password that is none of the references', { sasl: { ...source.sasl, password: 'hunter2' } }],
    ['a name of a topic that Kafka does not allow', { topics: ['a/b'] }],
  ])('is not entered with %s', (_, wrong) => {
    expect(tableDefinition.safeParse({ ...raw, source: { ...source, ...wrong } }).success).toBe(false);
  });
});

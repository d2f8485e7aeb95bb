import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { EVENT_OUT_BYTES_MAX } from '../../../src/domain/limits.ts';
import type { CatalogEntry } from '../../../src/engine/catalog/catalog.ts';
import { mapCatalog } from '../../../src/engine/events/catalog-events.ts';
import { messageOfEvent, type CloudEvent } from '../../../src/engine/events/cloud-event.ts';
import { mapRepository } from '../../../src/engine/events/repository-events.ts';
import { eventDataSchemas, eventSchemaDocument } from '../../../src/engine/events/schemas.ts';
import type { StoredRecord } from '../../../src/engine/log/log.ts';
import type { Entry } from '../../../src/engine/repository/entries.ts';

const docs = (name: string): string => readFileSync(path.join(import.meta.dirname, '../../../docs', name), 'utf8');

const record = <E>(seq: number, ...entries: readonly unknown[]): StoredRecord<E> => ({
  ...{ seq, previous: '', writer: 'w', attempt: 'a', timeMs: 1_700_000_000_000 + seq, digest: '' },
  // Entries as a log would have parsed them; only what the mapper looks at.
  entries: entries as E[],
});
const keysOf = (events: readonly CloudEvent[]): readonly string[] => events.map(({ partitionkey }) => partitionkey);

const SNAPSHOT = '01j00000000000000000000000';
const change = { name: 'a/1/c', digest: 'd'.repeat(64) };
const commit = {
  ...{ kind: 'COMMIT', lineage: 'db@1', epoch: 1, snapshot: SNAPSHOT, root: null, rootLocation: null, sizeBytes: 0, extentBytes: 262144 },
  ...{ parent: null, change, takenMs: 1, consistency: 'crash', label: null },
};
const volume = { name: 'db', incarnation: 1, node: 'n', path: '/x', extentBytes: 262144, stores: ['s'], repository: 'db', retired: false };

test('what names only a snapshot is keyed by its lineage, from the first record on or from a checkpoint', () => {
  const origin = { logId: 'f'.repeat(32), store: 'cloud', repository: 'db' };
  const hide = { kind: 'HIDE', snapshot: SNAPSHOT, version: 0, purge: false };
  const reclaim = { kind: 'RECLAIM', epoch: 3, snapshot: SNAPSHOT, previous: null, next: null, change };
  const pin = { kind: 'PIN', pin: 'p', snapshot: SNAPSHOT, untilMs: 1, why: 'restore' };
  const whole = mapRepository(origin, new Map());
  const events = [
    record<Entry>(1, { kind: 'CLAIM', actor: 'db@1', snapshot: SNAPSHOT, owner: 'o', attempt: 1, adopt: false }),
    record<Entry>(2, commit, hide),
    record<Entry>(3, { kind: 'CLAIM', actor: 'gc', snapshot: null, owner: 'o', attempt: 1, adopt: false }, pin, {
      kind: 'UNPIN',
      pin: 'p',
    }),
    record<Entry>(4, reclaim),
  ].flatMap((one) => whole.next(one));
  expect(keysOf(events)).toEqual(['db@1', 'db@1', 'db@1', 'cloud/db', 'cloud/db', 'cloud/db', 'db@1']);
  expect(events[2]).toMatchObject({
    id: `${origin.logId}.2.1`,
    source: '/holdfast/stores/cloud/repositories/db',
    type: 'holdfast.repository.hide',
    subject: 'db@1',
    sequence: '00000000000000000002.01',
    time: new Date(1_700_000_000_002).toISOString(),
    data: { snapshot: SNAPSHOT, version: 0, purge: false },
  });
  const later = mapRepository(origin, new Map([[SNAPSHOT as never, 'db@1' as never]]));
  expect(later.next(record<Entry>(4, reclaim))).toEqual(events.slice(-1));
});

test('a catalog entry is keyed by the life of the volume that it was written in', () => {
  const mapper = mapCatalog('e'.repeat(32));
  const next = (seq: number, ...entries: readonly unknown[]) => keysOf(mapper.next(record<CatalogEntry>(seq, ...entries)));
  expect(next(1, { kind: 'VOLUME_ADD', volume })).toEqual(['db@1']);
  expect(next(2, { kind: 'JOB_BEGIN', id: 'capture.db', job: 'captureSnapshot', input: { volume: 'db' } })).toEqual(['db@1']);
  expect(next(3, { kind: 'VOLUME_RETIRE', name: 'db' }, { kind: 'VOLUME_ADD', volume: { ...volume, incarnation: 2 } })).toEqual([
    'db@1',
    'db@2',
  ]);
  expect(next(4, { kind: 'JOB_END', id: 'capture.db', outcome: 'done', summary: '' })).toEqual(['db@1']);
  expect(next(5, { kind: 'JOB_BEGIN', id: 'c', job: 'collectGarbage', input: { store: 's', repository: 'r' } })).toEqual(['s/r']);
  expect(next(6, { kind: 'JOB_BEGIN', id: 't', job: 'archiveTable', input: { table: 'orders' } })).toEqual(['orders']);
  expect(next(6, { kind: 'JOB_BEGIN', id: 'f', job: 'failover', input: { journal: 'shop', host: 'two' } })).toEqual(['shop']);
  expect(next(6, { kind: 'JOB_BEGIN', id: 'b', job: 'backfillRegion', input: { journal: 'shop', region: 's' } })).toEqual(['shop']);
  expect(next(6, { kind: 'JOB_END', id: 'f', outcome: 'done', summary: '' })).toEqual(['shop']);
  expect(next(7, { kind: 'JOB_END', id: 'unheard', outcome: 'done', summary: '' })).toEqual(['catalog']);
});

test('what is secret or leads to it stays in the catalog', () => {
  const mapper = mapCatalog('e'.repeat(32));
  const SECRET = 'SECRET-REFERENCE';
  const cluster = {
    brokers: ['kafka:9092'],
    tls: { ca: null, client: { cert: `/${SECRET}`, key: `/${SECRET}` } },
    sasl: { mechanism: 'plain', username: 'u', password: `command:${SECRET}` },
  };
  const token = { id: '0'.repeat(16), digest: '1'.repeat(64), store: 's', repository: null, prefix: '', rights: ['add'], quotaBytes: null };
  const store = {
    ...{ name: 's', url: 's3://bucket', endpoint: null, region: null, codec: 'raw', bytesPerSecondMax: null },
    ...{ credentials: { accessKeyIdEnv: SECRET, secretAccessKeyEnv: SECRET }, passphrase: `command:echo ${SECRET}` },
  };
  const receiver = {
    ...{ name: 'r', url: 'https://r', token: `env:${SECRET}`, ca: null, client: { cert: `/${SECRET}`, key: `/${SECRET}` } },
    ...{ seal: { by: 'sender', passphrase: `env:${SECRET}` }, bytesPerSecondMax: null },
  };
  const table = {
    ...{ name: 'orders', store: 's', form: { form: 'debezium', placeholder: '__x' }, retainMs: null },
    ...{ snapshots: { bytes: null, changed: null, ageMs: null } },
    source: { ...cluster, topics: ['t'], transactions: null, heartbeats: [] },
  };
  const input = { table: 'orders', output: { url: 'postgres://x', password: `env:${SECRET}`, nested: [{ apiToken: SECRET }] }, at: 1 };
  const events = mapper.next(
    record<CatalogEntry>(
      1,
      { kind: 'STORE_ADD', store },
      { kind: 'STORE_SET', store },
      { kind: 'RECEIVER_ADD', receiver },
      { kind: 'RECEIVER_SET', receiver },
      { kind: 'TABLE_ADD', table },
      { kind: 'TABLE_SET', table },
      { kind: 'EVENTS_SET', events: { cluster, topic: 't', partitions: 1, generation: 1 } },
      { kind: 'TOKEN_ADD', token: { ...token, retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: '2'.repeat(64) } },
      { kind: 'JOB_BEGIN', id: 'j', job: 'restoreTable', input },
    ),
  );
  expect(events).toHaveLength(9);
  const text = JSON.stringify(events);
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain('1'.repeat(64));
  expect(events.at(-1)?.data).toEqual({
    id: 'j',
    job: 'restoreTable',
    input: { table: 'orders', output: { url: 'postgres://x', nested: [{}] }, at: 1 },
  });
  expect(events[0]?.data).toMatchObject({ store: { name: 's', url: 's3://bucket' } });
});

test('data that no broker would take stays where it is, and the event says where', () => {
  const mapper = mapCatalog('e'.repeat(32));
  const input = { volume: 'db', label: 'x'.repeat(EVENT_OUT_BYTES_MAX) };
  const [event] = mapper.next(record<CatalogEntry>(12, { kind: 'JOB_BEGIN', id: 'j', job: 'captureSnapshot', input }));
  if (event === undefined) throw new Error('no event');
  const { value } = messageOfEvent(event);
  expect(value.length).toBeLessThan(1000);
  expect(JSON.parse(value)).toMatchObject({ id: event.id, dataref: '/holdfast/catalog/log/00000000000000000012#0' });
  expect(JSON.parse(value)).not.toHaveProperty('data');
});

test('docs/events.schema.json is what the events are made by; `holdfast events schemas > docs/events.schema.json` makes it anew', () => {
  expect(JSON.parse(docs('events.schema.json'))).toEqual(JSON.parse(JSON.stringify(eventSchemaDocument())));
});

test('docs/events.md names every type, and no other', () => {
  const page = docs('events.md');
  const said = new Set<string>();
  for (const line of page.split('\n').filter((one) => one.startsWith('| `holdfast.'))) {
    const names = [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
    const prefix = names[0]?.split('.').slice(0, 2).join('.') ?? '';
    for (const name of names) said.add(name.startsWith('.') ? prefix + name : name);
  }
  expect([...said].sort()).toEqual([...eventDataSchemas().keys()].sort());
});

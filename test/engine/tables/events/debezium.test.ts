/** Debezium's documented forms, each with and without a schema, and what they are taken as. */
import { expect, test } from '@jest/globals';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../../src/engine/tables/events/debezium.ts';
import { UNAVAILABLE, type ChangeEvent, type Decoded } from '../../../../src/engine/tables/events/event.ts';
import { createTransactionDecoder } from '../../../../src/engine/tables/events/transactions.ts';
import { envelope, json, KEY_WITH_SCHEMA, mysqlSource, postgresSource, record, withSchema } from './samples.ts';

const decode = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });
const change = (decoded: Decoded): ChangeEvent => {
  if (decoded.kind !== 'change') throw new Error(JSON.stringify(decoded));
  return decoded;
};
const forms = (payload: unknown): string[] => [json(payload), withSchema(payload)];
const rowOf = (decoded: Decoded) => Object.fromEntries(change(decoded).row ?? []);
const PLACE = { kind: 'source', major: 24023119n, minor: 24023128n };

test.each(['c', 'u'])('%s is the row after it, at [last committed, lsn], at the commit and not at the connector time', (op) => {
  for (const text of forms(envelope(op))) {
    const event = change(decode(record(text)));
    expect(event).toMatchObject({ op: 'put', key: '{"id":1}', place: PLACE, stampUs: 1559033904863123, transaction: '555' });
    expect(rowOf(event)).toEqual({ id: '1', first_name: '"Anne"', last_name: '"Kretchmar"', email: '"annek@noanswer.org"' });
  }
});

test('the schema gives the types of the columns, a bare payload none', () => {
  const [bare = '', full = ''] = forms(envelope('c'));
  expect(change(decode(record(bare))).schema).toBeNull();
  expect(change(decode(record(full))).schema?.map((column) => `${column.name}:${column.type}`)).toEqual([
    'id:int32',
    'first_name:string',
    'last_name:string',
    'email:string',
  ]);
});

test('a key is the same with and without its schema, and whatever the order of its members', () => {
  expect(change(decode(record(json(envelope('c')), KEY_WITH_SCHEMA))).key).toBe('{"id":"1"}');
  expect(change(decode(record(json(envelope('c')), '{ "b" : 2, "a" : 1.50 }'))).key).toBe('{"a":1.50,"b":2}');
});

test('d is no row, whatever its before holds', () => {
  for (const text of forms(envelope('d', { before: { id: 1 }, after: null })))
    expect(change(decode(record(text)))).toMatchObject({ op: 'delete', key: '{"id":1}', row: null, place: PLACE, tombstone: false });
});

test('a tombstone is a delete that stands where it stands', () => {
  expect(decode(record(null))).toMatchObject({ op: 'delete', key: '{"id":1}', place: { kind: 'here' }, stampUs: null, tombstone: true });
});

test('a truncate has no key, a message says nothing about rows', () => {
  const truncate = { source: postgresSource, op: 't', ts_ms: 1 };
  for (const text of forms(truncate)) expect(change(decode(record(text, null)))).toMatchObject({ op: 'truncate', key: null, place: PLACE });
  const message = { source: { ...postgresSource, schema: '', table: '' }, op: 'm', message: { prefix: 'foo', content: 'Ymfy' } };
  for (const text of forms(message)) expect(decode(record(text, { prefix: 'foo' }))).toEqual({ kind: 'nothing' });
});

test.each([
  ['r', false, 'here'],
  ['r', 'incremental', 'here'],
  ['r', true, 'initial'],
  ['r', 'true', 'initial'],
  ['r', 'first', 'initial'],
  ['r', 'last', 'initial'],
  ['c', true, 'initial'],
  ['c', 'last_in_data_collection', 'initial'],
  ['c', 'incremental', 'here'],
  ['c', 'false', 'source'],
  ['c', null, 'source'],
])('op %s with snapshot %j stands: %s', (op, snapshot, kind) => {
  for (const text of forms(envelope(op, {}, { ...postgresSource, snapshot }))) expect(change(decode(record(text))).place.kind).toBe(kind);
});

test('positions of PostgreSQL rise with the emission of interleaving transactions; a sequence may be null or missing', () => {
  const at = (sequence: string | undefined, lsn: number | string) =>
    change(decode(record(json(envelope('c', {}, { ...postgresSource, sequence, lsn }))))).place;
  expect(at('[null,"24023128"]', 7)).toEqual({ kind: 'source', major: 7n, minor: 7n });
  expect(at(undefined, '7')).toEqual({ kind: 'source', major: 7n, minor: 7n });
  expect(decode(record(json(envelope('c', {}, { ...postgresSource, lsn: null }))))).toEqual({
    kind: 'quarantined',
    reason: 'POSITION_INVALID',
  });
});

test('a position of MySQL is file, position, row; the transaction is the GTID', () => {
  const gtid = '24DA167-0C0C-11E8-8442-00059A3C7B00:19';
  const event = change(decode(record(json(envelope('u', {}, { ...mysqlSource, gtid, row: 2 })))));
  expect(event.place).toEqual({ kind: 'source', major: (3n << 36n) | 484n, minor: 2n });
  expect(event).toMatchObject({ transaction: gtid, stampUs: 1465491411000000 });
  expect(decode(record(json(envelope('u', {}, { ...mysqlSource, file: 'nonsense' }))))).toMatchObject({ reason: 'POSITION_INVALID' });
});

test('the transaction of a block is its id up to the colon, and numbers may be strings', () => {
  const source = { ...postgresSource, txId: null, ts_us: undefined, ts_ms: '1559033904863' };
  const event = change(
    decode(record(json(envelope('u', { transaction: { id: '571:53195832', total_order: '1', data_collection_order: '1' } }, source)))),
  );
  expect(event).toMatchObject({ transaction: '571', stampUs: 1559033904863000 });
});

test('BEGIN and END of one transaction join though their ids differ', () => {
  const mark = createTransactionDecoder();
  const begin = { status: 'BEGIN', id: '571:53195829', ts_ms: 1486500577125, event_count: null, data_collections: null };
  const end = {
    status: 'END',
    id: '571:53195832',
    ts_ms: 1486500577691,
    event_count: '2',
    data_collections: [
      { data_collection: 's1.a', event_count: 1 },
      { data_collection: 's2.a', event_count: '1' },
    ],
  };
  expect(mark(record(json(begin)))).toMatchObject({ status: 'BEGIN', transaction: '571', events: null });
  expect(mark(record(withSchema(end)))).toMatchObject({
    ...{ status: 'END', transaction: '571', events: 2, stampUs: 1486500577691000, lsn: 53195832n },
  });
  expect(mark(record(json({ ...begin, id: '24DA167-0C0C-11E8-8442-00059A3C7B00:19' })))).toMatchObject({ lsn: null });
  const ended = mark(record(json(end)));
  expect(ended.kind === 'mark' && [...ended.tables]).toEqual([
    ['s1.a', 1],
    ['s2.a', 1],
  ]);
});

test.each([
  ['text', PLACEHOLDER_DEFAULT, PLACEHOLDER_DEFAULT],
  ['base64 of bytes', PLACEHOLDER_DEFAULT, Buffer.from(PLACEHOLDER_DEFAULT).toString('base64')],
  ['an array of it', PLACEHOLDER_DEFAULT, [PLACEHOLDER_DEFAULT]],
  ['hex bytes in base64', 'hex:cafe00', Buffer.from('cafe00', 'hex').toString('base64')],
  ['its own', 'N/A', 'N/A'],
])('a placeholder is no value: %s', (_, placeholder, written) => {
  const decoder = createDebeziumDecoder({ placeholder });
  expect(rowOf(decoder(record(json(envelope('u', { after: { id: 1, note: written } })))))).toEqual({ id: '1', note: UNAVAILABLE });
});

test('a row comes out as it was written: no digit is lost', () => {
  const after =
    '{ "id" : 9007199254740993, "amount":1.10, "big": 0.12345678901234567890, "note":"a\\u00e9\\/ \\" {", "deep" : { "b" : [1, 2.0] , "a":"x y" } }';
  const text = `{"op":"u","after":${after},"source":${json(postgresSource)}}`;
  expect(rowOf(decode(record(text)))).toEqual({
    id: '9007199254740993',
    amount: '1.10',
    big: '0.12345678901234567890',
    note: '"aé/ \\" {"',
    deep: '{"b":[1,2.0],"a":"x y"}',
  });
});

test.each([
  ['NOT_JSON', '{"op":"c"', { id: 1 }],
  ['NOT_JSON', '\u0000', { id: 1 }],
  ['NOT_JSON', '{"schema":{"x":},"payload":{}}', { id: 1 }],
  ['NOT_AN_OBJECT', '[1]', { id: 1 }],
  ['OP_UNKNOWN', json(envelope('z')), { id: 1 }],
  ['OP_UNKNOWN', '{"id":1}', { id: 1 }],
  ['KEY_MISSING', json(envelope('c')), null],
  ['KEY_MISSING', json(envelope('c')), 'null'],
  ['NOT_JSON', json(envelope('c')), 'not json'],
  ['ROW_MISSING', json(envelope('c', { after: null })), { id: 1 }],
  ['SOURCE_MISSING', json({ ...envelope('c'), source: null }), { id: 1 }],
  ['SOURCE_MISSING', json(envelope('c', {}, { connector: 'other' })), { id: 1 }],
  ['STAMP_INVALID', json(envelope('c', {}, { ...postgresSource, ts_us: undefined, ts_ms: null })), { id: 1 }],
  ['STAMP_IN_FUTURE', json(envelope('c', {}, { ...postgresSource, ts_us: 9_000_000_000_000_000 })), { id: 1 }],
  ['TOO_LARGE', json(envelope('c', { after: { id: 'x'.repeat(10 * 1024 * 1024) } })), { id: 1 }],
  ['TOO_WIDE', json(envelope('c', { after: Object.fromEntries(Array.from({ length: 1001 }, (__, i) => [`c${i}`, i])) })), { id: 1 }],
])('%s', (reason, value, key) => {
  expect(decode(record(value, key))).toEqual({ kind: 'quarantined', reason });
});

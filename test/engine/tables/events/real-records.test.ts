/** Records that Debezium really sent (samples/, captured by test/e2e/tables/capture-samples.ts): each is understood, and taken as docs/tables.md says. */
import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../../src/engine/tables/events/debezium.ts';
import { UNAVAILABLE, type ChangeEvent, type Decoded, type TableRecord } from '../../../../src/engine/tables/events/event.ts';
import { createTransactionDecoder } from '../../../../src/engine/tables/events/transactions.ts';

interface Sample extends TableRecord {
  readonly topic: string;
}

const FOLDER = path.join(import.meta.dirname, 'samples');
const read = (file: string): readonly Sample[] =>
  readFileSync(path.join(FOLDER, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { key, value, ...rest } = JSON.parse(line) as {
        topic: string;
        offset: number;
        timeMs: number;
        key: string | null;
        value: string | null;
      };
      return { ...rest, key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value) };
    });

const decode = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });
/** What an event says, in short: op, key, and which columns it leaves open. */
const told = (decoded: Decoded): string => {
  if (decoded.kind !== 'change') return decoded.kind;
  const open = [...(decoded.row ?? [])].filter(([, text]) => text === UNAVAILABLE).map(([name]) => name);
  return [decoded.tombstone ? 'tombstone' : decoded.op, decoded.place.kind, decoded.key, ...open].join(' ');
};
const changes = (records: readonly Sample[]): readonly ChangeEvent[] =>
  records.map(decode).filter((decoded): decoded is ChangeEvent => decoded.kind === 'change');

const EVENTS = [
  'put initial {"id":1}',
  'put initial {"id":2}',
  'put source {"id":1} big photo',
  'put source {"id":3}',
  'delete source {"id":1}',
  'tombstone here {"id":1}',
  'put source {"id":4} big photo',
  'delete source {"id":2}',
  'tombstone here {"id":2}',
  'put source {"id":5}',
  'put source {"id":6}',
  'truncate source ',
];

test.each(readdirSync(FOLDER))('%s: the changes of a table, one by one', (file) => {
  const records = read(file).filter(({ topic }) => topic === 'shop.public.things');
  expect(records.map((record) => told(decode(record)))).toEqual(EVENTS.slice(0, records.length));
  const sourced = changes(records).filter(({ place }) => place.kind === 'source');
  const places = sourced.map(({ place }) => (place.kind === 'source' ? [place.major, place.minor] : []));
  expect(places).toEqual([...places].sort(([a = 0n, b = 0n], [c = 0n, d = 0n]) => (a === c ? Number(b - d) : Number(a - c))));
  expect(sourced.every(({ transaction, stampUs }) => /^[0-9]+$/.test(transaction ?? '') && stampUs !== null)).toBe(true);
});

test('with REPLICA IDENTITY FULL no large value is left open, not even when the key changes', () => {
  const whole = changes(read('debezium-postgres-3.4.0.jsonl').filter(({ topic }) => topic === 'shop.public.whole'));
  expect(whole.map(told)).toEqual(EVENTS.map((event) => event.replace(' big photo', '')));
});

test('a change of keys is a delete and a put at one place', () => {
  const places = changes(read('debezium-postgres-3.4.0.jsonl').filter(({ topic }) => topic === 'shop.public.things'));
  const [old, , fresh] = places.slice(4);
  expect(old?.place).toEqual(fresh?.place);
});

test("each END names the end of its commit, which the next transaction's events name as the last committed", () => {
  const records = read('debezium-postgres-3.4.0.jsonl');
  const mark = createTransactionDecoder();
  const ends = records.filter(({ topic }) => topic === 'shop.transaction').map(mark);
  expect(ends.every(({ kind }) => kind === 'mark')).toBe(true);
  const lsns = new Set(ends.flatMap((end) => (end.kind === 'mark' && end.status === 'END' ? [end.lsn] : [])));
  const events = changes(records.filter(({ topic }) => topic.startsWith('shop.public'))).filter(({ place }) => place.kind === 'source');
  // The first transaction of a connector has none before it, and stands at its own place.
  const majors = events.map(({ place }) => (place.kind === 'source' ? place.major : 0n)).filter((major) => !lsns.has(major));
  expect(majors).toHaveLength(1);
});

test("messages say nothing of rows, and a connector's heartbeat is no event", () => {
  const records = read('debezium-postgres-3.4.0.jsonl');
  expect(records.filter(({ topic }) => topic === 'shop.message').map((record) => told(decode(record)))).toEqual(['nothing']);
  const heartbeat = records.find(({ topic }) => topic.startsWith('__debezium-heartbeat'));
  expect(heartbeat && decode(heartbeat)).toEqual({ kind: 'quarantined', reason: 'OP_UNKNOWN' });
});

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EVENT_IN_BYTES_MAX } from '../../../src/domain/limits.ts';
import type { EventFilter } from '../../../src/engine/catalog/triggers.ts';
import { matches, readIncoming, type IncomingEvent, type IncomingRecord } from '../../../src/engine/events/incoming.ts';

const recordOf = (value: string | Buffer | null, headers: Readonly<Record<string, string>> = {}): IncomingRecord => ({
  ...{ topic: 't', partition: 2, offset: '17', timestampMs: 1000 },
  value: value === null ? null : Buffer.from(value),
  header: (name) => headers[name],
});
const eventOf = (record: IncomingRecord): IncomingEvent => {
  const read = readIncoming(record);
  if ('bad' in read) throw new Error(read.bad);
  return read.event;
};
const badOf = (record: IncomingRecord): string => {
  const read = readIncoming(record);
  if ('event' in read) throw new Error('it can be read');
  return read.bad;
};

const attributes = { specversion: '1.0', id: 'i', source: '/s', type: 'a.b', subject: 'x' };
const JSON_FORM = { 'content-type': 'application/cloudevents+json; charset=UTF-8' };

test('both forms of the binding are one event; JSON without attributes is known by its place', () => {
  const structured = eventOf(recordOf(JSON.stringify({ ...attributes, data: { n: 1 } }), JSON_FORM));
  const headers = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`ce_${name}`, value]));
  expect(eventOf(recordOf('{"n":1}', { ...headers, 'content-type': 'application/json' }))).toEqual(structured);
  // Producers forget the header.
  expect(eventOf(recordOf(JSON.stringify({ ...attributes, data: { n: 1 } })))).toEqual(structured);
  expect(eventOf(recordOf('{"n":1}'))).toMatchObject({ id: 't/2/17', source: 't', type: null, body: { n: 1 } });
  // Without data: an event all the same.
  expect(eventOf(recordOf(null, headers))).toMatchObject({ id: 'i', type: 'a.b' });
});

test('an event is as old as it says, or as its record is', () => {
  const at = (time: string): number => eventOf(recordOf(JSON.stringify({ ...attributes, time }))).timeMs;
  expect(at('1970-01-01T00:00:00.500Z')).toBe(500);
  expect(at('1970-01-01T00:01:00Z')).toBe(1000);
  expect(at('no time')).toBe(1000);
});

test('what cannot be used has a reason', () => {
  expect(badOf(recordOf(null))).toBe('no value');
  expect(badOf(recordOf('{'))).toBe('no JSON');
  expect(badOf(recordOf(Buffer.from([0xff, 0xfe, 0x00])))).toBe('no JSON');
  expect(badOf(recordOf('x'.repeat(EVENT_IN_BYTES_MAX + 1)))).toMatch(/too many/);
  expect(badOf(recordOf('{"id":"i"}', JSON_FORM))).toMatch(/specversion/);
  expect(badOf(recordOf(JSON.stringify({ ...attributes, specversion: '0.3' })))).toMatch(/specversion/);
  expect(badOf(recordOf(JSON.stringify({ ...attributes, id: '' })))).toMatch(/id/);
  expect(badOf(recordOf('{}', { ce_specversion: '1.0' }))).toMatch(/id/);
});

test('any bytes and headers are an event or a reason', () => {
  const anyHeaders = fc.dictionary(
    fc.constantFrom('content-type', 'ce_specversion', 'ce_id', 'ce_source', 'ce_type', 'ce_time'),
    fc.string(),
  );
  const anyValue = fc.oneof(
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(anyValue, anyHeaders, (value, headers) => {
      const read = readIncoming({ ...recordOf(null, headers), value });
      if ('bad' in read) return read.bad.length > 0;
      const { event } = read;
      matches({ type: '*', source: 'a*b', subject: null, fields: [{ path: ['__proto__', 'x'], equals: 1 }] }, event);
      return event.id.length > 0 && event.source.length > 0 && Number.isFinite(event.timeMs);
    }),
  );
});

const all: EventFilter = { type: null, source: null, subject: null, fields: [] };
const event: IncomingEvent = {
  ...{ id: 'i', source: '/s', type: 'com.x.done', subject: null, timeMs: 0 },
  body: { data: { n: 1, ok: true, s: 'y' } },
};

test('all parts of a filter have to fit', () => {
  expect(matches(all, event)).toBe(true);
  expect(matches({ ...all, type: 'com.*' }, event)).toBe(true);
  expect(matches({ ...all, type: 'com.*', source: '/other' }, event)).toBe(false);
  // An attribute that the event has not got fits no pattern.
  expect(matches({ ...all, subject: '*' }, event)).toBe(false);
  const where = (path: string[], equals: string | number | boolean | null) => matches({ ...all, fields: [{ path, equals }] }, event);
  expect(where(['data', 'n'], 1)).toBe(true);
  expect(where(['data', 'n'], '1')).toBe(false);
  expect(where(['data', 'ok'], true)).toBe(true);
  expect(where(['data', 'toString'], null)).toBe(false);
  expect(where(['data', 'missing'], null)).toBe(false);
});

test('a pattern with stars fits what the same regular expression does', () => {
  const piece = fc.stringMatching(/^[ab*.]{0,8}$/);
  fc.assert(
    fc.property(
      piece.filter((text) => text.length > 0),
      fc.stringMatching(/^[ab.]{0,12}$/),
      (pattern, type) => {
        const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
        return matches({ ...all, type: pattern }, { ...event, type }) === expression.test(type);
      },
    ),
    { numRuns: 2000 },
  );
});

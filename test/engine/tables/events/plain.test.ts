/** Plain keyed JSON: which key, which time, and that an empty value deletes. */
import { expect, test } from '@jest/globals';
import { createPlainDecoder, type PlainSettings } from '../../../../src/engine/tables/events/plain.ts';
import { record } from './samples.ts';

const T = Date.parse('2026-01-02T03:04:05.678Z');
const decode = (settings: PlainSettings, value: unknown, key: unknown = { id: 1 }) => createPlainDecoder(settings)(record(value, key, T));

test('the value is the row, the broker time the stamp', () => {
  expect(decode({ key: 'json', time: 'record' }, { id: 1, name: 'x' })).toMatchObject({
    op: 'put',
    key: '{"id":1}',
    place: { kind: 'time' },
    stampUs: T * 1000,
    row: new Map([
      ['id', '1'],
      ['name', '"x"'],
    ]),
  });
});

test('an empty value deletes', () => {
  expect(decode({ key: 'json', time: { field: 'at', unit: 'ms' } }, null)).toMatchObject({
    op: 'delete',
    key: '{"id":1}',
    stampUs: T * 1000,
  });
  expect(decode({ key: 'text', time: 'record' }, '')).toMatchObject({ op: 'delete' });
});

test('keys: JSON, text, fields of the value', () => {
  expect(decode({ key: 'text', time: 'record' }, {}, 'user 7')).toMatchObject({ key: '"user 7"' });
  expect(decode({ key: ['b', 'a'], time: 'record' }, { a: 1, b: 'x', c: 2 }, null)).toMatchObject({ key: '{"a":1,"b":"x"}' });
  expect(decode({ key: ['b'], time: 'record' }, { a: 1 }, null)).toEqual({ kind: 'quarantined', reason: 'KEY_MISSING' });
  expect(decode({ key: 'json', time: 'record' }, {}, 'user 7')).toEqual({ kind: 'quarantined', reason: 'NOT_JSON' });
  expect(decode({ key: 'json', time: 'record' }, {}, null)).toEqual({ kind: 'quarantined', reason: 'KEY_MISSING' });
});

test.each([
  ['ms', T, T * 1000],
  ['ms', String(T), T * 1000],
  ['us', T * 1000 + 9, T * 1000 + 9],
  ['iso', '2026-01-02T03:04:05.678901Z', T * 1000 + 901],
  ['iso', '2026-01-02T05:04:05.6+02:00', T * 1000 - 78_000],
  ['iso', '2026-01-02T03:04:05Z', T * 1000 - 678_000],
] as const)('a time in %s: %s', (unit, at, stampUs) => {
  expect(decode({ key: 'json', time: { field: 'at', unit } }, { at })).toMatchObject({ stampUs });
});

test.each([
  ['iso', 'yesterday', 'STAMP_INVALID'],
  ['iso', '2026-13-45T99:99:99Z', 'STAMP_INVALID'],
  ['ms', null, 'STAMP_INVALID'],
  ['ms', -5, 'STAMP_INVALID'],
  ['ms', T + 2 * 24 * 3600 * 1000, 'STAMP_IN_FUTURE'],
] as const)('a time in %s that is none: %s', (unit, at, reason) => {
  expect(decode({ key: 'json', time: { field: 'at', unit } }, { at })).toEqual({ kind: 'quarantined', reason });
});

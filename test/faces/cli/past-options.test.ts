import { expect, test } from '@jest/globals';
import { parsePastPosition, parsePastTime, outputOf } from '../../../src/faces/cli/past-options.ts';
import { formatMicros, parseMicros } from '../../../src/domain/micros.ts';
import { positionOf, positionText } from '../../../src/engine/tables/events/position.ts';

test.each([
  ['2026-03-01T14:32:07.123456Z', 1_772_375_527_123_456],
  ['2026-03-01T14:32:07Z', 1_772_375_527_000_000],
  ['2026-03-01T16:32:07.1+02:00', 1_772_375_527_100_000],
  ['1970-01-01T00:00:00.000001Z', 1],
])('%s is a moment to the microsecond', (text, us) => {
  expect(parseMicros(text)).toBe(us);
  expect(parseMicros(formatMicros(us))).toBe(us);
});

test.each(['2026-03-01', '2026-03-01T14:32:07', '2026-13-01T00:00:00Z', '2026-03-01T14:32:07.1234567Z', '1969-12-31T23:59:59Z', ''])(
  '%j is none',
  (text) => expect(parseMicros(text)).toBeNull(),
);

test('so long ago is by the clock of this machine', () => {
  const parse = parsePastTime('--at', () => 1_000_000);
  expect(parse('5m')).toEqual({ kind: 'time', us: 700_000_000 });
  expect(parse('30s ago')).toEqual({ kind: 'time', us: 970_000_000 });
  expect(parse('latest')).toEqual({ kind: 'latest' });
  expect(() => parse('-5m')).toThrow();
});

test('a position in the words of its source', () => {
  const said = (major: bigint, minor: bigint) => ({ kind: 'position', position: positionText(positionOf(major, minor)!) });
  expect(parsePastPosition('0/16E3A58, 1/16E3B00')).toEqual(said(0x16e3a58n, 0x1_016e_3b00n));
  expect(parsePastPosition('24023119,24023128')).toEqual(said(24_023_119n, 24_023_128n));
  expect(parsePastPosition('mysql-bin.000003:484')).toEqual(said((3n << 36n) | 484n, 0n));
  expect(parsePastPosition('00000000000401000000000004020000')).toEqual({ kind: 'position', position: '00000000000401000000000004020000' });
  for (const text of ['0/16E3A58', '1,2,3', 'x', 'binlog:4', '99999999999999999999,1']) expect(() => parsePastPosition(text)).toThrow();
});

test('targets: files by their ending, topics, PostgreSQL', () => {
  const options = { partitions: 3 };
  expect(outputOf('t', { ...options, to: '/x/a.parquet' })).toEqual({ kind: 'file', path: '/x/a.parquet', format: 'parquet' });
  expect(outputOf('t', { ...options, to: '/x/a.dat', format: 'csv' })).toMatchObject({ format: 'csv' });
  expect(outputOf('t', { ...options, to: 'topic:a' })).toEqual({ kind: 'topic', topic: 'a', partitions: 3, replicas: null, cluster: null });
  expect(outputOf('t', { ...options, to: 'postgres://me@[::1]:5433/shop', ca: '/ca.pem', password: 'env:P' })).toEqual({
    ...{ kind: 'postgres', table: 't' },
    server: { host: '::1', port: 5433, database: 'shop', user: 'me', password: 'env:P', tls: { ca: '/ca.pem' } },
  });
  expect(outputOf('t', { ...options, to: 'postgresql://me@db', sqlTable: 'a.b' })).toMatchObject({
    ...{ table: 'a.b', server: { port: 5432, database: 'me', password: null, tls: null } },
  });
});

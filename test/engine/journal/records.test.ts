/** Rows of records: one form for given records, and nothing else is read. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeRows, encodeGroup, recordsOf, ROW_BYTES, type JournalRecord, type RowOrder } from '../../../src/engine/journal/records.ts';
import { someRecords } from './generated-records.ts';

const order = fc.constantFrom<RowOrder>('number', 'place');

test('what is encoded is decoded, in either order', () => {
  fc.assert(
    fc.property(someRecords, order, ([first, records], by) => {
      const { rows, data, dataBytes } = encodeGroup(first, records, by);
      const decoded = decodeRows(rows, first, dataBytes, by);
      expect('rows' in decoded && recordsOf(decoded.rows, Buffer.concat(data))).toEqual(records);
    }),
  );
});

test('rows that are changed are refused, or are the one form of other records', () => {
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(someRecords, order, edits, ([first, records], by, some) => {
      const { rows, data, dataBytes } = encodeGroup(first, records, by);
      fc.pre(rows.length > 0);
      for (const [at, value] of some) rows[at % rows.length] = value;
      const decoded = decodeRows(rows, first, dataBytes, by);
      if ('fault' in decoded) return;
      expect(encodeGroup(first, recordsOf(decoded.rows, Buffer.concat(data)), by).rows).toEqual(rows);
    }),
    { numRuns: 1000 },
  );
});

test('rows by place ascend by volume, offset and number; flushes come last', () => {
  const write = (seq: number, volume: number, offset: number): JournalRecord => ({
    kind: 'write',
    seq,
    volume,
    offset,
    data: Buffer.of(seq),
  });
  const { rows } = encodeGroup(1, [{ kind: 'flush', seq: 1 }, write(2, 1, 0), write(3, 0, 512), write(4, 0, 0), write(5, 0, 512)], 'place');
  const numbers = Array.from({ length: 5 }, (_, i) => 1 + rows.readUInt32BE(i * ROW_BYTES + 4));
  expect(numbers).toEqual([4, 3, 5, 2, 1]);
});

test('a record that does not follow, or that no row holds, is a mistake of the caller', () => {
  const wrong: JournalRecord[] = [
    { kind: 'flush', seq: 2 },
    { kind: 'write', seq: 1, volume: 0, offset: 0, data: Buffer.alloc(0) },
    { kind: 'write', seq: 1, volume: 0, offset: 0, data: Buffer.alloc(4 * 1024 * 1024 + 1) },
    { kind: 'write', seq: 1, volume: 65_535, offset: 0, data: Buffer.alloc(1) },
    { kind: 'zero', seq: 1, volume: 0, offset: 2 ** 53 - 1, length: 1 },
    { kind: 'zero', seq: 1, volume: 0, offset: 0, length: 2 ** 32 },
  ];
  for (const record of wrong) expect(() => encodeGroup(1, [record], 'number')).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
});

/** Batches and seals: what is formed is read, and whatever else lies in a place is refused by name (J14). */
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { formBatch, lastOf, NO_DIGEST, readBatch, readBatchHead, type BatchNotes } from '../../../src/engine/journal/batch.ts';
import { batchName, parseBatchName } from '../../../src/engine/journal/object-names.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { formSeal, readSeal } from '../../../src/engine/journal/seal.ts';
import { FRAME_BYTES, headEnd, sealObject } from '../../../src/engine/journal/sealed-object.ts';
import { someRecords } from './generated-records.ts';

const KEY = { dataKey: Buffer.alloc(32, 7), repositoryId: Buffer.alloc(16, 1) };
const OTHER_JOURNAL = { dataKey: Buffer.alloc(32, 8), repositoryId: Buffer.alloc(16, 2) };
const PLACE = { epoch: 3, index: 5 };
const NAME = batchName(PLACE.epoch, PLACE.index);

const notesOf = (first: number, over: Partial<BatchNotes> = {}): BatchNotes => ({
  ...PLACE,
  first,
  before: Buffer.alloc(32, 9),
  acknowledged: first - 1,
  acknowledgedBatches: 4,
  labelUs: 1_700_000_000_000_000,
  fold: Buffer.alloc(0),
  ...over,
});

const form = (first: number, records: readonly JournalRecord[], over: Partial<BatchNotes> = {}, key = KEY, level: number | null = 1) =>
  formBatch(key, notesOf(first, over), records, { level, salt: randomBytes(32) });

/** How a batch is refused, as `CODE why`; `read` when it is not. */
function refusal(stored: Buffer, place = PLACE, key = KEY): string {
  try {
    readBatch(key, place, NAME, stored);
    return 'read';
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED', 'BATCH_FOREIGN', 'UPGRADE_REQUIRED')) throw error;
    return `${error.code} ${String(error.details['why'] ?? '')}`.trim();
  }
}

const SAMPLE: JournalRecord[] = [
  { kind: 'write', seq: 11, volume: 1, offset: 4096, data: Buffer.alloc(600, 1) },
  { kind: 'write', seq: 12, volume: 0, offset: 512, data: Buffer.from('some bytes') },
  { kind: 'zero', seq: 13, volume: 1, offset: 0, length: 4096 },
  { kind: 'flush', seq: 14 },
];

test('what is formed is read: records, notes and digest, packed or raw', () => {
  fc.assert(
    fc.property(someRecords, fc.constantFrom(null, 1), fc.uint8Array({ maxLength: 40 }), ([first, records], level, fold) => {
      const { stored, after } = form(first, records, { fold: Buffer.from(fold) }, KEY, level);
      const batch = readBatch(KEY, PLACE, NAME, stored);
      expect(batch).toMatchObject({ ...notesOf(first), fold: Buffer.from(fold), count: records.length, after });
      expect(batch?.records).toEqual(records);
    }),
  );
});

test('the head is read from the first bytes alone, and ends where the frame says', () => {
  const { stored, after } = form(11, SAMPLE);
  const end = headEnd(stored) ?? 0;
  expect(end).toBeLessThan(stored.length);
  const head = readBatchHead(KEY, PLACE, NAME, stored.subarray(0, end));
  expect(head).toMatchObject({ first: 11, count: 4, after });
  expect(lastOf(head ?? { first: 0, count: 0 })).toBe(14);
  expect(() => readBatchHead(KEY, PLACE, NAME, stored.subarray(0, end - 1))).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  expect(headEnd(stored.subarray(0, FRAME_BYTES - 1))).toBeNull();
});

test('the digest is a function of place, records and the digest before, not of the salt, the codec or what was acknowledged', () => {
  const { after } = form(11, SAMPLE);
  expect(form(11, SAMPLE, { acknowledged: 2, labelUs: 7 }, KEY, null).after).toEqual(after);
  const others = [
    form(11, SAMPLE, { before: NO_DIGEST }),
    form(11, SAMPLE, { index: 6 }),
    form(11, SAMPLE, { epoch: 4 }),
    form(11, SAMPLE.slice(0, 3)),
  ];
  for (const other of others) expect(other.after).not.toEqual(after);
});

test('any bit flipped anywhere: never read, never another error', () => {
  const { stored } = form(11, SAMPLE);
  for (let bit = 0; bit < stored.length * 8; bit++) {
    const flipped = Buffer.from(stored);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    expect(refusal(flipped)).toMatch(/^DAMAGED (sealed|truncated|length|form)$/);
  }
});

test('cut short at any byte, or longer', () => {
  const { stored } = form(11, SAMPLE);
  for (let length = 0; length < stored.length; length++) expect(refusal(stored.subarray(0, length))).toBe('DAMAGED truncated');
  expect(refusal(Buffer.concat([stored, Buffer.alloc(1)]))).toBe('DAMAGED length');
});

test('any bytes changed at once: refused, and never another error', () => {
  const { stored } = form(11, SAMPLE);
  const edits = fc.array(fc.tuple(fc.nat(stored.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(edits, (some) => {
      const changed = Buffer.from(stored);
      for (const [at, value] of some) changed[at] = value;
      fc.pre(!changed.equals(stored));
      expect(refusal(changed)).not.toBe('read');
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) =>
      expect(refusal(Buffer.concat([Buffer.from('HFJ1'), noise]))).not.toBe('read'),
    ),
  );
});

test('of another journal, of another epoch, of another index: refused as that', () => {
  expect(refusal(form(11, SAMPLE, {}, OTHER_JOURNAL).stored)).toBe('BATCH_FOREIGN journal');
  expect(refusal(form(11, SAMPLE, { epoch: 2 }).stored)).toBe('BATCH_FOREIGN place');
  expect(refusal(form(11, SAMPLE, { index: 6 }).stored)).toBe('BATCH_FOREIGN place');
  // Of another place, by a frame that does not open there either.
  const twice = Buffer.from(form(11, SAMPLE).stored);
  for (const at of [39, FRAME_BYTES]) twice.writeUInt8(twice.readUInt8(at) ^ 1, at);
  expect(refusal(twice)).toBe('DAMAGED sealed');
  // The same id and another key: nobody can tell it from damage.
  expect(refusal(form(11, SAMPLE, {}, { ...KEY, dataKey: Buffer.alloc(32, 8) }).stored)).toBe('DAMAGED sealed');
});

test('what a newer version wrote is told from damage', () => {
  const { stored } = form(11, SAMPLE);
  const sealedAs = (over: object) =>
    sealObject(KEY, { ...PLACE, kind: 'batch', codec: 0, head: Buffer.alloc(140), body: Buffer.alloc(0), ...over }, randomBytes(32));
  expect(refusal(Buffer.concat([Buffer.from('HFJ2'), randomBytes(200)]))).toBe('UPGRADE_REQUIRED');
  const featured = Buffer.concat([stored.subarray(0, 6), Buffer.from([0, 1]), stored.subarray(8, 60), randomBytes(stored.length - 60)]);
  expect(refusal(featured)).toBe('UPGRADE_REQUIRED');
  // Sealed, so it opens, and its digest is not that of its rows.
  expect(refusal(sealedAs({}))).toBe('DAMAGED form');
  expect(() => readBatchHead(KEY, PLACE, NAME, sealedAs({}))).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  const head = Buffer.alloc(164);
  head.writeUInt32BE(1, 8);
  head.writeUInt8(9, 142);
  expect(refusal(sealedAs({ head }))).toBe('UPGRADE_REQUIRED');
});

test('a seal is told from a batch, and says who put it', () => {
  const seal = { by: 'host 7', timeMs: 5 };
  const stored = formSeal(KEY, PLACE, seal, randomBytes(32));
  expect(readSeal(KEY, PLACE, NAME, stored)).toEqual(seal);
  expect(readBatch(KEY, PLACE, NAME, stored)).toBeNull();
  expect(readBatchHead(KEY, PLACE, NAME, stored)).toBeNull();
  expect(readSeal(KEY, PLACE, NAME, form(11, SAMPLE).stored)).toBeNull();
  expect(() => readSeal(KEY, PLACE, NAME, stored.subarray(0, -1))).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  expect(() => readSeal(KEY, { ...PLACE, index: 6 }, NAME, stored)).toThrow(expect.objectContaining({ code: 'BATCH_FOREIGN' }));
});

test('two objects that race for one name never share a key: their salts differ', () => {
  const [one, other] = [form(11, SAMPLE).stored, form(11, SAMPLE).stored];
  expect(one.subarray(FRAME_BYTES).equals(other.subarray(FRAME_BYTES))).toBe(false);
});

test('names: batches, copies, and nothing else', () => {
  expect(parseBatchName(NAME)).toEqual({ copy: false, ...PLACE });
  expect(parseBatchName(NAME.replace('e/', 'b/'))).toEqual({ copy: true, ...PLACE });
  for (const other of ['', 'e/3/5', `${NAME}0`, `x${NAME}`, NAME.replace('e/', 'c/')]) expect(parseBatchName(other)).toBeNull();
});

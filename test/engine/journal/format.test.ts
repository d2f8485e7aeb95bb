/** Batches and segments read by docs/journal.md alone: offsets, keys and digests as the page says them, none of the project's readers. */
import { createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { blake3 } from '@napi-rs/blake-hash';
import { expect, test } from '@jest/globals';
import { formBatch } from '../../../src/engine/journal/batch.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { WriteAhead } from '../../../src/engine/journal/write-ahead/write-ahead.ts';

const DATA_KEY = Buffer.alloc(32, 7);
const JOURNAL = Buffer.alloc(16, 1);
const BEFORE = Buffer.alloc(32, 9);
const LONG = Buffer.alloc(5000, 'a');
const RECORDS: JournalRecord[] = [
  { kind: 'write', seq: 11, volume: 1, offset: 4096, data: LONG },
  { kind: 'write', seq: 12, volume: 0, offset: 512, data: Buffer.from('bytes') },
  { kind: 'zero', seq: 13, volume: 1, offset: 0, length: 4096 },
  { kind: 'flush', seq: 14 },
];

function openSection(stored: Buffer, section: number, from: number, length: number): Buffer {
  const key = Buffer.from(
    hkdfSync('sha256', DATA_KEY, stored.subarray(48, 80), Buffer.concat([Buffer.from('holdfast journal'), stored.subarray(0, 40)]), 32),
  );
  const nonce = Buffer.alloc(12);
  nonce[11] = section;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(stored.subarray(0, 48));
  decipher.setAuthTag(stored.subarray(from + length - 16, from + length));
  return Buffer.concat([decipher.update(stored.subarray(from, from + length - 16)), decipher.final()]);
}

const rowAt = (bytes: Buffer, at: number): number[] => [
  bytes.readUInt16BE(at),
  bytes[at + 2] ?? 0,
  bytes[at + 3] ?? 0,
  bytes.readUInt32BE(at + 4),
  Number(bytes.readBigUInt64BE(at + 8)),
  bytes.readUInt32BE(at + 16),
  bytes.readUInt32BE(at + 20),
];

const WRITE_1 = [1, 1, 0, 0, 4096, 5000, 0];
const WRITE_2 = [0, 1, 0, 1, 512, 5, 5000];
const ZERO = [1, 2, 0, 2, 0, 4096, 0];
const FLUSH = [65_535, 3, 0, 3, 0, 0, 0];

test('a batch, as section 4 has it', () => {
  const notes = {
    epoch: 3,
    index: 5,
    first: 11,
    before: BEFORE,
    acknowledged: 10,
    acknowledgedBatches: 4,
    labelUs: 77,
    fold: Buffer.from('{}'),
  };
  const { stored, after } = formBatch({ dataKey: DATA_KEY, repositoryId: JOURNAL }, notes, RECORDS, { level: 1, salt: randomBytes(32) });
  expect(stored.toString('latin1', 0, 4)).toBe('HFJ1');
  expect([...stored.subarray(4, 8)]).toEqual([1, 1, 0, 0]);
  expect(stored.subarray(8, 24)).toEqual(JOURNAL);
  expect([stored.readBigUInt64BE(24), stored.readBigUInt64BE(32)]).toEqual([3n, 5n]);
  const [headBytes, bodyBytes] = [stored.readUInt32BE(40), stored.readUInt32BE(44)];
  expect(stored.length).toBe(80 + headBytes + bodyBytes);
  const head = openSection(stored, 0, 80, headBytes);
  const data = zstdDecompressSync(openSection(stored, 1, 80 + headBytes, bodyBytes));
  expect(data).toEqual(Buffer.concat([LONG, Buffer.from('bytes')]));
  expect([head.readBigUInt64BE(0), head.readUInt32BE(8), head.readUInt32BE(12)]).toEqual([11n, 4, 5005]);
  expect(head.subarray(16, 48)).toEqual(BEFORE);
  expect(head.subarray(80, 112)).toEqual(blake3(data));
  expect([112, 120, 128].map((at) => head.readBigUInt64BE(at))).toEqual([10n, 4n, 77n]);
  expect([0, 1, 2, 3].map((i) => rowAt(head, 140 + i * 24))).toEqual([WRITE_2, ZERO, WRITE_1, FLUSH]);
  expect(head.toString('utf8', 140 + 4 * 24)).toBe('{}');
  expect(head.readUInt32BE(136)).toBe(2);
  const numbers = Buffer.concat([stored.subarray(24, 40), head.subarray(0, 12)]);
  const digest = blake3(Buffer.concat([Buffer.from('holdfast batch'), BEFORE, numbers, head.subarray(140, 236), blake3(data)]));
  expect([digest, head.subarray(48, 80)]).toEqual([after, after]);
});

test('a segment of the write-ahead file, as section 6 has it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-format-'));
  await (async () => {
    await using file = await WriteAhead.open({ folder, journalId: JOURNAL, next: 11, random: randomBytes });
    await file.append(RECORDS);
    await file.sync();
  })();
  expect(await readdir(folder)).toEqual(['00000000000000000001.wal']);
  const bytes = await readFile(join(folder, '00000000000000000001.wal'));
  await rm(folder, { recursive: true });
  expect(bytes.toString('latin1', 0, 8)).toBe('HFW1\0\0\0\0');
  expect(bytes.subarray(8, 24)).toEqual(JOURNAL);
  expect([bytes.readBigUInt64BE(40), bytes.readBigUInt64BE(48)]).toEqual([1n, 11n]);
  expect(bytes.subarray(56, 88)).toEqual(Buffer.alloc(32));
  const begin = blake3(Buffer.concat([Buffer.from('holdfast wal'), bytes.subarray(0, 88)]));
  expect(bytes.subarray(88, 120)).toEqual(begin);
  const body = bytes.subarray(160);
  expect([bytes.readUInt32BE(120), bytes.readUInt32BE(124)]).toEqual([body.length, 4]);
  expect(bytes.subarray(128, 160)).toEqual(blake3(Buffer.concat([Buffer.from('holdfast wal'), begin, bytes.subarray(120, 128), body])));
  expect([0, 1, 2, 3].map((i) => rowAt(body, i * 24))).toEqual([WRITE_1, WRITE_2, ZERO, FLUSH]);
  expect(body.subarray(96)).toEqual(Buffer.concat([LONG, Buffer.from('bytes')]));
});

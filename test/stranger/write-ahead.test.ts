/**
 * A stranger's reader of a write-ahead file: docs/journal.md, section 6, is enough to have its records. What it takes, and what it names, is what
 * the product's own reading does, after whatever harm.
 */
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { blake3 } from '@napi-rs/blake-hash';
import { readWriteAhead } from '../../src/engine/journal/write-ahead/reading.ts';
import { WriteAhead } from '../../src/engine/journal/write-ahead/write-ahead.ts';
import type { JournalRecord } from '../../src/engine/journal/records.ts';
import { createRandom } from '../simulation/random.ts';
import { describeWithBlake3, writeAheadPy } from './python.ts';

const { describe, python } = await describeWithBlake3();

const JOURNAL = Buffer.alloc(16, 1);
const SEGMENT_BYTES = 600;
const HARMS = 40;
const random = createRandom(5);
let folder: string;
let file: string;

const recordOf = (seq: number): JournalRecord => {
  const kind = random.pick(['write', 'write', 'zero', 'flush', 'gap'] as const);
  if (kind === 'write')
    return { kind, seq, volume: random.below(3), offset: random.below(2 ** 40), data: random.bytes(random.between(1, 90)) };
  if (kind === 'zero') return { kind, seq, volume: random.below(3), offset: random.below(2 ** 40), length: random.between(1, 2 ** 31) };
  return { kind, seq };
};

/** One life of the file; in the end it gives up its oldest segments, which are used again. */
async function live(groups: number): Promise<void> {
  await using wal = await WriteAhead.open({ folder: file, journalId: JOURNAL, next: 1, random: randomBytes, segmentBytes: SEGMENT_BYTES });
  for (let i = 0; i < groups; i++) {
    const first = wal.next;
    await wal.append(Array.from({ length: random.between(1, 5) }, (_, k) => recordOf(first + k)));
    await wal.sync();
  }
  await wal.freeBelow(wal.next - 30);
}

const digestOf = (data: Uint8Array): string => Buffer.from(blake3(Buffer.from(data))).toString('hex');

const segmentsOf = (at: string): string[] => readdirSync(at).filter((name) => name.endsWith('.wal')).sort(); // prettier-ignore

interface Read {
  readonly records: readonly string[];
  readonly unsound: readonly string[];
}

async function ours(at: string): Promise<Read> {
  const contents = await readWriteAhead(at, JOURNAL);
  const records: string[] = [];
  for await (const record of contents.records(0)) {
    const { seq, kind } = record;
    if (record.kind === 'write')
      records.push([seq, kind, record.volume, record.offset, record.data.length, digestOf(record.data)].join('\t'));
    else if (record.kind === 'zero') records.push([seq, kind, record.volume, record.offset, record.length].join('\t'));
    else records.push([seq, kind].join('\t'));
  }
  return { records, unsound: contents.unsound.map((one) => path.basename(one)).sort() };
}

async function theirs(at: string): Promise<Read> {
  const { status, stdout, stderr } = await writeAheadPy(python, at);
  const named = /refused: a synced part of the file is damaged: (.*) is no segment/.exec(stderr)?.[1]?.split(', ').sort() ?? [];
  expect({ status, stderr }).toMatchObject({ status: named.length > 0 ? 1 : 0 });
  const records = stdout.split('\n').filter((line) => line !== '');
  return { records, unsound: named };
}

describe('a stranger with a write-ahead file', () => {
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-stranger-wal-'));
    file = path.join(folder, 'life');
    for (let life = 0; life < 3; life++) await live(12);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('has every record, over segments that were used before', async () => {
    const should = await ours(file);
    expect(should.unsound).toEqual([]);
    expect(should.records.length).toBeGreaterThan(20);
    expect(segmentsOf(file).length).toBeGreaterThan(2);
    expect(await theirs(file)).toEqual(should);
  });

  /** A copy in which one more record was written, in a segment of its own. */
  async function goOn(from: string, name: string): Promise<{ readonly at: string; readonly segment: string }> {
    const at = path.join(folder, name);
    cpSync(from, at, { recursive: true });
    {
      await using wal = await WriteAhead.open({ folder: at, journalId: JOURNAL, next: 1, random: randomBytes });
      await wal.append([{ kind: 'flush', seq: wal.next }]);
      await wal.sync();
    }
    return { at, segment: segmentsOf(at).at(-1) ?? '' };
  }

  test('a segment that goes on at an earlier frame drops what lies behind that; one that goes on nowhere is named', async () => {
    const full = await goOn(file, 'full');
    const torn = path.join(folder, 'torn');
    cpSync(full.at, torn, { recursive: true });
    truncateSync(path.join(torn, full.segment), 120);
    const later = await goOn(torn, 'later');
    cpSync(path.join(full.at, full.segment), path.join(later.at, full.segment));
    const dropped = await ours(later.at);
    expect(dropped).toEqual({ records: (await ours(full.at)).records, unsound: [] });
    expect(await theirs(later.at)).toEqual(dropped);
    // The same number, another digest.
    const other = await goOn(file, 'other');
    expect(other.segment).toBe(full.segment);
    const next = await goOn(full.at, 'next');
    cpSync(path.join(next.at, next.segment), path.join(other.at, next.segment));
    const named = await ours(other.at);
    expect(named.unsound).toEqual([next.segment]);
    expect(await theirs(other.at)).toEqual(named);
  });

  test('after any harm it takes, and names, what the product does', async () => {
    const whole = (await ours(file)).records.length;
    let shorter = 0;
    let named = 0;
    for (let run = 0; run < HARMS; run++) {
      const at = path.join(folder, `harmed-${run}`);
      cpSync(file, at, { recursive: true });
      const segment = path.join(at, random.pick(segmentsOf(at)));
      const harm = random.pick(['flip', 'header', 'cut', 'remove', 'aside'] as const);
      const place = harm === 'header' ? random.below(120) : random.below(statSync(segment).size);
      if (harm === 'cut') truncateSync(segment, place);
      else if (harm === 'remove') rmSync(segment);
      else if (harm === 'aside') renameSync(segment, `${segment}.unsound`);
      else {
        const bytes = readFileSync(segment);
        bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << random.below(8)), place);
        writeFileSync(segment, bytes);
      }
      const should = await ours(at);
      expect({ run, harm, place, ...(await theirs(at)) }).toEqual({ run, harm, place, ...should });
      if (should.records.length < whole) shorter++;
      if (should.unsound.length > 0) named++;
    }
    expect(shorter).toBeGreaterThan(0);
    expect(named).toBeGreaterThan(0);
  }, 120_000);
});

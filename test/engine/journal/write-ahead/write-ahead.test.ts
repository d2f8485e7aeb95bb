/** The write-ahead file: what was confirmed comes back, in order, and nothing that was not appended there (J15). */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SPARE_SEGMENTS_MAX } from '../../../../src/domain/limits.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { readWriteAhead, type WriteAheadContents } from '../../../../src/engine/journal/write-ahead/reading.ts';
import { FRAME_HEAD_BYTES, HEADER_BYTES } from '../../../../src/engine/journal/write-ahead/segment.ts';
import type { SegmentFiles } from '../../../../src/engine/journal/write-ahead/segment-files.ts';
import { WriteAhead, type WriteAheadOptions } from '../../../../src/engine/journal/write-ahead/write-ahead.ts';
import { seededRandom } from '../../../../src/ground/stores/faulty.ts';
import { recordsFrom } from '../generated-records.ts';
import { createTornDisk } from './torn-disk.ts';

const JOURNAL = Buffer.alloc(16, 1);
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-wal-'));
});
afterAll(() => rm(root, { recursive: true }));

let folders = 0;
const newFolder = (): string => join(root, String(folders++));
const openIn = (folder: string, over: Partial<WriteAheadOptions> = {}): Promise<WriteAhead> =>
  WriteAhead.open({ folder, journalId: JOURNAL, next: 1, random: randomBytes, ...over });

async function allOf(contents: WriteAheadContents, from = 0): Promise<JournalRecord[]> {
  const records: JournalRecord[] = [];
  for await (const record of contents.records(from)) records.push(record);
  return records;
}

const write = (seq: number, text = `record ${seq}`): JournalRecord => ({
  kind: 'write',
  seq,
  volume: 0,
  offset: seq * 512,
  data: Buffer.from(text),
});

/** Appends groups of these sizes, each with a sync of its own. */
async function appendGroups(file: WriteAhead, ...sizes: readonly number[]): Promise<JournalRecord[]> {
  const all: JournalRecord[] = [];
  for (const size of sizes) {
    const group = Array.from({ length: size }, (_, i) => write(file.next + i));
    await file.append(group);
    await file.sync();
    all.push(...group);
  }
  return all;
}

const segmentsOf = async (folder: string): Promise<string[]> => (await readdir(folder)).sort().map((name) => join(folder, name));

test('what was synced comes back after each reopening, from any number on, over many segments', async () => {
  const folder = newFolder();
  const all: JournalRecord[] = [];
  for (let life = 0; life < 3; life++) {
    await using file = await openIn(folder, { segmentBytes: 400 });
    expect(await allOf(file.contents)).toEqual(all);
    all.push(...(await appendGroups(file, 1, 3, 2, 4)));
  }
  const contents = await readWriteAhead(folder, JOURNAL);
  expect(contents).toMatchObject({ next: all.length + 1, unsound: [], unfinished: [] });
  expect(contents.segments.length).toBeGreaterThan(4);
  for (let from = 0; from <= all.length + 2; from++) expect(await allOf(contents, from)).toEqual(all.filter(({ seq }) => seq >= from));
});

test('records of every kind come back as they were appended', async () => {
  await fc.assert(
    fc.asyncProperty(recordsFrom(1, { minLength: 1, maxLength: 30 }), async (records) => {
      const folder = newFolder();
      await using file = await openIn(folder);
      await file.append(records);
      await file.sync();
      expect(await allOf(await readWriteAhead(folder, JOURNAL))).toEqual(records);
    }),
    { numRuns: 15 },
  );
});

test('cut at any byte: the frames that are whole come back, and nothing else', async () => {
  const folder = newFolder();
  const sizes = [2, 1, 3];
  const all = await (async () => {
    await using file = await openIn(folder);
    return await appendGroups(file, ...sizes);
  })();
  const [whole] = await segmentsOf(folder);
  const bytes = await readFile(whole ?? '');
  const ends: number[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; ends.push(at)) at += FRAME_HEAD_BYTES + bytes.readUInt32BE(at);
  const cutFolder = newFolder();
  await openIn(cutFolder).then((file) => file[Symbol.asyncDispose]());
  const cutFile = join(cutFolder, basename(whole ?? ''));
  await copyFile(whole ?? '', cutFile);
  for (let length = bytes.length; length >= 0; length--) {
    await truncate(cutFile, length);
    const contents = await readWriteAhead(cutFolder, JOURNAL);
    const frames = ends.filter((end) => end <= length).length;
    expect(await allOf(contents)).toEqual(
      all.slice(
        0,
        sizes.slice(0, frames).reduce((sum, size) => sum + size, 0),
      ),
    );
    expect(contents.unsound).toEqual([]);
    expect(contents.unfinished).toHaveLength(length < HEADER_BYTES ? 1 : 0);
  }
});

test('a frame that was left behind stays behind, even when it becomes whole again', async () => {
  const folder = newFolder();
  await (async () => {
    await using file = await openIn(folder);
    await appendGroups(file, 1, 1, 1);
  })();
  const [first = ''] = await segmentsOf(folder);
  const whole = await readFile(first);
  const second = HEADER_BYTES + FRAME_HEAD_BYTES + whole.readUInt32BE(HEADER_BYTES);
  const torn = Buffer.from(whole);
  torn.fill(0, second, second + 60);
  await writeFile(first, torn);
  await (async () => {
    await using file = await openIn(folder);
    expect(await allOf(file.contents)).toEqual([write(1)]);
    await file.append([write(2, 'another life')]);
    await file.sync();
  })();
  for (const bytes of [torn, whole]) {
    await writeFile(first, bytes);
    expect(await allOf(await readWriteAhead(folder, JOURNAL))).toEqual([write(1), write(2, 'another life')]);
  }
});

test('a synced part that is damaged: what is before it comes back, what is behind it is set aside and reported', async () => {
  const folder = newFolder();
  await (async () => {
    await using file = await openIn(folder, { segmentBytes: 200 });
    await appendGroups(file, 1, 1, 1, 1, 1, 1);
  })();
  const segments = await segmentsOf(folder);
  const bytes = await readFile(segments[1] ?? '');
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  await writeFile(segments[1] ?? '', bytes);
  const before = await allOf(await readWriteAhead(folder, JOURNAL));
  expect(before.length).toBeGreaterThan(0);
  expect(before).toEqual([1, 2, 3, 4, 5, 6].slice(0, before.length).map((seq) => write(seq)));
  await (async () => {
    await using file = await openIn(folder);
    expect(file.contents.unsound).toEqual(segments.slice(2));
    expect(await readdir(folder)).toEqual(expect.arrayContaining(segments.slice(2).map((path) => `${basename(path)}.unsound`)));
    await file.append([write(file.next, 'after the damage')]);
    await file.sync();
    // What was set aside must never become the beginning.
    await file.freeBelow(file.next);
  })();
  const contents = await readWriteAhead(folder, JOURNAL);
  expect(await allOf(contents)).toEqual([write(before.length + 1, 'after the damage')]);
  // It is told for as long as nobody has taken it away.
  expect(contents.unsound).toEqual(segments.slice(2).map((path) => `${path}.unsound`));
});

test('a segment of another journal, or of a newer version, is refused by name', async () => {
  const folder = newFolder();
  await (await openIn(folder, { journalId: Buffer.alloc(16, 2) }))[Symbol.asyncDispose]();
  await expect(openIn(folder)).rejects.toMatchObject({ code: 'BATCH_FOREIGN' });
  const [path = ''] = await segmentsOf(folder);
  await writeFile(path, Buffer.concat([Buffer.from('HFW2'), randomBytes(200)]));
  await expect(openIn(folder)).rejects.toMatchObject({ code: 'UPGRADE_REQUIRED' });
});

test('a sync is answered after the disk, and what arrives meanwhile shares the next one', async () => {
  using disk = createTornDisk();
  let release: (() => void) | undefined;
  const create: SegmentFiles['create'] = async (path) => {
    const file = await disk.files.create(path);
    return {
      ...file,
      write: async (bytes, at) => {
        if (disk.syncs > 0) await new Promise<void>((go) => (release = go));
        await file.write(bytes, at);
      },
    };
  };
  await using file = await openIn(newFolder(), { files: { ...disk.files, create } });
  const answered: number[] = [];
  const appendAndSync = async (seq: number): Promise<void> => {
    await file.append([write(seq)]);
    await file.sync();
    answered.push(seq);
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const all = [appendAndSync(1)];
  await turn();
  for (let seq = 2; seq <= 50; seq++) all.push(appendAndSync(seq));
  await turn();
  expect(answered).toEqual([]);
  release?.();
  await turn();
  expect(answered).toEqual([1]);
  release?.();
  await Promise.all(all);
  expect(answered).toHaveLength(50);
  // The header, the first group, and all the others.
  expect(disk.syncs).toBe(3);
});

test('after a sync that failed nothing is taken, and reopening tells what is there', async () => {
  const folder = newFolder();
  using disk = createTornDisk();
  const file = await openIn(folder, { files: disk.files });
  await appendGroups(file, 2);
  disk.failSync(1);
  await file.append([write(3)]);
  const [one, other] = [file.sync(), file.sync()];
  await expect(one).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  await expect(other).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  await expect(file.append([write(4)])).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  await expect(file.sync()).rejects.toMatchObject({ code: 'WRITE_AHEAD_FAILED' });
  expect(file.durable).toBe(3);
  disk.crash(() => 0);
  expect(await allOf(await readWriteAhead(folder, JOURNAL))).toEqual([write(1), write(2)]);
});

test('segments are freed when all of their records may go, never the current one', async () => {
  const folder = newFolder();
  await using file = await openIn(folder, { segmentBytes: 200 });
  const all = await appendGroups(file, 1, 1, 1, 1, 1, 1);
  for (let seq = 1; seq <= 7; seq++) {
    await file.freeBelow(seq);
    const left = await allOf(await readWriteAhead(folder, JOURNAL));
    expect(left).toEqual(all.slice(all.length - left.length));
    expect(left[0]?.seq ?? 7).toBeLessThanOrEqual(seq);
  }
  expect((await segmentsOf(folder)).filter((path) => path.endsWith('.wal'))).toHaveLength(1);
  expect((await readWriteAhead(folder, JOURNAL)).next).toBe(7);
});

test('after it is closed nothing in its folder changes, whatever was being freed', async () => {
  const folder = newFolder();
  using disk = createTornDisk();
  const { remove, rename } = disk.files;
  const slowly =
    <Args extends readonly unknown[]>(change: (...args: Args) => Promise<void>) =>
    async (...args: Args): Promise<void> => {
      await sleep(20);
      await change(...args);
    };
  const file = await openIn(folder, { segmentBytes: 200, files: { ...disk.files, remove: slowly(remove), rename: slowly(rename) } });
  await appendGroups(file, 1, 1, 1, 1, 1, 1);
  const freed = file.freeBelow(7);
  await file[Symbol.asyncDispose]();
  const left = await readdir(folder);
  await freed;
  expect(await readdir(folder)).toEqual(left);
});

test('what is freed is written over, behind a header of its own: nothing that it held ever comes back', async () => {
  const folder = newFolder();
  // Of a record each, all of one length: the old frames lie exactly where new ones would.
  const record = (seq: number): JournalRecord => write(seq, String(seq).padStart(40, '.'));
  const inodes = async (): Promise<Set<number>> =>
    new Set(await Promise.all((await segmentsOf(folder)).map(async (path) => (await stat(path)).ino)));
  let last = 0;
  const seen = new Set<number>();
  for (let life = 0; life < 4; life++) {
    await using file = await openIn(folder, { segmentBytes: 400 });
    expect(file.contents.unsound).toEqual([]);
    expect((await allOf(file.contents)).at(-1)?.seq ?? 0).toBe(last);
    for (let i = 0; i < 25; i++) {
      await file.append([record(++last)]);
      await file.sync();
      expect((await allOf(await readWriteAhead(folder, JOURNAL))).at(-1)).toEqual(record(last));
      await file.freeBelow(last);
      for (const inode of await inodes()) seen.add(inode);
    }
    expect((await segmentsOf(folder)).filter((path) => path.endsWith('.spare')).length).toBeLessThanOrEqual(SPARE_SEGMENTS_MAX);
  }
  // A hundred records in thirty segments, and few files.
  expect(seen.size).toBeLessThan(SPARE_SEGMENTS_MAX + 12);
});

test('a spare is not a segment, whatever it holds', async () => {
  const folder = newFolder();
  await (async () => {
    await using file = await openIn(folder);
    await appendGroups(file, 1, 1);
  })();
  const [first = ''] = await segmentsOf(folder);
  await copyFile(first, first.replace(/[0-9]{20}\.wal$/, '00000000000000000009.spare'));
  await writeFile(first.replace(/[0-9]{20}\.wal$/, '00000000000000000008.spare'), randomBytes(300));
  await using file = await openIn(folder, { segmentBytes: 300 });
  expect(file.contents).toMatchObject({ next: 3, unsound: [], unfinished: [] });
  await appendGroups(file, 1, 1, 1, 1, 1, 1);
  expect(await allOf(await readWriteAhead(folder, JOURNAL))).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((seq) => write(seq)));
});

test('what is read again is synced before anything of it counts: it may be in the page cache alone', async () => {
  const folder = newFolder();
  for (let life = 0; life < 2; life++) {
    await using file = await openIn(folder);
    await appendGroups(file, 1);
  }
  const synced: string[] = [];
  await using file = await openIn(folder, { syncFile: async (path) => void synced.push(path) });
  expect(synced).toHaveLength(2);
  expect(synced).toEqual(file.contents.segments.map(({ path }) => path));
  const failing = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
  await expect(openIn(folder, { syncFile: failing })).rejects.toMatchObject({ code: 'EIO' });
});

test('a record out of order, or that no frame holds, is a mistake of the caller and harms nothing', async () => {
  await using file = await openIn(newFolder());
  await expect(
    file.append([{ ...write(1), kind: 'write', data: Buffer.alloc(9 * 1024 * 1024), volume: 0, offset: 0 }]),
  ).rejects.toMatchObject({
    code: 'INTERNAL',
  });
  await appendGroups(file, 1);
  await expect(file.append([write(3)])).rejects.toMatchObject({ code: 'INTERNAL' });
  await appendGroups(file, 1);
});

test('lives that end at any moment: what comes back is a beginning of what was appended, with all that was confirmed', async () => {
  const seeds =
    process.env['HOLDFAST_SEED'] === undefined ? Array.from({ length: 60 }, (_, i) => i + 1) : [Number(process.env['HOLDFAST_SEED'])];
  let reused = 0;
  for (const seed of seeds) {
    const random = seededRandom(seed);
    const upTo = (n: number): number => Math.floor(random() * (n + 1));
    const folder = newFolder();
    /** What may come back; the first `confirmed` of it must. */
    let appended: JournalRecord[] = [];
    let confirmed = 0;
    let freed = 1;
    for (let life = 0; life < 6; life++) {
      using disk = createTornDisk();
      const file = await openIn(folder, { files: disk.files, segmentBytes: 200 + upTo(400) });
      const found = (await allOf(file.contents)).filter(({ seq }) => seq >= freed);
      const context = `HOLDFAST_SEED=${seed}, life ${life}`;
      expect([context, found]).toEqual([context, appended.slice(freed - 1, freed - 1 + found.length)]);
      expect([context, file.next > confirmed, file.contents.unsound]).toEqual([context, true, []]);
      appended = appended.slice(0, file.next - 1);
      confirmed = appended.length;
      if (random() < 0.3) disk.failSync(1 + upTo(5));
      const waiting: Promise<void>[] = [];
      for (let step = upTo(12); step > 0; step--) {
        const group = Array.from({ length: 1 + upTo(3) }, (_, i) => write(file.next + i, `${life}:${random()}`));
        const through = file.next - 1 + group.length;
        try {
          await file.append(group);
          appended.push(...group);
        } catch {
          break;
        }
        const synced = file.sync().then(
          () => void (confirmed = Math.max(confirmed, through)),
          () => undefined,
        );
        if (random() < 0.5) await synced;
        else waiting.push(synced);
        if (random() < 0.2) await file.freeBelow((freed = Math.max(freed, 1 + upTo(confirmed))));
      }
      if (random() < 0.5) await Promise.all(waiting);
      disk.crash(random);
      await Promise.all(waiting);
      await file[Symbol.asyncDispose]();
      reused += disk.reused;
    }
  }
  // Most of what was written in those lives lay over what was written before.
  expect(reused).toBeGreaterThan(seeds.length > 1 ? 20 : -1);
}, 120_000);

/**
 * A stranger's reader of a journal: docs/journal.md, docs/format.md, a passphrase and the folders are enough to list its points and to have a
 * volume back as of one, with no code of ours.
 *
 * The journal is written by ours; what it should hold is told by a history that was kept beside, and by the product's own listing.
 */
import { randomBytes } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { formBatch } from '../../src/engine/journal/batch.ts';
import { collectRegion } from '../../src/engine/journal/keeping/collecting.ts';
import { listPoints, type PointPage } from '../../src/engine/journal/reading/points.ts';
import { readingOf } from '../../src/engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../src/engine/journal/records.ts';
import { formSeal } from '../../src/engine/journal/seal.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { recoverTo } from '../../src/systems/protection/recover.ts';
import { flip } from '../flip.ts';
import { createRandom } from '../simulation/random.ts';
import { basesIn, JOURNAL, JournalStage, openIn, PASSPHRASE, REGIONS, SIZES, type RegionName } from './journal-stage.ts';
import { describeWithPython, journalPy, type Outcome } from './python.ts';

const { describe, python } = await describeWithPython();

let folder: string;
let stage: JournalStage;
let threads: Threads;
let serial = 0;
/** Numbers of the epochs. */
let opens: readonly number[] = [];
/** How many places are harmed by chance. */
const HARMS = 24;
const OTHER = { dataKey: Buffer.alloc(32, 3), repositoryId: Buffer.alloc(16, 4) };

interface Point {
  readonly epoch: number;
  readonly seq: number;
}

interface CallOptions {
  readonly at?: string;
  readonly regions?: readonly string[];
  readonly log?: boolean;
  readonly passphrase?: string;
}

const call = (command: readonly string[], options: CallOptions = {}): Promise<Outcome> => {
  const { at = stage.folder, regions = REGIONS, log = true, passphrase = PASSPHRASE } = options;
  const places = new Map(regions.map((region) => [region, path.join(at, region)]));
  return journalPy(python, { journal: JOURNAL, log: log ? path.join(at, 'log') : null, regions: places, passphrase, command });
};

const rowsOf = ({ stdout }: Outcome): string[][] => stdout.split('\n').filter((line) => line !== '').map((line) => line.split('\t')); // prettier-ignore

/** Points by the product, and by the stranger, in one form. */
const ours = ({ points }: PointPage): string[] =>
  points.map(({ epoch, seq, labelUs }) => `${epoch} ${seq} ${new Date(Math.floor(labelUs / 1000)).toISOString().slice(0, -1)}`);
const theirs = (outcome: Outcome): string[] => rowsOf(outcome).map(([epoch, seq, at]) => `${epoch} ${seq} ${at?.slice(0, 23)}`);

const pointsOf = async (at = stage.folder): Promise<PointPage> => listPoints(readingOf(await openIn(at)));

interface Had {
  readonly outcome: Outcome;
  /** Null: there is no file. */
  readonly bytes: Buffer | null;
}

async function have({ epoch, seq }: Point, volume: number, options: CallOptions = {}): Promise<Had> {
  const out = path.join(folder, `had-${++serial}.img`);
  const size = ['--size', String(SIZES[volume])];
  const outcome = await call(['recover', String(epoch), String(seq), String(volume), out, ...size], options);
  expect(existsSync(`${out}.partial`)).toBe(false);
  const bytes = existsSync(out) ? readFileSync(out) : null;
  rmSync(out, { force: true });
  return { outcome, bytes };
}

/** A volume had by the stranger is what history says, to the byte. */
async function requireHad(point: Point, volume: number, options: CallOptions = {}): Promise<string> {
  const { outcome, bytes } = await have(point, volume, options);
  if (outcome.status !== 0) throw new Error(`point ${point.seq} was not had: ${outcome.stderr}`);
  const should = stage.contentAt(point.seq, volume);
  if (bytes === null || !bytes.equals(should))
    throw new Error(`volume ${volume} at ${point.seq} differs at ${should.findIndex((byte, i) => bytes?.[i] !== byte)}`);
  return outcome.stderr;
}

/** A copy of the stores to do harm to. */
function harmed(harm: (at: string) => void): string {
  const at = path.join(folder, `harmed-${++serial}`);
  cpSync(stage.folder, at, { recursive: true });
  harm(at);
  return at;
}

const objectOf = (at: string, region: RegionName, { epoch, index }: Place): string =>
  path.join(at, region, 'journals', JOURNAL, 'e', String(epoch).padStart(20, '0'), String(index).padStart(12, '0'));

/** Where a batch is flipped, so that another part of it is harmed each time. */
const PARTS = [
  ['frame', 30],
  ['head', 100],
  ['body', -1],
] as const;

const newest = ({ points }: PointPage): Point => points.at(-1) ?? { epoch: 0, seq: 0 };

interface Place {
  readonly epoch: number;
  readonly index: number;
}

/** The second batch of an epoch that has a body: neither at its beginning nor one that only acknowledges. */
function batchWithBody(epoch: number): Place {
  const isWithBody = (index: number): boolean => readFileSync(objectOf(stage.folder, 'a', { epoch, index })).readUInt32BE(44) > 16;
  for (let index = 0, found = 0; ; index++) if (isWithBody(index) && ++found === 2) return { epoch, index };
}

/** Nothing is left in the packs of one region's bases. */
function harmBases(copy: string): void {
  const packs = path.join(copy, 'a', 'repositories', `journal.${JOURNAL}`, 'a');
  for (const entry of readdirSync(packs, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (entry.isFile() && /-p[0-9a-f]{4}$/.test(entry.name)) writeFileSync(file, Buffer.alloc(statSync(file).size));
  }
}

interface Added {
  readonly records: readonly JournalRecord[];
  readonly acknowledged: number;
}

/** Where an epoch ends, and who puts sound batches behind it, in both regions, over the seals that are there. */
async function endOf(epoch: number): Promise<{ readonly seq: number; putAfter(copy: string, added: readonly Added[]): void }> {
  const { key, log } = await openIn(stage.folder);
  const end = (await log.sync()).epochs.get(epoch)?.end ?? null;
  if (end === null) throw new Error(`epoch ${epoch} has no end`);
  return {
    seq: end.seq,
    putAfter(copy, added) {
      let [index, first, before] = [end.index + 1, end.seq + 1, new Uint8Array(Buffer.from(end.digest, 'hex'))];
      for (const { records, acknowledged } of added) {
        const notes = { epoch, index, first, before, acknowledged, acknowledgedBatches: 0, labelUs: 2 ** 52, fold: Buffer.alloc(0) };
        const { stored, after } = formBatch(key, notes, records, { level: null, salt: randomBytes(32) });
        for (const region of REGIONS) writeFileSync(objectOf(copy, region, { epoch, index }), stored);
        [index, first, before] = [index + 1, first + records.length, new Uint8Array(after)];
      }
    },
  };
}

const writeAndFlush = (seq: number): JournalRecord[] => [
  { kind: 'write', seq, volume: 0, offset: 0, data: Buffer.from('of nobody') },
  { kind: 'flush', seq: seq + 1 },
];

/** The log as it was before the OPEN that ended an epoch. */
function cutLog(copy: string, epoch: number): void {
  const log = path.join(copy, 'log', 'journals', JOURNAL, 'log');
  const next = Math.min(...opens.filter((one) => one > epoch));
  for (const name of readdirSync(log)) if (Number(name) >= next) rmSync(path.join(log, name));
}

describe('a stranger with the page of the journal', () => {
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-stranger-journal-'));
    threads = new Threads({ count: 1 });
    stage = new JournalStage(path.join(folder, 'stores'), threads);
    await stage.make();
    opens = [...(await (await openIn(stage.folder)).log.sync()).epochs.keys()];
  }, 120_000);
  afterAll(async () => {
    await threads[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  test('reads the log: epochs with their ends, bases, pins, the floor', async () => {
    const state = await (await openIn(stage.folder)).log.sync();
    const outcome = await call(['log']);
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    const rows = rowsOf(outcome);
    const said = [...state.epochs.values()].map(({ epoch, mode, start, end, full, owner }) => [
      ...['epoch', String(epoch), mode, 'a,b', String(start), end === null ? 'open' : `${end.index}:${end.seq}`],
      ...[[...full].join(','), owner],
    ]);
    expect(rows.filter(([kind]) => kind === 'epoch')).toEqual(said);
    expect(said.length).toBe(3);
    expect(rows.filter(([kind]) => kind === 'base').map((row) => row.slice(1, 5))).toEqual(
      [...state.bases].flatMap(([region, bases]) =>
        bases.map(({ at, from, to }) => [region, `${at.epoch}:${at.index}`, String(from), String(to)]),
      ),
    );
    expect(rows.at(-1)).toEqual(['floor', '0']);
  });

  test('lists the points that the product lists, with the log or without, from all regions or one', async () => {
    const should = ours(await pointsOf());
    expect(should.length).toBeGreaterThan(15);
    for (const options of [{}, { log: false }, { regions: ['a'] }, { regions: ['b'] }, { regions: ['b'], log: false }]) {
      const outcome = await call(['points'], options);
      expect({ options, stderr: outcome.stderr, points: theirs(outcome) }).toEqual({ options, stderr: '', points: should });
    }
  });

  test('has both volumes back as of every point, as history has them, and never another record', async () => {
    const { points } = await pointsOf();
    const from = new Set<string>();
    for (const [i, point] of points.entries()) from.add((await requireHad(point, i % 2)).replace(/ and [0-9]+ batches\n$/, ''));
    // The empty volume, and the bases of both regions.
    expect(from.size).toBeGreaterThanOrEqual(3);
    for (const volume of [0, 1]) await requireHad(newest(await pointsOf()), volume);
  }, 240_000);

  test('has what the product recovers', async () => {
    const { points } = await pointsOf();
    const bases = await basesIn(stage.folder, threads);
    for (const point of [points[1], points[7], points.at(-1)]) {
      if (point === undefined) throw new Error('there are too few points');
      const paths = SIZES.map((_, volume) => path.join(folder, `ours-${++serial}-${volume}.img`));
      const targets = new Map(paths.map((file, volume) => [volume, { path: file, sizeBytes: SIZES[volume] ?? 0 }]));
      await recoverTo({
        ...{ reading: readingOf(await openIn(stage.folder)), bases, point, targets, threads },
        pin: `p${serial}`,
        pinMs: 60_000,
      });
      for (const [volume, file] of paths.entries()) expect((await have(point, volume)).bytes?.equals(readFileSync(file))).toBe(true);
    }
  }, 120_000);

  test('a passphrase that is wrong opens nothing; a point that is none is refused, and a file that is there is left', async () => {
    const wrong = await call(['points'], { passphrase: 'wrong' });
    expect(wrong).toEqual({ status: 1, stdout: '', stderr: 'refused: wrong passphrase: it does not open this repository\n' });
    const { epoch, seq } = newest(await pointsOf());
    const { outcome, bytes } = await have({ epoch, seq: seq + 1 }, 0);
    expect(outcome).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`newest sound point before it is epoch ${epoch}, number ${seq}`),
    });
    expect(bytes).toBeNull();
    const out = path.join(folder, 'not-made.img');
    const [first] = (await pointsOf()).points;
    const cases = [
      { point: { epoch, seq }, size: ['--size', '1000'], why: 'and not 1000' },
      // No base leads to it.
      { point: first, size: [], why: 'give --size' },
    ];
    for (const { point, size, why } of cases)
      expect(await call(['recover', String(point?.epoch), String(point?.seq), '0', out, ...size])).toMatchObject({
        status: 1,
        stderr: expect.stringContaining(why),
      });
    expect(existsSync(out)).toBe(false);
    const there = path.join(folder, 'there');
    writeFileSync(there, 'kept');
    expect(await call(['recover', '1', '1', '0', there])).toMatchObject({ status: 1, stderr: expect.stringContaining('exists') });
    expect(readFileSync(there, 'utf8')).toBe('kept');
  });

  test.each(REGIONS)(
    'region %s destroyed: everything comes from the other one',
    async (region) => {
      const at = harmed((copy) => {
        rmSync(path.join(copy, region), { recursive: true });
      });
      expect(theirs(await call(['points'], { at }))).toEqual(ours(await pointsOf()));
      for (const point of (await pointsOf()).points.filter((_, i) => i % 4 === 0)) await requireHad(point, 0, { at });
    },
    120_000,
  );

  test.each(PARTS)('a flipped bit in the %s of a batch of one region: told, and taken from the other', async (_, where) => {
    const place = batchWithBody(1);
    const at = harmed((copy) => flip(objectOf(copy, 'a', place), where));
    const point = (await pointsOf()).points.findLast(({ epoch }) => epoch === 1);
    if (point === undefined) throw new Error('epoch 1 has no points');
    expect(await requireHad(point, 0, { at })).toContain(
      `passed over: batch ${place.index} of epoch 1 in ${objectOf(at, 'a', place)} does not open`,
    );
    expect(theirs(await call(['points'], { at }))).toEqual(ours(await pointsOf()));
  });

  test.each(PARTS)(
    'flipped in the %s in both regions: points are lost up to the next base, by name, and no wrong byte is given',
    async (part, where) => {
      const place = batchWithBody(1);
      const at = harmed((copy) => {
        for (const region of REGIONS) flip(objectOf(copy, region, place), where);
      });
      const { points, holes } = await pointsOf(at);
      const listed = await call(['points'], { at });
      expect(theirs(listed)).toEqual(ours(await pointsOf(at)));
      // A head that is harmed is a hole in the list; a body shows when it is used.
      const whole = (await pointsOf()).points;
      expect(points.length < whole.length).toBe(part !== 'body');
      const named = `batch ${place.index} of epoch 1 cannot be had`;
      if (part !== 'body') expect(listed.stderr).toContain(`hole: sound up to number ${holes[0]?.afterSeq}: ${named}`);
      const lost = whole.findLast(({ epoch }) => epoch === 1);
      if (lost === undefined) throw new Error('epoch 1 has no points');
      const { outcome, bytes } = await have(lost, 0, { at });
      expect(bytes).toBeNull();
      expect(outcome).toMatchObject({ status: 1, stderr: expect.stringMatching(new RegExp(`\nrefused: .*${named}`)) });
      const sound = /the newest sound point before it is epoch ([0-9]+), number ([0-9]+)\n$/.exec(outcome.stderr);
      const point = whole.findIndex(({ epoch, seq }) => epoch === Number(sound?.[1]) && seq === Number(sound?.[2]));
      const [nearest, next] = [whole[point], whole[point + 1]];
      if (nearest === undefined || next === undefined) throw new Error(`no sound point is named: ${outcome.stderr}`);
      await requireHad(nearest, 0, { at });
      expect((await have(next, 0, { at })).bytes).toBeNull();
      await requireHad(newest(await pointsOf()), 0, { at });
    },
  );

  test('a batch of the open epoch that is lost everywhere is no end: what follows says that it was acknowledged', async () => {
    const { epoch } = newest(await pointsOf());
    const at = harmed((copy) => {
      for (const region of REGIONS) rmSync(objectOf(copy, region, { epoch, index: 1 }));
    });
    const listed = await call(['points'], { at });
    expect({ listed: theirs(listed), stderr: listed.stderr }).toEqual({
      listed: ours(await pointsOf(at)),
      stderr: expect.stringMatching(new RegExp(`hole: .*batch 1 of epoch ${epoch} is in none of the regions a, b\\n$`)),
    });
  });

  test('a batch that lies in a region which is not given: the region is named', async () => {
    const at = harmed((copy) => rmSync(objectOf(copy, 'a', { epoch: 1, index: 1 })));
    const { stderr } = await call(['points'], { at, regions: ['a'] });
    expect(stderr).toMatch(/^hole: .*batch 1 of epoch 1 is in none of the regions a; not asked: region b\n$/);
  });

  test('copies below b/ are as good, of closed epochs alone', async () => {
    const { epoch } = newest(await pointsOf());
    const at = harmed((copy) => {
      for (const place of [batchWithBody(1), batchWithBody(2), batchWithBody(epoch)]) {
        const [a, b] = REGIONS.map((region) => objectOf(copy, region, place));
        if (a === undefined || b === undefined) throw new Error('there are two regions');
        const below = a.replace('/e/', '/b/');
        mkdirSync(path.dirname(below), { recursive: true });
        renameSync(a, below);
        rmSync(b);
      }
    });
    const listed = await call(['points'], { at });
    const should = ours(await pointsOf(at));
    expect({ listed: theirs(listed), stderr: listed.stderr }).toEqual({
      listed: should,
      stderr: expect.stringMatching(
        new RegExp(`^hole: sound up to number [0-9]+: .*batch [0-9]+ of epoch ${epoch} is in none of the regions a, b\\n$`),
      ),
    });
    for (const one of [1, 2])
      await requireHad((await pointsOf()).points.findLast((point) => point.epoch === one) ?? { epoch: 0, seq: 0 }, 1, { at });
  });

  test('without the log the state is what the batches carry: bases, too', async () => {
    const { epoch } = newest(await pointsOf());
    for (const one of [1, 2, epoch]) {
      const point = (await pointsOf()).points.findLast((candidate) => candidate.epoch === one);
      if (point === undefined) throw new Error(`epoch ${one} has no points`);
      const told = await requireHad(point, 0, { log: false });
      // That of region b came after the last OPEN.
      expect(told).toContain(one === 1 ? 'the empty volume' : 'of region a');
    }
  });

  test('order was lost: the flushes behind a gap are no points', async () => {
    const { seq } = newest(await pointsOf());
    const numbers = stage.numbersOf('gap');
    expect(numbers.length).toBe(1);
    expect(stage.numbersOf('flush').filter((flush) => flush > (numbers[0] ?? Infinity)).length).toBeGreaterThan(0);
    expect(seq).toBeLessThan(numbers[0] ?? 0);
  });

  test('one flip, cut or removal anywhere, in one region or all: refused, or the right bytes, never wrong ones', async () => {
    const point = (await pointsOf()).points.findLast(({ epoch }) => epoch === 2) ?? { epoch: 0, seq: 0 };
    const random = createRandom(11);
    let refused = 0;
    const objects = readdirSync(stage.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /journals|repositories/.test(entry.parentPath))
      .map((entry) => path.relative(stage.folder, path.join(entry.parentPath, entry.name)));
    for (let run = 0; run < HARMS; run++) {
      const object = random.pick(objects);
      const harm = random.pick(['flip', 'cut', 'remove'] as const);
      const isBoth = random.chance(0.6) && /^[ab]\/journals/.test(object);
      const at = harmed((copy) => {
        for (const one of isBoth ? REGIONS.map((region) => object.replace(/^[ab]/, region)) : [object]) {
          const file = path.join(copy, one);
          if (!existsSync(file)) continue;
          if (harm === 'flip') flip(file, random.below(statSync(file).size));
          else if (harm === 'cut') truncateSync(file, random.below(statSync(file).size));
          else rmSync(file);
        }
      });
      const volume = random.below(SIZES.length);
      const { outcome, bytes } = await have(point, volume, { at });
      rmSync(at, { recursive: true });
      if (outcome.status !== 0) refused++;
      else if (bytes?.equals(stage.contentAt(point.seq, volume)) !== true)
        throw new Error(`run ${run}: wrong bytes after ${harm} of ${object}`);
      const form = outcome.status === 0 ? /recovered from .*\n$/ : /refused: .+\n$/;
      expect({ run, object, harm, stderr: outcome.stderr, isThere: bytes !== null }).toMatchObject({
        stderr: expect.stringMatching(form),
        isThere: outcome.status === 0,
      });
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(HARMS);
  }, 240_000);

  test('nothing past the end of an epoch is taken, though it follows', async () => {
    const { seq, putAfter } = await endOf(1);
    const at = harmed((copy) => putAfter(copy, [{ records: writeAndFlush(seq + 1), acknowledged: seq }]));
    const listed = await call(['points'], { at });
    expect({ listed: theirs(listed), stderr: listed.stderr }).toEqual({ listed: ours(await pointsOf()), stderr: '' });
    await requireHad((await pointsOf()).points.find(({ epoch }) => epoch === 2) ?? { epoch: 0, seq: 0 }, 0, { at });
  });

  test.each(['pair', 'local'] as const)(
    'of an open epoch what its own batches acknowledge, wherever it ends: %s',
    async (mode) => {
      const epoch = mode === 'local' ? newest(await pointsOf()).epoch : 2;
      const isCut = mode === 'pair';
      const last = readdirSync(path.dirname(objectOf(stage.folder, 'a', { epoch, index: 0 }))).length;
      const lengths = new Set<number>();
      for (let length = 0; length <= last; length++) {
        const at = harmed((copy) => {
          if (isCut) cutLog(copy, epoch);
          for (const region of REGIONS)
            for (let index = length; index < last; index++) rmSync(objectOf(copy, region, { epoch, index }), { force: true });
        });
        const listed = await call(['points'], { at });
        const should = ours(await pointsOf(at));
        expect({ length, listed: theirs(listed), stderr: listed.stderr }).toEqual({ length, listed: should, stderr: '' });
        lengths.add(should.length);
        rmSync(at, { recursive: true });
      }
      expect(lengths.size).toBeGreaterThan(2);
    },
    120_000,
  );

  test('a batch of the open epoch counts when all of it is acknowledged', async () => {
    const { seq, putAfter } = await endOf(2);
    const records: JournalRecord[] = [...writeAndFlush(seq + 1), { kind: 'zero', seq: seq + 3, volume: 0, offset: 0, length: 1 }];
    const listed: number[] = [];
    for (const acknowledged of [seq, seq + 2, seq + 3]) {
      const at = harmed((copy) => {
        cutLog(copy, 2);
        putAfter(copy, [{ records, acknowledged: seq }, { records: [], acknowledged }]); // prettier-ignore
      });
      const told = await call(['points'], { at });
      const should = await pointsOf(at);
      expect({ listed: theirs(told), stderr: told.stderr }).toEqual({ listed: ours(should), stderr: '' });
      listed.push(newest(should).seq);
    }
    expect(listed).toEqual([seq, seq, seq + 2]);
  });

  test('batches put in one another\u2019s place, of another epoch, or cut: refused by name, taken from the other region', async () => {
    const place = { epoch: 2, index: 1 };
    const { key } = await openIn(stage.folder);
    const astray = {
      ...place,
      first: 1,
      before: Buffer.alloc(32),
      acknowledged: 0,
      acknowledgedBatches: 0,
      labelUs: 2 ** 52,
      fold: Buffer.alloc(0),
    };
    const others: Readonly<Record<string, (copy: string) => Uint8Array>> = {
      'of another place': (copy) => readFileSync(objectOf(copy, 'a', { epoch: 2, index: 2 })),
      'of another place or another journal': (copy) => readFileSync(objectOf(copy, 'a', { epoch: 1, index: 1 })),
      'does not follow': () => formBatch(key, astray, writeAndFlush(1), { level: null, salt: randomBytes(32) }).stored,
      'its frame says': (copy) => readFileSync(objectOf(copy, 'a', place)).subarray(0, -1),
      'cut short': () => Buffer.alloc(50),
      'is of another journal, or damaged': () => formSeal(OTHER, place, { by: 's', timeMs: 1 }, randomBytes(32)),
    };
    for (const [why, bytes] of Object.entries(others)) {
      const at = harmed((copy) => writeFileSync(objectOf(copy, 'a', place), bytes(copy)));
      const listed = await call(['points'], { at });
      expect(theirs(listed)).toEqual(ours(await pointsOf()));
      expect(listed.stderr).toMatch(new RegExp(`^passed over: batch 1 of epoch 2 in .*${why}`));
    }
  });

  test('a seal says that a region has no batch there, and nothing more', async () => {
    const { key } = await openIn(stage.folder);
    const { epoch } = newest(await pointsOf());
    const places = [batchWithBody(1), batchWithBody(epoch)];
    const at = harmed((copy) => {
      for (const place of places) writeFileSync(objectOf(copy, 'a', place), formSeal(key, place, { by: 's', timeMs: 1 }, randomBytes(32)));
    });
    const listed = await call(['points'], { at });
    expect({ listed: theirs(listed), stderr: listed.stderr }).toEqual({ listed: ours(await pointsOf()), stderr: '' });
    await requireHad(newest(await pointsOf()), 0, { at });
  });

  test('a base that is harmed is left for what else leads to the point; behind a hole nothing else does', async () => {
    const at = harmed(harmBases);
    const point = (await pointsOf()).points.findLast(({ epoch }) => epoch === 2);
    if (point === undefined) throw new Error('epoch 2 has no points');
    expect(await requireHad(point, 0)).toContain('of region a');
    expect(await requireHad(point, 0, { at })).toContain('the empty volume');
    for (const region of REGIONS) flip(objectOf(at, region, batchWithBody(1)), 100);
    const { outcome, bytes } = await have(point, 0, { at });
    expect(bytes).toBeNull();
    expect(outcome).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/\nrefused: base \w+ in region a: .* sound point before it is epoch 1, number/),
    });
  });

  test('what was collected below the floor is no hole, and its points are gone', async () => {
    const at = harmed(() => undefined);
    const journal = await openIn(at);
    const state = await journal.log.sync();
    const to = [...state.bases.values()].flat().map((base) => base.to).sort((x, y) => y - x)[0]; // prettier-ignore
    if (to === undefined) throw new Error('there is no base');
    await journal.log.append(() => ({ kind: 'FLOOR', seq: to }));
    const bases = await basesIn(at, threads);
    for (const region of REGIONS) await collectRegion(journal, region, { bases: bases.get(region)! });
    const listed = await call(['points'], { at });
    const should = ours(await pointsOf(at));
    expect({ listed: theirs(listed), stderr: listed.stderr }).toEqual({ listed: should, stderr: '' });
    // The flush at the end of its base was in a batch that this region has dropped.
    const inOne = await call(['points'], { at, regions: ['b'] });
    expect({ listed: theirs(inOne), stderr: inOne.stderr }).toEqual({ listed: should.slice(1), stderr: '' });
    expect(should.length).toBeGreaterThan(2);
    await requireHad(newest(await pointsOf()), 1, { at });
    expect((await have((await pointsOf()).points[0]!, 0, { at })).outcome).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no point that can be recovered'),
    });
  });
});

/** The pace of a local owner beside stores that take little, late, or nothing: what waits for them stays young, and they stay busy. */
import { expect, test } from '@jest/globals';
import { MIB, UNANSWERED_BYTES_MAX } from '../../../../src/domain/limits.ts';
import { Pace } from '../../../../src/engine/journal/owning/pace.ts';

const RECORD = 16 * 1024;
const BATCH_MS = 500;
const BATCH_BYTES = 8 * MIB;
const IN_FLIGHT = 4;

interface Run {
  /** Bytes a millisecond that the store takes, by time. */
  readonly takes: (nowMs: number) => number;
  /** Of every answer, besides. */
  readonly latencyMs?: number;
  /** Bytes a millisecond that the client has. */
  readonly has: (nowMs: number) => number;
  readonly seconds: number;
}

interface Told {
  /** Age of the oldest byte that is in no region, by millisecond. */
  readonly ages: readonly number[];
  /** Bytes that were taken, by millisecond. */
  readonly taken: readonly number[];
}

/** An owner in a time of its own: batches by age or size, put one after another, four under way; the client is ahead as far as a recorder lets it. */
function run({ takes, latencyMs = 0, has, seconds }: Run): Told {
  const pace = new Pace();
  const told = { ages: [] as number[], taken: [] as number[] };
  const records: { throughBytes: number; atMs: number }[] = [];
  const unpaid: { dueMs: number }[] = [];
  const batches: { throughBytes: number; left: number; doneMs: number }[] = [];
  let [taken, formed, closed, wants, waitsSince] = [0, 0, 0, 0, 0];
  for (let nowMs = 1; nowMs <= seconds * 1000; nowMs++) {
    for (let room = takes(nowMs), i = 0; room > 0 && i < batches.length; i++) {
      const batch = batches[i];
      if (batch === undefined || batch.left === 0) continue;
      const put = Math.min(room, batch.left);
      batch.left -= put;
      room -= put;
      if (batch.left === 0) batch.doneMs = nowMs + latencyMs;
    }
    for (let first = batches[0]; first !== undefined && first.left === 0 && first.doneMs <= nowMs; first = batches[0]) {
      closed = first.throughBytes;
      pace.closed(closed, nowMs);
      batches.shift();
    }
    while ((records[0]?.throughBytes ?? Infinity) <= closed) records.shift();
    while ((unpaid[0]?.dueMs ?? Infinity) <= nowMs) unpaid.shift();
    // What it has and cannot write is not saved up: it would have written it then.
    wants = Math.min(wants + has(nowMs), 16 * RECORD);
    for (; wants >= RECORD && unpaid.length * RECORD <= UNANSWERED_BYTES_MAX; wants -= RECORD) {
      if (taken === formed) waitsSince = nowMs;
      taken += RECORD;
      records.push({ throughBytes: taken, atMs: nowMs });
      const waitMs = pace.waitMs(RECORD, taken, nowMs);
      if (waitMs > 0) unpaid.push({ dueMs: nowMs + Math.ceil(waitMs) });
    }
    if (batches.length < IN_FLIGHT && taken > formed && (nowMs - waitsSince >= BATCH_MS || taken - formed >= BATCH_BYTES)) {
      const bytes = Math.min(BATCH_BYTES, taken - formed);
      formed += bytes;
      batches.push({ throughBytes: formed, left: bytes, doneMs: Infinity });
      pace.formed(formed, nowMs);
      waitsSince = records.find(({ throughBytes }) => throughBytes > formed)?.atMs ?? nowMs;
    }
    told.ages.push(nowMs - (records[0]?.atMs ?? nowMs));
    told.taken.push(taken);
  }
  return told;
}

const perMs = (mibPerSecond: number): number => (mibPerSecond * MIB) / 1000;
const highest = (ages: readonly number[], fromMs: number): number => Math.max(...ages.slice(fromMs));
const takenIn = (taken: readonly number[], fromMs: number, toMs: number): number => (taken[toMs - 1] ?? 0) - (taken[fromMs - 1] ?? 0);

test.each([
  [1, 0, 2],
  [3, 20, 2],
  [4, 50, 2],
  [8, 0, 2],
  [8, 300, 2],
  [40, 100, 2],
  [8, 20, 8],
])('%d MiB/s with %d ms an answer under %d times as much: no record grows old, and the store is kept busy', (mib, latencyMs, times) => {
  const { ages, taken } = run({ takes: () => perMs(mib), latencyMs, has: () => perMs(mib * times), seconds: 30 });
  // While nothing is known of the store yet, too.
  expect(highest(ages, mib < 3 ? 5000 : 0)).toBeLessThan(2200);
  expect(highest(ages, 5000)).toBeLessThan(2000);
  expect(takenIn(taken, 5000, 30_000)).toBeGreaterThan(0.85 * perMs(mib) * 25_000);
  // Never to a stand-still: in each second something is taken.
  for (let at = 1000; at < 30_000; at += 1000) expect(takenIn(taken, at, at + 1000)).toBeGreaterThan(0.1 * perMs(mib) * 1000);
});

test.each([20, 300, 600])('%d ms an answer are no reason to slow anybody whom the store keeps up with', (latencyMs) => {
  const { taken } = run({ takes: () => perMs(200), latencyMs, has: (nowMs) => perMs(nowMs < 10_000 ? 0.5 : 16), seconds: 20 });
  expect(takenIn(taken, 1000, 10_000)).toBeGreaterThan(0.99 * perMs(0.5) * 9000);
  // It was told little until then, and notices within seconds.
  expect(takenIn(taken, 13_000, 20_000)).toBeGreaterThan(0.95 * perMs(16) * 7000);
});

test('a second for every answer slows nobody down for ever, though nothing can be young then', () => {
  const { taken } = run({ takes: () => perMs(200), latencyMs: 1000, has: () => perMs(12), seconds: 60 });
  expect(takenIn(taken, 30_000, 60_000)).toBeGreaterThan(0.6 * perMs(12) * 30_000);
});

test('a store that becomes slower, and faster again, is followed within seconds', () => {
  const { ages, taken } = run({
    takes: (nowMs) => perMs(nowMs < 10_000 ? 40 : nowMs < 25_000 ? 4 : 40),
    has: () => perMs(20),
    seconds: 40,
  });
  expect(highest(ages.slice(0, 10_000), 5000)).toBeLessThan(1000);
  expect(highest(ages.slice(0, 25_000), 20_000)).toBeLessThan(2000);
  expect(takenIn(taken, 30_000, 40_000)).toBeGreaterThan(0.95 * perMs(20) * 10_000);
});

test('a store that answers nothing slows nobody for long: the bound of what is held is there for that', () => {
  const { taken } = run({ takes: (nowMs) => (nowMs < 5000 ? perMs(8) : 0), has: () => perMs(16), seconds: 25 });
  expect(takenIn(taken, 15_000, 25_000)).toBeGreaterThan(0.99 * perMs(16) * 10_000);
});

/** Merging, retention and the sweep: what an archive does with what it no longer needs as it is. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { claimRole } from '../../../../src/engine/tables/archive/archive.ts';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { mergeSegments, planMerge, type MergeLimits } from '../../../../src/engine/tables/archive/merging.ts';
import { applyRetention, planRetention } from '../../../../src/engine/tables/archive/retention.ts';
import { packsOf, planSweep, sweep } from '../../../../src/engine/tables/archive/sweep.ts';
import { openTableArchive } from '../../../../src/engine/tables/archive/archive.ts';
import { buildPastState, type PastOutcome } from '../../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../../src/engine/tables/past-state/snapshot.ts';
import { windowOf } from '../../../../src/engine/tables/past-state/window.ts';
import { withFaults } from '../../../../src/ground/stores/faulty.ts';
import { createMemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';
import { openPlain, plain, type PlainArchive } from '../plain-archive.ts';

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

const T = 1_700_000_000_000;
const us = (ms: number): number => (T + ms) * 1000;
const FOUR: MergeLimits = { width: 4, tierBytes: 1 << 20, bytesMax: 1 << 24 };
const MARGIN_US = 1000;

/** Batches of one record each, alternating between two partitions, a millisecond apart; a snapshot of both after those in `snapshotsAt`. */
async function archived(batches: number, snapshotsAt: readonly number[] = []): Promise<PlainArchive & { readonly keeper: number }> {
  const world = await openPlain(['t/0', 't/1']);
  const keeper = await claimRole(world.archive, 'snapshots');
  for (let i = 0; i < batches; i++) {
    await world.put(duck, `t/${i % 2}`, [plain(i >> 1, T + i, i % 5, { v: i })]);
    if (snapshotsAt.includes(i)) for (const partition of ['t/0', 't/1']) await makeSnapshot(world.archive, duck, keeper, partition);
  }
  return { ...world, keeper };
}

const packs = ({ store }: PlainArchive): string[] => [...store.objects.keys()].filter((name) => /^(segment|snapshot)\//.test(name)).sort();
const hashOf = (outcome: PastOutcome): string => (outcome.kind === 'built' ? outcome.proof.hash : outcome.kind);
const pastOf = ({ archive }: PlainArchive, ms: number) => buildPastState(archive, duck, { kind: 'time', us: us(ms) });
const partsOf = ({ archive }: PlainArchive, id: string) =>
  archive
    .known()
    .partitions.get(id)
    ?.parts.map(({ from, to }) => [from, to]);

test('neighbours of a tier become one file, the parts of each partition one, and what was replaced is gone', async () => {
  const world = await archived(9);
  const before = hashOf(await pastOf(world, 7));
  const plan = planMerge(world.archive.known(), FOUR);
  expect(plan).toMatchObject({ segments: 4 });
  await mergeSegments(world.archive, duck, world.keeper, plan!);
  expect(partsOf(world, 't/0')).toEqual([[0, 2], [2, 3], [3, 4], [4, 5]]); // prettier-ignore
  expect(partsOf(world, 't/1')).toEqual([[0, 2], [2, 3], [3, 4]]); // prettier-ignore
  expect(packs(world)).toEqual([...packsOf(world.archive.known()).keys()].sort());
  expect(packs(world)).toHaveLength(6);
  expect(hashOf(await pastOf(world, 7))).toBe(before);
  expect(planMerge(world.archive.known(), { ...FOUR, width: 7 })).toBeNull();
});

test('no part reaches over the offset of a snapshot', async () => {
  const world = await archived(8, [3]);
  await mergeSegments(world.archive, duck, world.keeper, planMerge(world.archive.known(), { ...FOUR, width: 8 })!);
  expect(partsOf(world, 't/0')).toEqual([[0, 2], [2, 4]]); // prettier-ignore
  expect(await pastOf(world, 5)).toMatchObject({ proof: { partitions: [{ base: 2, read: [{ from: 2, to: 4 }] }, { base: 2 }] } });
});

test('rows that are not those of the log are not merged', async () => {
  const world = await archived(4);
  const plan = planMerge(world.archive.known(), FOUR)!;
  await world.put(duck, 't/0', [plain(2, T + 9, 1, { v: 9 }), plain(3, T + 9, 2, { v: 9 })]);
  const state = world.archive.known();
  const [wrong] = [...state.partitions.get('t/0')!.parts].slice(-1);
  const first = state.partitions.get('t/0')!.parts[0]!;
  // The log of a damaged archive: a part names another one's file.
  const parts = state.partitions.get('t/0')!.parts.map((part) => (part === first ? { ...part, file: wrong!.file } : part));
  const partitions = new Map(state.partitions).set('t/0', { ...state.partitions.get('t/0')!, parts });
  const archive = { ...world.archive, known: () => ({ ...state, partitions }) };
  await expect(mergeSegments(archive, duck, world.keeper, plan)).rejects.toMatchObject({ code: 'DAMAGED' });
});

test('quarantined bytes, gaps and records that say nothing are still accounted for in a merged part', async () => {
  const world = await openPlain(['t/0']);
  const keeper = await claimRole(world.archive, 'snapshots');
  await world.put(duck, 't/0', [plain(0, T, 1, { v: 1 })]);
  await world.put(duck, 't/0', [plain(1, T + 1, 1, Buffer.from('{'))]);
  await world.put(duck, 't/0', [plain(4, T + 2, 2, { v: 1 })], { kind: 'control', end: 5 });
  await world.put(duck, 't/0', [plain(5, T + 3, 1, null)]);
  await mergeSegments(world.archive, duck, keeper, planMerge(world.archive.known(), FOUR)!);
  const [part, ...others] = world.archive.known().partitions.get('t/0')!.parts;
  expect(others).toEqual([]);
  expect(part).toMatchObject({
    from: 0,
    to: 6,
    rows: 3,
    quarantined: [{ offset: 1, reason: 'NOT_JSON' }],
    gaps: [{ from: 2, to: 4, kind: 'control' }],
    stampMinUs: us(0),
    stampMaxUs: us(3),
  });
  await pastOf({ ...world }, 2);
  expect(await duck.rows(`SELECT _key, octet_length(_raw) FROM segments WHERE _op = 'q'`)).toEqual([['NOT_JSON', 1n]]);
});

test('a keeper that lost its claim merges nothing', async () => {
  const world = await archived(4);
  const plan = planMerge(world.archive.known(), FOUR)!;
  await claimRole(world.archive, 'snapshots');
  await expect(mergeSegments(world.archive, duck, world.keeper, plan)).rejects.toMatchObject({ code: 'CLAIM_LOST' });
  // What it had put is litter, and goes with any sweep; nothing else does.
  const named = [...packsOf(world.archive.known()).keys()].sort();
  expect(packs(world)).toHaveLength(5);
  expect(await sweep(world.archive)).toHaveLength(1);
  expect(packs(world)).toEqual(named);
});

test('a pack of an open claim that no entry names is not swept: it may be about to be', async () => {
  const world = await archived(2);
  const name = `segment/${String(world.epoch).padStart(20, '0')}/00000001-00000000`;
  await world.store.put(name, Buffer.alloc(100));
  expect(await planSweep(world.archive)).toEqual([]);
  const taken = await claimRole(world.archive, 'archive');
  expect(taken).toBeGreaterThan(world.epoch);
  expect(await planSweep(world.archive)).toEqual([{ name, bytes: 100 }]);
});

test('retention keeps one base older than the window and says what goes and why', async () => {
  const world = await archived(12, [3, 7, 11]);
  const plan = planRetention(world.archive.known(), us(9), MARGIN_US);
  expect(plan.partitions).toEqual([
    { partition: 't/0', base: { offset: 4, stampUs: us(6) }, keptAll: null, dropped: { parts: 4, rows: 4, snapshots: 1 } },
    { partition: 't/1', base: { offset: 4, stampUs: us(7) }, keptAll: null, dropped: { parts: 4, rows: 4, snapshots: 1 } },
  ]);
  // Planning changes nothing.
  expect(packs(world)).toHaveLength(18);
  const before = await Promise.all([9, 10].map(async (ms) => hashOf(await pastOf(world, ms))));
  expect((await applyRetention(world.archive, world.keeper, plan)).map(({ name }) => name)).toEqual(plan.packs.map(({ name }) => name));
  expect(packs(world)).toHaveLength(18 - plan.packs.length);
  expect(plan.packs).toHaveLength(10);
  expect(windowOf(world.archive.known())).toMatchObject({ earliestUs: us(7) });
  expect([hashOf(await pastOf(world, 9)), hashOf(await pastOf(world, 10))]).toEqual(before);
  expect(await pastOf(world, 6)).toMatchObject({ kind: 'outside', nearestUs: us(7) });
  expect(planRetention(world.archive.known(), us(9), MARGIN_US).partitions.map(({ keptAll }) => keptAll)).toEqual([
    'NOTHING_OLDER',
    'NOTHING_OLDER',
  ]);
});

test('a base that is not older than the window by the margin is not the one; without any nothing goes', async () => {
  const world = await archived(12, [3, 7, 11]);
  const keptBy = (sinceMs: number) =>
    planRetention(world.archive.known(), us(sinceMs), MARGIN_US).partitions.map(({ base, keptAll }) => base?.offset ?? keptAll);
  expect(keptBy(8)).toEqual([4, 4]);
  expect(keptBy(7)).toEqual([4, 2]);
  expect(keptBy(6)).toEqual([2, 2]);
  expect(keptBy(2)).toEqual(['NO_BASE_BEFORE_THE_WINDOW', 'NO_BASE_BEFORE_THE_WINDOW']);
});

test('a crash between the record and the deletion leaves packs that a sweep finds when the claim is closed', async () => {
  const world = await archived(12, [3, 7, 11]);
  const archive = openTableArchive({
    store: withFaults(world.store, ({ operation }) => (operation === 'delete' ? { kind: 'partial-delete' } : undefined)),
    key: KEY,
    environment,
  });
  await archive.sync();
  const plan = planRetention(archive.known(), us(9), MARGIN_US);
  await expect(applyRetention(archive, world.keeper, plan)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await world.archive.sync();
  await claimRole(world.archive, 'snapshots');
  await claimRole(world.archive, 'archive');
  await sweep(world.archive);
  expect(packs(world)).toEqual([...packsOf(world.archive.known()).keys()].sort());
});

test('a reader whose packs were merged or dropped away meanwhile finds them in a newer state', async () => {
  const store = createMemoryStore();
  const world = { ...(await openPlain(['t/0'], store)) };
  const keeper = await claimRole(world.archive, 'snapshots');
  for (let i = 0; i < 4; i++) await world.put(duck, 't/0', [plain(i, T + i, i, { v: i })]);
  const reader = openTableArchive({ store, key: KEY, environment });
  await reader.sync();
  await mergeSegments(world.archive, duck, keeper, planMerge(world.archive.known(), FOUR)!);
  await using fresh = await Duck.open({ memoryBytes: 256e6, threads: 1 });
  expect(await buildPastState(reader, fresh, { kind: 'time', us: us(2) })).toMatchObject({ kind: 'built', proof: { rows: 3 } });
});

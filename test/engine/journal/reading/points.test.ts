/** Points: pages, windows of time, the point of a time, and honesty about what is cut off. */
import { expect, test } from '@jest/globals';
import { listPoints } from '../../../../src/engine/journal/reading/points.ts';
import { pointAt } from '../../../../src/engine/journal/reading/point-at.ts';
import { planRecovery } from '../../../../src/engine/journal/recovery/plan.ts';
import { awayWhile } from './away-while.ts';
import { SmallJournal } from './small-journal.ts';

/** Two epochs; flushes at 2, 3, 5 (labels 10, 20, 20) and, by a clock that is behind, 7 and 8 (15 and 30). */
async function twoClocks() {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], labelUs: 10 });
  await world.put({ records: 'fwf', in: ['a'], labelUs: 20, acknowledged: 2 });
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], labelUs: 15, acknowledged: 5 });
  await world.put({ records: 'f', in: ['a'], labelUs: 30, acknowledged: 7 });
  await world.put({ records: '', in: ['a'], labelUs: 31, acknowledged: 8 });
  return world;
}

test('pages go on where the one before ended, and windows hold what is labelled in them', async () => {
  const world = await twoClocks();
  const first = await listPoints(world.reading(), { limit: 3 });
  expect(first.points.map(({ seq }) => seq)).toEqual([2, 3, 5]);
  const second = await listPoints(world.reading(), { limit: 3, after: first.next! });
  expect(second).toMatchObject({ points: [{ epoch: 2, seq: 7, labelUs: 15 }, { seq: 8 }], next: null, gaps: [], holes: [] });
  const window = await listPoints(world.reading(), { fromUs: 15, untilUs: 20 });
  expect(window.points.map(({ seq }) => seq)).toEqual([3, 5, 7]);
});

test('the point of a time is the largest number that is not labelled later, with its distance', async () => {
  const world = await twoClocks();
  const at = async (timeUs: number) => {
    const told = await pointAt(world.reading(), timeUs);
    return told === null ? null : [told.point.seq, told.beforeUs];
  };
  expect(await Promise.all([9, 10, 14, 15, 29, 30, 99].map(at))).toEqual([null, [2, 0], [2, 4], [7, 0], [7, 14], [8, 0], [8, 69]]);
});

test('a gap cuts off what is behind it, in the list and in a recovery; the empty volume at 0 is a point to begin with', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], labelUs: 1 });
  await world.put({ records: 'gwf', in: ['a'], labelUs: 2, acknowledged: 2 });
  await world.put({ records: '', in: ['a'], labelUs: 2, acknowledged: 5 });
  expect(await listPoints(world.reading())).toMatchObject({ points: [{ seq: 2 }], gaps: [3] });
  expect(await pointAt(world.reading(), 9)).toMatchObject({ point: { seq: 2 } });
  const plan = (seq: number) => planRecovery(world.reading(), { point: { epoch: 1, seq } });
  expect(await plan(0)).toMatchObject({ start: { kind: 'empty' }, heads: 0, stretches: { count: 0 } });
  expect(await plan(2)).toMatchObject({ start: { kind: 'empty' }, heads: 1, records: 2, labelUs: 1 });
  await expect(plan(5)).rejects.toMatchObject({ code: 'POINT_GONE' });
  await expect(plan(6)).rejects.toMatchObject({ code: 'POINT_GONE' });
  await expect(planRecovery(world.reading(), { point: { epoch: 7, seq: 1 } })).rejects.toMatchObject({ code: 'POINT_GONE' });
});

test('a base whose snapshot is not to be had is passed over, and what was dropped below it is not thought to be empty', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const bases: { id: string; from: number; to: number; at: { epoch: number; index: number; seq: number; digest: string } }[] = [];
  for (let i = 0; i < 3; i++) {
    const { index, seq, digest } = await world.put({ records: 'wf', in: ['a'], acknowledged: 2 * i });
    bases.push({ id: `0000000000000000000000000${i}`, from: seq, to: seq, at: { epoch: 1, index, seq, digest } });
  }
  await world.open('local', ['a']);
  for (const { id, ...base } of bases.slice(0, 2))
    await world.journal.log.append(() => ({ kind: 'BASE', region: 'a', snapshots: [{ volume: 0, id }], ...base }));
  const plan = (...unusable: readonly number[]) =>
    planRecovery(world.reading(), { point: { epoch: 1, seq: 6 }, unusable: new Set(unusable.map((i) => bases[i]!.id)) });
  expect(await plan()).toMatchObject({ start: { base: { from: 4 } }, heads: 1 });
  expect(await plan(1)).toMatchObject({ start: { base: { from: 2 } }, heads: 2 });
  expect(await plan(0, 1)).toMatchObject({ start: { kind: 'empty' }, heads: 3 });
  await world.journal.log.append(() => ({ kind: 'FLOOR', seq: 2 }));
  await expect(plan(0, 1)).rejects.toMatchObject({ code: 'POINT_GONE' });
});

test('a base that is not finished hides no gap before it, wherever a page or a window begins', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], labelUs: 1 });
  await world.put({ records: 'gf', in: ['a'], labelUs: 2, acknowledged: 2 });
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a'], labelUs: 3, acknowledged: 4 });
  await world.put({ records: 'fgf', in: ['a'], labelUs: 4, acknowledged: 6 });
  await world.put({ records: '', in: ['a'], labelUs: 5, acknowledged: 9 });
  const snapshots = [{ volume: 0, id: '00000000000000000000000001' }];
  await world.journal.log.append(() => ({ kind: 'BASE', region: 'a', snapshots, from: 8, to: 9, at: { epoch: 1, index, seq, digest } }));
  const seqs = async (wanted: Parameters<typeof listPoints>[1]) => (await listPoints(world.reading(), wanted)).points.map((one) => one.seq);
  expect(await seqs({})).toEqual([2, 9]);
  expect(await seqs({ after: 6 })).toEqual([9]);
  expect(await seqs({ fromUs: 4 })).toEqual([9]);
  expect(await pointAt(world.reading(), 4)).toMatchObject({ point: { seq: 9 } });
  expect(await pointAt(world.reading(), 3)).toMatchObject({ point: { seq: 2 } });
});

test('behind a hole only bases behind it lead to points, and the hole is named', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], labelUs: 1 });
  await world.put({ records: 'wf', in: [], labelUs: 2, acknowledged: 2 });
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a'], labelUs: 3, acknowledged: 4 });
  await world.put({ records: 'fgf', in: ['a'], labelUs: 4, acknowledged: 6 });
  await world.put({ records: '', in: ['a'], labelUs: 5, acknowledged: 9 });
  const snapshots = [{ volume: 0, id: '00000000000000000000000001' }];
  await world.journal.log.append(() => ({ kind: 'BASE', region: 'a', snapshots, from: 8, to: 9, at: { epoch: 1, index, seq, digest } }));
  const { points, holes } = await listPoints(world.reading());
  expect(points.map((one) => one.seq)).toEqual([2, 9]);
  expect(holes).toMatchObject([{ epoch: 1, index: 1, afterSeq: 2, code: 'OBJECT_MISSING' }]);
});

test('who does not answer is named, and that nobody answers is not that there is no point', async () => {
  const away = new Set<string>();
  const world = new SmallJournal(['a', 'b'], awayWhile(away));
  await world.open('local', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'], labelUs: 1 });
  await world.put({ records: '', in: ['a', 'b'], labelUs: 1, acknowledged: 2 });
  expect(await listPoints(world.reading())).toMatchObject({ points: [{ seq: 2 }], silent: [] });
  expect(await pointAt(world.reading(), 9)).toMatchObject({ point: { seq: 2 }, unheard: null });
  expect(await pointAt(world.reading(), 0)).toBeNull();

  away.add('b');
  expect(await listPoints(world.reading())).toMatchObject({ points: [{ seq: 2 }], silent: ['b'] });
  expect(await pointAt(world.reading(), 9)).toMatchObject({ point: { seq: 2 }, unheard: 'b did not answer' });
  away.add('a');
  expect(await listPoints(world.reading())).toMatchObject({ points: [], silent: ['a', 'b'] });
  await expect(pointAt(world.reading(), 9)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', message: expect.stringContaining('a, b') });
  // Who will not come back is not waited for.
  expect(await pointAt(world.reading({ lost: new Set(['a', 'b']) }), 9)).toBeNull();

  // Of a closed epoch, whose first batch answers and whose point is away.
  away.clear();
  await world.put({ records: 'w', in: ['a', 'b'], labelUs: 2, acknowledged: 2 });
  await world.open('local', ['a', 'b']);
  await world.put({ records: 'w', in: ['a', 'b'], labelUs: 3 });
  await world.put({ records: 'f', in: ['b'], labelUs: 4 });
  await world.open('local', ['a'], { full: ['b'] });
  away.add('b');
  // An older one is there, and it is said that it may not be the newest.
  expect(await pointAt(world.reading(), 9)).toMatchObject({ point: { seq: 2 }, unheard: expect.stringContaining('b did not answer') });
});

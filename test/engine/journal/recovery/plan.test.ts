/** Plans: which numbers are replayed over which base, and which region is left for another. */
import { expect, test } from '@jest/globals';
import { planRecovery } from '../../../../src/engine/journal/recovery/plan.ts';
import { replay } from '../../../../src/engine/journal/recovery/replay.ts';
import { SmallJournal } from '../reading/small-journal.ts';

test('over a base of the live volume: what follows its gap, all of it, and nothing before', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a'] });
  await world.put({ records: 'wgww', in: ['a'], acknowledged: 2 });
  await world.put({ records: 'fwf', in: ['a'], acknowledged: 6 });
  await world.put({ records: '', in: ['a'], acknowledged: 9 });
  const snapshots = [{ volume: 0, id: '00000000000000000000000001' }];
  await world.journal.log.append(() => ({ kind: 'BASE', region: 'a', snapshots, from: 4, to: 6, at: { epoch: 1, index, seq, digest } }));
  const reading = world.reading();
  const plan = await planRecovery(reading, { point: { epoch: 1, seq: 7 } });
  const offsets: number[] = [];
  for await (const { offset } of replay(reading, plan)) offsets.push(offset);
  // Numbers 5 and 6: not 3, which the base holds with all that came before it, and not 8, which comes after the point.
  expect(offsets).toEqual([40]);
  expect(plan).toMatchObject({ records: 3, heads: 2, stretches: { count: 1, lengths: new Uint32Array([16]) } });
});

test('a region whose base is cut off, or lacks a batch that nobody has, is left for one that has a newer base', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('pair', ['a', 'b']);
  const first = await world.put({ records: 'wf', in: ['a', 'b'] });
  const second = await world.put({ records: 'wf', in: ['a', 'b'] });
  await world.put({ records: 'wf', in: ['a', 'b'] });
  await world.open('pair', ['a', 'b']);
  for (const [region, { index, seq, digest }, id] of [['a', first, '1'] as const, ['b', second, '2'] as const])
    await world.journal.log.append(() => ({
      ...{ kind: 'BASE' as const, region, from: seq, to: seq, at: { epoch: 1, index, seq, digest } },
      snapshots: [{ volume: 0, id: `0000000000000000000000000${id}` }],
    }));
  const plan = () => planRecovery(world.reading({ prefer: ['a'] }), { point: { epoch: 1, seq: 6 } });
  expect(await plan()).toMatchObject({ region: 'a', heads: 2 });
  for (const { objects } of world.stores.values()) objects.delete(second.name);
  expect(await plan()).toMatchObject({ region: 'b', heads: 1 });
});

test('a view that is old finds what was collected since in the new one', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const first = await world.put({ records: 'wf', in: ['a'] });
  const { index, seq, digest } = await world.put({ records: 'wf', in: ['a'] });
  await world.put({ records: 'wf', in: ['a'] });
  await world.open('local', ['a']);
  const reading = world.reading();
  const other = world.anotherLog();
  const { log } = reading.journal;
  let views = 0;
  const slow = {
    ...log,
    // Between the first look at the log and the reading it is folded and collected by somebody else.
    sync: async () => {
      const state = await log.sync();
      if (views++ > 0) return state;
      const snapshots = [{ volume: 0, id: '00000000000000000000000001' }];
      await other.append(() => ({ kind: 'BASE', region: 'a', snapshots, from: seq, to: seq, at: { epoch: 1, index, seq, digest } }));
      await other.append(() => ({ kind: 'FLOOR', seq }));
      world.stores.get('a')!.objects.delete(first.name);
      return state;
    },
  };
  const plan = await planRecovery({ ...reading, journal: { ...reading.journal, log: slow } }, { point: { epoch: 1, seq: 6 } });
  expect(plan).toMatchObject({ start: { base: { from: 4 } }, heads: 1 });
});

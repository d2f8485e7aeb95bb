/** Histories: up to ends, as far as acknowledged, from any region that has them; and silence is never taken for absence. */
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { copyName } from '../../../../src/engine/journal/object-names.ts';
import { readHistory, type HistoryEnd } from '../../../../src/engine/journal/reading/history.ts';
import { beginningOf } from '../../../../src/engine/journal/reading/marks.ts';
import type { Reading } from '../../../../src/engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { awayWhile } from './away-while.ts';
import { SmallJournal } from './small-journal.ts';

interface Read {
  readonly batches: string;
  readonly end: HistoryEnd | null;
  readonly error: HoldfastError | null;
}

async function read(reading: Reading): Promise<Read> {
  const state = reading.journal.log.known();
  const [first] = state.epochs.values();
  const batches: string[] = [];
  const history = readHistory(reading, state, beginningOf(first!));
  try {
    for (let step = await history.next(); ; step = await history.next()) {
      if (step.done === true) return { batches: batches.join(' '), end: step.value, error: null };
      batches.push(`${step.value.head.epoch}/${step.value.head.index}${step.value.region}`);
    }
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return { batches: batches.join(' '), end: null, error };
  }
}

test('closed epochs are read to their ends, the open one as far as its own batches say', async () => {
  const world = new SmallJournal(['a', 'b', 'c']);
  await world.open('pair', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'] });
  const end = await world.put({ records: 'f', in: ['a', 'b'] });
  await world.put({ records: 'wwf', in: ['a'], acknowledged: 3 });
  await world.open('pair', ['b', 'c'], { end: { index: 1, seq: end.seq, digest: end.digest } });
  await world.put({ records: 'f', in: ['b', 'c'], acknowledged: 3 });
  await world.put({ records: '', in: ['b', 'c'], acknowledged: 4 });
  await world.put({ records: 'ff', in: ['b'], acknowledged: 4 });
  const { batches, end: told } = await read(world.reading());
  expect(batches).toBe('1/0a 1/1a 2/0b 2/1b');
  expect(told).toMatchObject({ mark: { epoch: 2, index: 2, next: 5 }, silent: [] });
  expect(world.damage).toEqual([]);
});

test('copies, and another region, stand in for what is damaged or gone; the damage is told', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('pair', ['a', 'b']);
  const [one, two, three] = [
    await world.put({ records: 'w', in: ['a', 'b'] }),
    await world.put({ records: 'w', in: ['a', 'b'] }),
    await world.put({ records: 'w', in: ['a', 'b'] }),
  ];
  await world.open('pair', ['a', 'b']);
  const a = world.stores.get('a')!;
  a.objects.get(one.name)![100]! ^= 4;
  a.objects.delete(two.name);
  await a.put(copyName(1, 1), two.stored);
  await a.put(three.name, one.stored);
  expect((await read(world.reading({ prefer: ['a'] }))).batches).toBe('1/0b 1/1a 1/2b');
  expect(world.damage.map(({ region, object, code }) => [region, object, code])).toEqual([
    ['a', one.name, 'DAMAGED'],
    ['a', three.name, 'BATCH_FOREIGN'],
  ]);
});

test('what is in no region is named with the last sound number; where somebody is silent nothing is said to be gone', async () => {
  const away = new Set<string>();
  const world = new SmallJournal(['a', 'b', 'c'], awayWhile(away));
  await world.open('pair', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'] });
  const lost = await world.put({ records: 'wf', in: ['c'] });
  await world.put({ records: 'wf', in: ['a', 'b'] });
  await world.open('pair', ['a', 'b']);
  expect((await read(world.reading())).batches).toBe('1/0a 1/1c 1/2a');

  away.add('c');
  const silent = await read(world.reading());
  expect(silent.error).toMatchObject({ code: 'STORE_UNREACHABLE', details: { epoch: 1, index: 1, soundSeq: 2 } });
  const declared = await read(world.reading({ lost: new Set(['c']) }));
  expect(declared.error).toMatchObject({ code: 'OBJECT_MISSING', details: { epoch: 1, index: 1, soundSeq: 2 } });

  away.clear();
  world.stores.get('c')!.objects.delete(lost.name);
  expect((await read(world.reading())).error).toMatchObject({ code: 'OBJECT_MISSING' });
  await world.stores.get('c')!.put(lost.name, lost.stored.subarray(1));
  expect((await read(world.reading())).error).toMatchObject({ code: 'DAMAGED', details: { soundSeq: 2 } });
});

test('a region that the log names and this process cannot reach is silent', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('pair', ['a', 'z']);
  await world.put({ records: 'wf', in: ['b'] });
  await world.open('pair', ['a', 'b']);
  expect((await read(world.reading())).batches).toBe('1/0b');
  world.stores.get('b')!.objects.clear();
  expect((await read(world.reading())).error).toMatchObject({ code: 'STORE_UNREACHABLE' });
});

test('the open epoch: a member that is silent is told, a batch that was acknowledged and is nowhere is an error', async () => {
  const away = new Set<string>();
  const world = new SmallJournal(['a', 'b'], awayWhile(away));
  await world.open('pair', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'] });
  const second = await world.put({ records: 'wf', in: ['a', 'b'], acknowledged: 2 });
  await world.put({ records: '', in: ['a', 'b'], acknowledged: 4 });
  away.add('b');
  expect(await read(world.reading())).toMatchObject({ batches: '1/0a 1/1a 1/2a', end: { silent: ['b'] } });
  away.clear();
  for (const { objects } of world.stores.values()) objects.delete(second.name);
  const { batches, error } = await read(world.reading());
  expect(batches).toBe('1/0a');
  expect(error).toMatchObject({ code: 'OBJECT_MISSING', details: { index: 1, soundSeq: 2 } });
});

test('a batch that is on its way has others behind it, and is no loss: the open epoch ends there for now', async () => {
  const world = new SmallJournal(['a', 'b']);
  await world.open('local', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'], acknowledged: 2 });
  const late = await world.put({ records: 'wf', in: [], acknowledged: 4 });
  // The file has it, and all of it is acknowledged; the regions have not confirmed it.
  await world.put({ records: 'wf', in: ['a'], acknowledged: 6, acknowledgedBatches: 1 });
  expect(await read(world.reading())).toMatchObject({ batches: '1/0a', end: { mark: { next: 3 }, silent: [] }, error: null });
  await world.stores.get('b')!.put(late.name, late.stored);
  expect((await read(world.reading())).batches).toBe('1/0a 1/1b 1/2a');
});

test.each(['local', 'pair'] as const)('a batch that comes while it is looked what is behind it is read, mode %s', async (mode) => {
  let come = async (): Promise<unknown> => null;
  const world: SmallJournal = new SmallJournal(['a', 'b'], (_, store) => ({
    ...store,
    list: async (prefix, options) => {
      await come();
      return store.list(prefix, options);
    },
  }));
  await world.open(mode, ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'], acknowledged: 0 });
  come = async () => {
    come = async () => null;
    await world.put({ records: 'wf', in: ['a', 'b'], acknowledged: 2 });
    await world.put({ records: '', in: ['a', 'b'], acknowledged: 4 });
  };
  expect(await read(world.reading())).toMatchObject({ batches: '1/0a 1/1a 1/2a', error: null });
});

test('without a pair the log is looked at again, and what has come to lie past an end is dropped', async () => {
  let takeOver = async (): Promise<unknown> => null;
  const world: SmallJournal = new SmallJournal(['a', 'b'], (_, store) => ({
    ...store,
    // While the last batch is read.
    get: async (name, options) => {
      if (name.endsWith('2')) await takeOver();
      return store.get(name, options);
    },
  }));
  await world.open('local', ['a']);
  await world.put({ records: 'wf', in: ['a'], acknowledged: 2 });
  const { index, seq, digest } = await world.put({ records: 'f', in: ['a'], acknowledged: 3 });
  await world.put({ records: 'f', in: ['a'], acknowledged: 4 });
  expect((await read(world.reading())).batches).toBe('1/0a 1/1a 1/2a');
  takeOver = async () => {
    takeOver = async () => null;
    return world.open('local', ['b'], { end: { index, seq, digest } }, world.anotherLog());
  };
  const { batches, end } = await read(world.reading());
  expect(batches).toBe('1/0a 1/1a');
  expect(end?.state.current).toBe(2);
});

test('an epoch that does not end as the log says is broken', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const { seq } = await world.put({ records: 'wf', in: ['a'] });
  await world.open('local', ['a'], { end: { index: 0, seq, digest: 'f'.repeat(64) } });
  expect((await read(world.reading())).error).toMatchObject({ code: 'CHAIN_BROKEN' });
});

test('heads that do not fit the first bytes, and windows that grow', async () => {
  const world = new SmallJournal(['a']);
  await world.open('local', ['a']);
  const many = Array.from({ length: 5000 }, (_, i): JournalRecord => ({ kind: 'flush', seq: i + 1 }));
  await world.put({ records: many, in: ['a'] });
  for (let i = 0; i < 200; i++) await world.put({ records: 'f', in: ['a'], acknowledged: 5000 + i });
  await world.put({ records: '', in: ['a'], acknowledged: 5200 });
  expect((await read(world.reading())).batches.split(' ')).toHaveLength(202);
  await world.open('local', ['a']);
  expect((await read(world.reading())).batches.split(' ')).toHaveLength(202);
});

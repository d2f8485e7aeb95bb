/** A region's chain: read as far as it is one history, and not a batch further. */
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { formBatch, NO_DIGEST, type BatchHead, type BatchNotes } from '../../../src/engine/journal/batch.ts';
import { walkChain, type ChainEnd, type ChainMark } from '../../../src/engine/journal/chain.ts';
import { batchName } from '../../../src/engine/journal/object-names.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { formSeal } from '../../../src/engine/journal/seal.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { KEY } from '../repository/world.ts';

const EPOCH = 4;
const BEGIN: ChainMark = { epoch: EPOCH, index: 0, next: 1, digest: NO_DIGEST, acknowledged: 0, labelUs: 0 };
const name = (index: number): string => batchName(EPOCH, index);

interface Chain {
  readonly store: MemoryStore;
  readonly digests: Buffer[];
}

const flushes = (first: number, count: number): JournalRecord[] =>
  Array.from({ length: count }, (_, i) => ({ kind: 'flush', seq: first + i }));

/** Batches of these many records each, in a store. */
function chainOf(sizes: readonly number[], over: (index: number) => Partial<BatchNotes> = () => ({})): Chain {
  const store = createMemoryStore();
  const digests: Buffer[] = [];
  let first = 1;
  for (const [index, size] of sizes.entries()) {
    const notes = {
      epoch: EPOCH,
      index,
      first,
      before: digests.at(-1) ?? NO_DIGEST,
      acknowledged: first - 1,
      acknowledgedBatches: index,
      labelUs: index,
      fold: Buffer.alloc(0),
    };
    const { stored, after } = formBatch(KEY, { ...notes, ...over(index) }, flushes(over(index).first ?? first, size), {
      level: null,
      salt: randomBytes(32),
    });
    store.objects.set(name(index), stored);
    digests.push(after);
    first += size;
  }
  return { store, digests };
}

async function walk(store: MemoryStore, mark = BEGIN): Promise<{ readonly heads: BatchHead[]; readonly end: ChainEnd }> {
  const heads: BatchHead[] = [];
  const walking = walkChain({ store, key: KEY }, mark);
  for (;;) {
    const step = await walking.next();
    if (step.done) return { heads, end: step.value };
    heads.push(step.value);
  }
}

test('to the first empty place, whatever lies behind it', async () => {
  const { store, digests } = chainOf([2, 0, 3, 1]);
  store.objects.delete(name(3));
  store.objects.set(name(4), Buffer.from('surplus'));
  const { heads, end } = await walk(store);
  expect(heads.map(({ index }) => index)).toEqual([0, 1, 2]);
  expect(end).toMatchObject({ stoppedBy: 'empty', mark: { index: 3, next: 6, digest: digests[2], acknowledged: 2 } });
});

test('to a seal', async () => {
  const { store } = chainOf([2, 1]);
  store.objects.set(name(2), formSeal(KEY, { epoch: EPOCH, index: 2 }, { by: 'other', timeMs: 0 }, randomBytes(32)));
  expect((await walk(store)).end).toMatchObject({ stoppedBy: 'seal', mark: { index: 2, next: 4 } });
});

test('from a place in the middle, as after a base', async () => {
  const { store, digests } = chainOf([2, 1, 4]);
  const at = { ...BEGIN, index: 1, next: 3, digest: digests[0]! };
  expect((await walk(store, at)).heads.map(({ index }) => index)).toEqual([1, 2]);
  await expect(walk(store, { ...at, digest: digests[1]! })).rejects.toMatchObject({ code: 'CHAIN_BROKEN' });
});

test('a head that is longer than the first read', async () => {
  const { store } = chainOf([5000, 1]);
  const { heads } = await walk(store);
  expect(heads.map(({ count }) => count)).toEqual([5000, 1]);
});

test.each([
  ['a fork', { before: Buffer.alloc(32, 1) }],
  ['a hole in the numbers', { first: 5 }],
  ['an acknowledgement that falls', { acknowledged: 0 }],
  ['a label that falls', { labelUs: 0 }],
])('%s is a break, and the last number before it is named', async (_, wrong) => {
  const { store } = chainOf([2, 1, 1, 1], (index) => (index === 2 ? wrong : {}));
  await expect(walk(store)).rejects.toMatchObject({ code: 'CHAIN_BROKEN', details: { index: 2, soundSeq: 3 } });
});

test('a batch of another epoch, or a damaged one, is refused by name', async () => {
  const { store } = chainOf([2, 1]);
  const [first, second] = [store.objects.get(name(0))!, store.objects.get(name(1))!];
  store.objects.set(name(1), first);
  await expect(walk(store)).rejects.toMatchObject({ code: 'BATCH_FOREIGN' });
  second.writeUInt8(second.readUInt8(200) ^ 1, 200);
  store.objects.set(name(1), second);
  await expect(walk(store)).rejects.toMatchObject({ code: 'DAMAGED' });
});

/**
 * A body in the tail of the longest chain is not as it was written (docs/journal.md, section 8): another copy is as good; without one
 * the end is chosen again, and nothing goes that may have been acknowledged unless somebody consents.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { formBatch, readBatch } from '../../../../src/engine/journal/batch.ts';
import type { Member } from '../../../../src/engine/journal/entries.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { batchName, copyName } from '../../../../src/engine/journal/object-names.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import type { Opened } from '../../../../src/engine/journal/takeover/opened.ts';
import { takeOver } from '../../../../src/engine/journal/takeover/take-over.ts';
import { createWorld, member, write, type World } from '../owning/world.ts';

let world: World;
let journal: Journal;
beforeEach(async () => {
  world = await createWorld('memory');
  journal = await world.open();
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const [A, B, C, D] = ['a', 'b', 'c', 'd'].map(member) as [Member, Member, Member, Member];
const BATCHES = 3;

/** The batches of epoch 1, one record in each; they say that `acknowledged` of them were. */
function batches({ before }: Opened, acknowledged: number): readonly Buffer[] {
  let digest = before;
  return Array.from({ length: BATCHES }, (_, index) => {
    const said = { epoch: 1, index, first: index + 1, before: digest, labelUs: 1, fold: Buffer.alloc(0) };
    const before = Math.min(acknowledged, index);
    const record = { ...write(`batch ${index}`), seq: index + 1 } as JournalRecord;
    const notes = { ...said, acknowledged: before, acknowledgedBatches: before };
    const { stored, after } = formBatch(journal.key, notes, [record], { level: null, salt: randomBytes(32) });
    digest = after;
    // What is formed next uses the same memory.
    return Buffer.from(stored);
  });
}

/** The last byte is of the body's tag: its head opens. */
function rotten(stored: Buffer): Buffer {
  const bytes = Buffer.from(stored);
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  return bytes;
}

/** What a region holds of them, by name: `e0 e1! b2` has the body of e1 damaged. */
interface Scene {
  readonly mode: 'pair' | 'local';
  readonly members: readonly Member[];
  readonly acknowledged?: number;
  readonly holds: Readonly<Record<string, string>>;
}

async function play({ mode, members, acknowledged = 0, holds }: Scene): Promise<void> {
  const formed = batches(await takeOver(journal, { owner: 'one', mode, members, tailLost: false }), acknowledged);
  for (const [region, objects] of Object.entries(holds))
    for (const object of objects.split(' ')) {
      const index = Number(object[1]);
      const stored = formed[index] ?? Buffer.alloc(0);
      const name = (object.startsWith('b') ? copyName : batchName)(1, index);
      await journal.regions.get(region)?.store.put(name, object.endsWith('!') ? rotten(stored) : stored);
    }
}

const next = async (members: readonly Member[], some: { readonly tailLost?: boolean; readonly ownFrom?: number } = {}): Promise<Opened> =>
  takeOver(await world.open(), {
    ...{ owner: 'two', mode: 'pair', members, tailLost: some.tailLost ?? false },
    ...(some.ownFrom === undefined ? {} : { own: { isOwner: () => true, from: some.ownFrom } }),
  });

const endOf = ({ closed }: Opened): unknown => ({ index: closed?.end?.index, full: closed?.full });

/** Of each batch below the end the regions where it opens, under either name. */
async function holders({ closed }: Opened): Promise<readonly string[]> {
  world.away.clear();
  const opens = async (region: string, name: string, index: number): Promise<boolean> => {
    const stored = (await journal.regions.get(region)?.store.get(name)) ?? null;
    try {
      return stored !== null && readBatch(journal.key, { epoch: 1, index }, name, stored) !== null;
    } catch (error) {
      if (!isHoldfastError(error, 'DAMAGED')) throw error;
      return false;
    }
  };
  return await Promise.all(
    Array.from({ length: (closed?.end?.index ?? -1) + 1 }, async (_, index) => {
      const found: string[] = [];
      for (const region of journal.regions.keys())
        if ((await opens(region, batchName(1, index), index)) || (await opens(region, copyName(1, index), index))) found.push(region);
      return found.join(' ');
    }),
  );
}

test('of a pair the other member is enough: the epoch ends before the damage, or where the other chain does, and nobody is asked', async () => {
  await play({ mode: 'pair', members: [A, B], holds: { a: 'e0 e1! e2' } });
  const opened = await next([A, B]);
  expect(endOf(opened)).toEqual({ index: 0, full: ['a', 'b'] });
  expect(await holders(opened)).toEqual(['a b']);
  expect(world.alarms.join()).toContain('"code":"DAMAGED"');
  // Its seal stands behind what it had: the owner of before comes to a stop.
  expect(await journal.regions.get('a')?.store.head(batchName(1, 3))).not.toBeNull();
});

test('of a pair both chains are damaged: what is behind may have been acknowledged', async () => {
  await play({ mode: 'pair', members: [A, B], holds: { a: 'e0! e1! e2', b: 'e0 e1!' } });
  // A third region gets copies from the first on: of batch 1 there is none.
  await expect(next([C, D])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', details: { silent: ['a: DAMAGED', 'b: DAMAGED'] } });
  const agreed = await next([C, D], { tailLost: true });
  expect(endOf(agreed)).toEqual({ index: 0, full: ['a', 'b'] });
  expect(await holders(agreed)).toEqual(['a b c']);
});

test('a good copy anywhere is as good, and the region whose own is damaged gets it, too', async () => {
  // b has it behind the place of its seal; c has what a take-over copied that never opened, its own copy of another is damaged.
  await play({ mode: 'pair', members: [A, B], holds: { a: 'e0 e1! e2!', b: 'e1', c: 'b2 b1!' } });
  const opened = await next([A, B]);
  expect(endOf(opened)).toEqual({ index: 2, full: ['a', 'b'] });
  expect(await holders(opened)).toEqual(['a b', 'a b', 'a b c']);
});

test('the other member does not answer: what is damaged may have been acknowledged, and a copy elsewhere or consent is needed', async () => {
  await play({ mode: 'pair', members: [A, B], holds: { a: 'e0 e1! e2', b: 'e0 e1 e2', d: 'b1' } });
  world.away.add('b').add('d');
  const silent = ['b: STORE_UNREACHABLE', 'a: DAMAGED'];
  await expect(next([A, C])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', details: { silent } });
  world.away.delete('d');
  const opened = await next([A, C]);
  expect(endOf(opened)).toEqual({ index: 2, full: ['a'] });
  expect(await holders(opened)).toEqual(['a b c', 'a b c d', 'a b c']);
});

test('with consent the chain is taken up to there', async () => {
  await play({ mode: 'pair', members: [A, B], holds: { a: 'e0 e1! e2' } });
  world.away.add('b');
  await expect(next([A, C])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  const opened = await next([A, C], { tailLost: true });
  expect(endOf(opened)).toEqual({ index: 0, full: ['a'] });
  expect(await holders(opened)).toEqual(['a c']);
});

test('what is known to have been acknowledged is below the end, whatever became of one body', async () => {
  await play({ mode: 'pair', members: [A, B], acknowledged: 2, holds: { a: 'e0 e1! e2', b: 'e0 e1 e2' } });
  world.away.add('b');
  const opened = await next([A, C]);
  expect(endOf(opened)).toEqual({ index: 2, full: ['a'] });
  expect(await holders(opened)).toEqual(['a b', 'b', 'a b c']);
});

test('a chain that lost its end does not stand for what the damaged one says was acknowledged', async () => {
  await play({ mode: 'pair', members: [A, B], acknowledged: 2, holds: { a: 'e0 e1 e2!', b: 'e0' } });
  const opened = await next([A, B]);
  expect(endOf(opened)).toMatchObject({ index: 1 });
  expect(await holders(opened)).toEqual(['a b', 'a']);
});

test('of local members one that is damaged may hold more: consent, or the records themselves', async () => {
  const play1 = () => play({ mode: 'local', members: [A, B], holds: { a: 'e0 e1! e2', b: 'e0' } });
  await play1();
  await expect(next([C, D])).rejects.toMatchObject({ code: 'TAIL_LOST', details: { silent: ['a: DAMAGED'] } });
  await expect(next([C, D], { ownFrom: 3 })).rejects.toMatchObject({ code: 'TAIL_LOST' });
  const opened = await next([C, D], { ownFrom: 2 });
  expect(endOf(opened)).toEqual({ index: 0, full: ['a', 'b'] });

  await world[Symbol.asyncDispose]();
  world = await createWorld('memory');
  journal = await world.open();
  await play1();
  expect(endOf(await next([C, D], { tailLost: true }))).toEqual({ index: 0, full: ['a', 'b'] });
});

test('a place that is empty is no end while what is behind it, and would say so, is damaged', async () => {
  await play({ mode: 'pair', members: [A, B], acknowledged: 2, holds: { a: 'e2', b: 'e0 e1 e2' } });
  const witness = journal.regions.get('a')?.store;
  const stored = (await witness?.get(batchName(1, 2))) ?? Buffer.alloc(0);
  // Its head: nothing of it is to be read.
  await witness?.put(batchName(1, 2), stored.subarray(0, 90));
  world.away.add('b');
  await expect(next([A, C])).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
    details: { silent: ['a: CHAIN_BROKEN', 'b: STORE_UNREACHABLE'] },
  });
  world.away.delete('b');
  expect(endOf(await next([A, B]))).toMatchObject({ index: 2 });
});

/**
 * An owner that finds seal after seal and no OPEN (docs/journal.md, section 8): it opens again by itself, and leaves whoever seals twice
 * as long each time, for with slow stores a take-over takes long. A journal that was left alone for a while is as at first.
 */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import { formSeal } from '../../../../src/engine/journal/seal.ts';
import { brokenPromises, readAll } from './reader.ts';
import { createWorld, ownPair } from './world.ts';

/** The first wait, and the longest. */
const FIRST_MS = 500;
const LONGEST_MS = 32_000;
const SEALS = 9;

/** Puts a seal in the place of the next batch, in one region. */
async function seal({ key, regions }: Journal, epoch: number): Promise<void> {
  const store = regions.get('a')?.store;
  for (let index = 0; ; index++) {
    const sealed = formSeal(key, { epoch, index }, { by: 'somebody', timeMs: 1 }, randomBytes(32));
    if ((await store?.put(batchName(epoch, index), sealed, { ifAbsent: true })) === 'created') return;
  }
}

test('each seal that is found has whoever put it left twice as long, up to half a minute; a quiet minute makes it short again', async () => {
  await using world = await createWorld('memory');
  let ahead = 0;
  const waits: number[] = [];
  const journal = await world.open(undefined, {
    nowMs: () => Date.now() + ahead,
    sleep: async (ms) => {
      // All others are shorter, or of a random length.
      if (ms >= FIRST_MS && Number.isInteger(Math.log2(ms / FIRST_MS))) waits.push(ms);
      await wait(Math.min(ms, 5));
    },
  });
  const limits = { batchMs: 1e6, memberMsMax: 1e9, memberAttemptsMax: 1e9 };
  await using owner = await ownPair(journal, 'one', { limits });
  const told = new Map<number, string>();
  const sealed = async (): Promise<void> => {
    const { epoch } = owner;
    await seal(journal, epoch);
    told.set(await owner.flush(), 'flush');
    expect(owner.epoch).toBeGreaterThan(epoch);
  };
  for (let i = 0; i < SEALS; i++) await sealed();
  expect(waits).toEqual(Array.from({ length: SEALS }, (_, i) => Math.min(FIRST_MS * 2 ** i, LONGEST_MS)));
  // The clock of an owner goes on by 5 s at the most from one look to the next.
  for (let passed = 0; passed <= 60_000; passed += 5000) {
    ahead += 5000;
    told.set(await owner.flush(), 'flush');
  }
  waits.length = 0;
  await sealed();
  await sealed();
  expect(waits).toEqual([FIRST_MS, 2 * FIRST_MS]);
  expect(brokenPromises(await readAll(journal), told)).toEqual([]);
});

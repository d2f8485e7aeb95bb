/** Filling the members of a stream: each has its turn, whatever became of the others. */
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { backfillStream } from '../../../src/systems/regions/stream-status.ts';
import { SmallJournal } from '../../engine/journal/reading/small-journal.ts';

test('a region that cannot be filled keeps no other from it, and is told in the end', async () => {
  const refusing = () => Promise.reject(new HoldfastError('STORE_FULL', 'no room'));
  const world = new SmallJournal(['a', 'b', 'c', 'd'], (region, store) => (region === 'c' ? { ...store, put: refusing } : store));
  await world.open('pair', ['a', 'b']);
  await world.put({ records: 'wf', in: ['a', 'b'] });
  await world.open('pair', ['c', 'd']);
  const told: string[] = [];
  await expect(backfillStream(world.reading(), (region) => void told.push(region))).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(told).toEqual(['c', 'd']);
  expect((await world.journal.log.sync()).epochs.get(1)?.full).toEqual(['a', 'b', 'd']);
});

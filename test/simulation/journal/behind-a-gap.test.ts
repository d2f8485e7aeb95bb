/**
 * The model's two open seeds (38 and 87 of `journal_sim.py async`), as one story: the end of an epoch lies behind a gap that no base has
 * followed, the owner's file is lost, and of the regions one has a base behind an older gap, one has none, and one is destroyed.
 *
 * The model asked region after region for the end and went on below the first gap of the one that it had asked *last*: for a region
 * without bases that is the oldest gap of all, below the floor, where it began again, for ever. Points are the journal's, not a region's:
 * the newest one is the same whoever is asked first.
 */
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { recordFuzzyBase } from '../../../src/engine/journal/keeping/fuzzy-base.ts';
import { openLocal } from '../../../src/engine/journal/owning/own-file.ts';
import { Owner } from '../../../src/engine/journal/owning/owner.ts';
import { listPoints } from '../../../src/engine/journal/reading/points.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import { planRecovery } from '../../../src/engine/journal/recovery/plan.ts';
import { replay } from '../../../src/engine/journal/recovery/replay.ts';
import { createWorld, member, QUICK } from '../../engine/journal/owning/world.ts';
import { createRandom } from '../random.ts';
import { BLOCK_BYTES, bytesOf, valuesOf } from './histories.ts';
import { createBases } from './snapshots.ts';

const write = (value: number, block: number) =>
  ({ kind: 'write', volume: 0, offset: block * BLOCK_BYTES, data: bytesOf([value]) }) as const;

test('behind a gap the newest point that is whole is found, whichever region is asked first', async () => {
  await using world = await createWorld('memory');
  const journal = await world.open();
  const members = [member('a'), member('b')];
  const local = (machine: string) =>
    openLocal({ journal, folder: path.join(world.folder, machine), owner: machine, members, from: 'anyone', tailLost: false });

  const before = await local('n0');
  {
    await using owner = new Owner({ journal, opened: before.opened, writeAhead: before.writeAhead, limits: QUICK });
    await owner.append([write(1, 0)]);
    expect(await owner.flush()).toBe(2);
    await owner.append([{ kind: 'gap' }, write(2, 1)]);
    expect(await owner.flush()).toBe(5);
    await owner.drain();
    const regionA = journal.regions.get('a');
    if (regionA === undefined) throw new Error('no region a');
    const bases = createBases({ region: 'a', store: regionA.store, random: createRandom(1), serial: () => 1, volumes: 1 });
    const image = (async function* () {
      yield { volume: 0, offset: 0, length: 2 * BLOCK_BYTES, data: bytesOf([1, 2]) };
    })();
    const epoch = before.opened.epoch;
    const snapshots = await bases.write([], image, { epoch, from: 3, takenMs: 0, consistency: 'fuzzy' });
    const recorded = await recordFuzzyBase(readingOf(journal), { region: 'a', snapshots, epoch, from: 3, to: 5 });
    expect(recorded.kind).toBe('recorded');
    await owner.append([write(3, 2)]);
    expect(await owner.flush()).toBe(7);
    await owner.append([{ kind: 'gap' }, write(4, 3)]);
    expect(await owner.flush()).toBe(10);
    await owner.drain();
  }
  await before.writeAhead[Symbol.asyncDispose]();
  world.destroy('c');

  const { opened, writeAhead } = await local('n1');
  expect(opened.start).toBe(11);
  const epoch = before.opened.epoch;
  for (const prefer of [
    ['a', 'b'],
    ['b', 'a'],
    ['d', 'b', 'a'],
  ]) {
    const reading = readingOf(journal, { prefer, lost: new Set(['c']) });
    await expect(planRecovery(reading, { point: { epoch, seq: 10 } })).rejects.toMatchObject({ code: 'POINT_GONE' });
    const { points } = await listPoints(reading);
    expect(points.map(({ seq }) => seq)).toEqual([2, 5, 7]);
    const plan = await planRecovery(reading, { point: { epoch, seq: 7 } });
    expect(plan.region).toBe('a');
    const written: number[] = [];
    for await (const { offset, data } of replay(reading, plan)) written[offset / BLOCK_BYTES] = valuesOf(Buffer.from(data ?? []))[0] ?? 0;
    expect(written[2]).toBe(3);
    expect(written[3]).toBeUndefined();
  }
  await writeAhead[Symbol.asyncDispose]();
});

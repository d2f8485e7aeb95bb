/**
 * The fold of a journal's log against regions that really hold or lack things: no point at or above the floor is ever lost to
 * collection, no region is said to hold what it lacks, epochs join, and what may once be deleted may be for ever (J1, J4, J5, J9 to J13).
 * HOLDFAST_SEED=n repeats one case.
 */
import { expect, test } from '@jest/globals';
import { mayDeleteBatch, mayDeleteSnapshot } from '../../../src/engine/journal/collection.ts';
import { journalEntrySchema } from '../../../src/engine/journal/entries.ts';
import type { JournalState } from '../../../src/engine/journal/state.ts';
import { seededRandom } from '../../../src/ground/stores/faulty.ts';
import { SmallWorld } from './small-world.ts';

const SEEDS = 400;
const STEPS = 150;
const MET = [
  'OPEN',
  'OPEN refused',
  'HELD',
  'BASE',
  'BASE refused',
  'FLOOR',
  'FLOOR refused',
  'PIN',
  'UNPIN',
  'deleted batches',
  'deleted snapshots',
];
const seeds =
  process.env['HOLDFAST_SEED'] === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(process.env['HOLDFAST_SEED'])];

/** Everything that may be deleted in this view, of all that was ever there. */
function deletable(world: SmallWorld, view: JournalState): Set<string> {
  const found = new Set<string>();
  for (const region of world.regions.keys())
    for (const [epoch, batches] of world.written)
      for (const { index } of batches) if (mayDeleteBatch(view, region, epoch, index)) found.add(`${region} ${epoch}/${index}`);
  for (const snapshot of world.snapshots)
    if (mayDeleteSnapshot(view, snapshot.region, snapshot)) found.add(`${snapshot.region} ${snapshot.id}`);
  return found;
}

test('whatever owners, backfill, folding and collection do, nothing above the floor is lost', () => {
  const counts: Record<string, number> = {};
  for (const seed of seeds) {
    const world = new SmallWorld(seededRandom(seed));
    for (let step = 0; step < STEPS; step++) {
      world.step();
      expect([`HOLDFAST_SEED=${seed}, step ${step}`, ...world.faults()]).toEqual([`HOLDFAST_SEED=${seed}, step ${step}`]);
    }
    for (const [what, count] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + count;
  }
  if (seeds.length < SEEDS) return;
  // Chance has met everything that it is to meet.
  expect(Object.keys(counts)).toEqual(expect.arrayContaining(MET));
});

test('what may be deleted in one view may be deleted in every later one; ends and the floor do not go back', () => {
  for (const seed of seeds.slice(0, 100)) {
    const world = new SmallWorld(seededRandom(seed));
    for (let step = 0; step < STEPS; step++) world.step();
    let before = new Set<string>();
    for (const [i, view] of world.views.entries()) {
      const now = deletable(world, view);
      const previous = world.views[i - 1];
      const gone = [...before].filter((one) => !now.has(one));
      expect([`HOLDFAST_SEED=${seed}, record ${i}`, ...gone]).toEqual([`HOLDFAST_SEED=${seed}, record ${i}`]);
      expect(view.floor).toBeGreaterThanOrEqual(previous?.floor ?? 0);
      for (const { epoch, end } of previous?.epochs.values() ?? []) if (end !== null) expect(view.epochs.get(epoch)?.end).toEqual(end);
      before = now;
    }
  }
});

test('what is proposed is of the form that the log takes, and a state is not changed by what follows it', () => {
  for (const seed of seeds.slice(0, 30)) {
    const world = new SmallWorld(seededRandom(seed));
    const told = new Map<JournalState, string>();
    const { propose } = world;
    world.propose = (entry) => {
      expect(journalEntrySchema.parse(JSON.parse(JSON.stringify(entry)))).toEqual(entry);
      propose.call(world, entry);
      told.set(world.state, told.get(world.state) ?? tell(world.state));
    };
    for (let step = 0; step < STEPS; step++) world.step();
    for (const [state, before] of told) expect(tell(state)).toBe(before);
  }
});

const tell = (state: JournalState): string =>
  JSON.stringify([state.n, state.floor, state.current, [...state.epochs], [...state.bases], [...state.highest], [...state.pins]]);

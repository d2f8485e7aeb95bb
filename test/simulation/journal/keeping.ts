/** The jobs that keep a journal in order, each as one process with a view of its own age. */
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { backfillRegion } from '../../../src/engine/journal/keeping/backfill.ts';
import type { Bases } from '../../../src/engine/journal/keeping/bases.ts';
import { collectRegion } from '../../../src/engine/journal/keeping/collecting.ts';
import { foldRegion } from '../../../src/engine/journal/keeping/fold.ts';
import { applyRetention, datesOf } from '../../../src/engine/journal/keeping/retention.ts';
import { isDamage } from '../../../src/engine/journal/reading/reading.ts';
import { currentEpoch, type JournalState } from '../../../src/engine/journal/state.ts';
import type { Process } from '../scheduler.ts';
import { readingIn } from './recovering.ts';
import type { World } from './world.ts';

const basesIn = (world: World, process: Process): ReadonlyMap<string, Bases> =>
  new Map([...world.regions.keys()].map((region) => [region, world.basesOf(process, region)]));

/** Fills the members of the current epoch up. One that cannot be filled keeps none of the others from it: outside, each is a job of its own. */
export async function backfill(world: World, process: Process, journal: Journal): Promise<void> {
  const damage: unknown[] = [];
  for (const { region } of currentEpoch(await journal.log.sync())?.members ?? [])
    try {
      const { held, basesCopied } = await backfillRegion(readingIn(world, journal), region, { bases: basesIn(world, process) });
      if (held.length > 0) world.count('backfills');
      if (basesCopied > 0) world.count('bases copied');
    } catch (error) {
      if (!isDamage(error)) throw error;
      damage.push(error);
    }
  if (damage.length > 0) throw damage[0];
}

/** Folds a region, or every member in turn, at the newest batch or at one of chance. */
export async function fold(world: World, process: Process, journal: Journal): Promise<void> {
  const { random, oracle } = world;
  const state = await journal.log.sync();
  const members = (currentEpoch(state)?.members ?? []).map(({ region }) => region);
  const by = random.chance(0.25) ? random.between(state.floor, oracle.closed.length + 20) : Infinity;
  for (const region of random.chance(0.5) ? members : [pickRegion(world, state)]) {
    const folded = await foldRegion(readingIn(world, journal), world.basesOf(process, region), { by });
    world.count(`fold: ${folded.kind}`);
  }
}

/** All of it in turn, as a controller does every hour. */
export async function keep(world: World, process: Process, journal: Journal): Promise<void> {
  await backfill(world, process, journal);
  await fold(world, process, journal);
  await raiseFloor(world, process, journal);
  for (const { region } of currentEpoch(journal.log.known())?.members ?? [])
    await collectRegion(journal, region, { bases: world.basesOf(process, region) });
}

/** Raises the floor, perhaps, and collects a region, perhaps from a view that has grown old meanwhile. */
export async function collect(world: World, process: Process, journal: Journal): Promise<void> {
  const { random } = world;
  let state = await journal.log.sync();
  if (random.chance(0.5)) await raiseFloor(world, process, journal);
  if (random.chance(0.5)) state = await journal.log.sync();
  if (random.chance(0.3)) await process.nap(random.below(200));
  const region = pickRegion(world, state);
  await collectRegion(journal, region, { bases: world.basesOf(process, region), state });
}

async function raiseFloor(world: World, process: Process, journal: Journal): Promise<void> {
  const members = currentEpoch(await journal.log.sync())?.members ?? [];
  const taken = await datesOf(members.map(({ region }) => world.basesOf(process, region)));
  const { heldBy, floor } = await applyRetention(journal, taken, { windowMs: world.random.pick([0, 0, 2000]), frozen: false });
  world.count(`floor: ${floor === null ? heldBy : 'raised'}`);
}

/** Mostly a member, for there is most to do there. */
function pickRegion({ random, regions }: World, state: JournalState): string {
  const members = (currentEpoch(state)?.members ?? []).map(({ region }) => region);
  return random.pick(members.length > 0 && random.chance(0.7) ? members : [...regions.keys()]);
}

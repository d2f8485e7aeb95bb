/** What the other processes do with a journal: they read and restore, and keep it in order (keeping.ts), all with the product's code. */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { pinPoint, unpin } from '../../../src/engine/journal/keeping/pins.ts';
import { isDamage } from '../../../src/engine/journal/reading/reading.ts';
import { listPoints, type Hole, type RecoveryPoint } from '../../../src/engine/journal/reading/points.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { backfill, collect, fold, keep } from './keeping.ts';
import { listedIn } from './points.ts';
import { readingIn, recoverAt } from './recovering.ts';
import { isNeededBy } from './reference.ts';
import { rehydrate } from './rehydrating.ts';
import type { JobKind, World } from './world.ts';

export async function runJob(world: World, process: Process, kind: JobKind): Promise<void> {
  const journal = world.journalOf(process);
  switch (kind) {
    case 'read':
      await read(world, journal);
      return;
    case 'restore':
      return restore(world, process, journal, 'whole');
    case 'rehydrate':
      return restore(world, process, journal, 'at once');
    case 'keep':
      return keep(world, process, journal);
    case 'fold':
      return fold(world, process, journal);
    case 'collect':
      return collect(world, process, journal);
    case 'backfill':
      return backfill(world, process, journal);
  }
}

/** Lists points; a number that was ever shown to be one record stays that record. */
async function read({ random, ...world }: World, journal: Journal): Promise<readonly RecoveryPoint[]> {
  const found: RecoveryPoint[] = [];
  const limit = random.pick([2, 10, 1000]);
  for (let after: number | null = 0; after !== null;) {
    const page = await listPoints(readingIn({ random, ...world }, journal), { after, limit });
    found.push(...page.points);
    for (const hole of page.holes) checkHole(world, hole);
    after = page.next;
  }
  let before: RecoveryPoint | undefined;
  for (const point of found) {
    if (before !== undefined && before.seq >= point.seq) throw new Violation(`points do not ascend at ${point.seq}`);
    before = point;
    const moment = world.oracle.momentOf(point.epoch, point.seq);
    // In mode `local` the end may have fallen below it since.
    if (moment === null) {
      if (world.mode === 'local') continue;
      throw new Violation(`point ${point.seq} of epoch ${point.epoch} is listed, and is not in the journal`);
    }
    if (world.mode === 'pair') world.oracle.saw(point.seq, moment);
  }
  world.count('points listed');
  return found;
}

/** Where nothing was harmed or destroyed, a batch of the open epoch that is needed and that nobody has is on its way, and not lost. */
function checkHole({ oracle, regions, rots }: Omit<World, 'random'>, { epoch, index, code }: Hole): void {
  const names = [...regions.keys()];
  const isWhole = rots === null && !names.some((region) => oracle.isGone(region));
  const state = oracle.state();
  const isNeeded = epoch === state.current && names.every((region) => isNeededBy(state, region, epoch, index));
  if (isWhole && isNeeded && code !== 'STORE_UNREACHABLE')
    throw new Violation(`batch ${index} of epoch ${epoch} is listed as a hole, and nothing was harmed`);
}

/** Pins a listed point and recovers it, whole or at once: it must come back, exactly. */
async function restore(world: World, process: Process, journal: Journal, how: 'whole' | 'at once'): Promise<void> {
  const points = await read(world, journal);
  if (points.length === 0) return;
  const { epoch, seq } = world.random.pick(points);
  const point = { epoch, seq };
  const pin = `pin-${world.serial()}`;
  await pinPoint(journal, { pin, point, untilMs: Number.MAX_SAFE_INTEGER, why: 'simulated' });
  const moment = world.oracle.momentOf(epoch, seq);
  // Some are kept for as long as a person looks at them.
  await process.nap(world.random.pick([0, 0, 100, 400]));
  try {
    if (how === 'whole') await recoverAt(world, process, journal, point);
    else if (moment !== null) await rehydrate(world, process, journal, point, moment);
    world.count('points recovered');
  } catch (error) {
    if (!isHoldfastError(error, 'POINT_GONE') && !isDamage(error)) throw error;
    const { pins } = world.oracle.state();
    const holders = [...world.regions.keys()].filter((region) => region !== world.rots && listedIn(world, region).has(seq));
    if (pins.has(pin) && holders.length > 0)
      throw new Violation(`pinned point ${seq} of epoch ${epoch} is in ${holders.join()} and is said to be gone: ${error.message}`);
    world.count('points gone');
  }
  await unpin(journal, pin);
}

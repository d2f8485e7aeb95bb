/**
 * An instant recovery while the journal goes on: a point is pinned and served at once, clients read and write, the background fills it.
 * What it reads may be folded, copied, collected and lost with its region meanwhile; then it is planned anew.
 */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { isSilence } from '../../../src/engine/journal/reading/reading.ts';
import { createOverlay, type Overlay } from '../../../src/engine/journal/recovery/overlay.ts';
import type { Point } from '../../../src/engine/journal/recovery/plan.ts';
import { allEnded } from '../../../src/ground/threads/all-ended.ts';
import type { Process } from '../scheduler.ts';
import { drawOp } from './draw-op.ts';
import { BLOCK_BYTES, BLOCKS, type Moment } from './histories.ts';
import { createInstant, EXTENT_BYTES, type FetchExtent, type InstantVolumes } from './instant.ts';
import { isOfBase, nothingFound, openPoint, type Found } from './recovering.ts';
import type { World } from './world.ts';

/** Tries of an extent, each over a plan of its own. */
const TRIES_MAX = 5;
const CLIENTS = 3;

/** The point that was pinned. Errors as of `planRecovery` and `replay`; a wrong byte is a violation. */
export async function rehydrate(world: World, process: Process, journal: Journal, point: Point, moment: Moment): Promise<void> {
  const { random, histories, temper } = world;
  const fetch = fetchFrom(world, process, journal, point);
  const disks = createInstant({ process, random, volumes: temper.volumes, content: histories.contentOf(moment), fetch });
  await allEnded([disks.fill(), ...Array.from({ length: CLIENTS }, () => use(world, process, disks))]);
  disks.verify();
  world.count('rehydrations');
}

async function use(world: World, process: Process, disks: InstantVolumes): Promise<void> {
  const { random, temper } = world;
  for (let left = random.below(4); left > 0; left--) {
    await process.nap(random.below(8));
    const from = random.below(BLOCKS);
    if (random.chance(0.5)) await disks.change(drawOp(world));
    else await disks.read(random.below(temper.volumes), from * BLOCK_BYTES, random.between(1, BLOCKS - from + 1) * BLOCK_BYTES);
  }
}

/** One overlay for all; who finds that it does not do any more makes the next. */
function fetchFrom(world: World, process: Process, journal: Journal, point: Point): FetchExtent {
  let opened: Promise<Overlay> | null = null;
  const found = nothingFound();
  return async (volume, extent) => {
    for (let tries = 1; ; tries++) {
      const overlay = (opened ??= overlayAt(world, process, journal, point, found));
      try {
        const into = Buffer.alloc(EXTENT_BYTES, 0xff);
        await (await overlay).read(volume, into, extent * EXTENT_BYTES);
        return into;
      } catch (error) {
        if (tries === TRIES_MAX || !(isOfBase(error, found) || isSilence(error) || isHoldfastError(error, 'POINT_GONE'))) throw error;
        if (opened === overlay) opened = null;
        world.count('rehydrations planned anew');
        await process.nap(world.random.below(40));
      }
    }
  };
}

export async function overlayAt(
  world: World,
  process: Process,
  journal: Journal,
  point: Point,
  found: Found = nothingFound(),
): Promise<Overlay> {
  const { reading, plan, images } = await openPoint(world, process, journal, point, found);
  return createOverlay(reading, plan, async (volume, into, offset) => {
    const image = images.get(volume);
    if (image === undefined) into.fill(0);
    else await image.read(into, offset);
  });
}

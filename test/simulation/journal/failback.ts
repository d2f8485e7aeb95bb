/**
 * Failback: the machine that was overtaken gets what changed since, and takes the journal again.
 *
 *     end of its last epoch ──▶ places of its own above that, and of the journal after it ──▶ fetched from a point ──▶ again, from there on
 *         ──▶ whoever owns the journal is asked to hand it over ──▶ takeover ──▶ the rest, up to the end of what it has taken over
 *
 * Its volumes then hold what the journal says, and nothing but changed places was read. Where order was lost in between, or the floor
 * has passed where it stood, nobody knows what changed: it begins like a machine without volumes.
 */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { listPoints } from '../../../src/engine/journal/reading/points.ts';
import { isDamage } from '../../../src/engine/journal/reading/reading.ts';
import { changedSince } from '../../../src/engine/journal/recovery/changed.ts';
import type { Point } from '../../../src/engine/journal/recovery/plan.ts';
import { currentEpoch } from '../../../src/engine/journal/state.ts';
import type { Opened } from '../../../src/engine/journal/takeover/opened.ts';
import { ownerName } from '../../../src/engine/journal/takeover/owner-mark.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { BLOCK_BYTES, BLOCKS, sameContent, valuesOf, VOLUMES_MAX, type Content } from './histories.ts';
import { readingIn } from './recovering.ts';
import { overlayAt } from './rehydrating.ts';
import { blocksIn, isUsable, type Standing } from './standing.ts';
import type { World } from './world.ts';

/** Steps for which somebody who is asked to hand over is waited for. */
const WAITS_MAX = 12;
const WAIT_STEPS = 10;

/** Volumes on their way, and the point that they are at. */
export interface Following {
  readonly at: Point;
  readonly content: Content;
}

type Task = readonly [world: World, process: Process, journal: Journal];

/** Brings the volumes of a machine that was overtaken near to what the journal says, and asks for it; null: they are of no use, or still its own. */
export async function beginFailback([world, process, journal]: Task, standing: Standing | null): Promise<Following | null> {
  if (standing === null || !isUsable(standing)) return null;
  const state = await journal.log.sync();
  const own = [...state.epochs.values()].findLast(({ owner }) => ownerName(owner) === standing.name);
  if (own === undefined || own.end === null || own.end.seq < standing.orderSince) return null;
  if (currentEpoch(state)?.epoch === own.epoch) return null;
  const end = { epoch: own.epoch, seq: own.end.seq };
  // What was written above the end is no part of the journal, and its places hold it still.
  const stale = new Set([...standing.places].flatMap(([seq, blocks]) => (seq > end.seq ? blocks : [])));
  world.count('failbacks begun');
  const newest = (await newestPoint([world, process, journal], end.seq)) ?? end;
  const next = await catchUp([world, process, journal], { at: end, content: standing.content }, newest, stale);
  if (next === null) return null;
  world.drained = null;
  world.handOverWanted = true;
  for (let waited = 0; waited < WAITS_MAX && world.drained === null; waited++) await process.nap(WAIT_STEPS);
  world.handOverWanted = false;
  return next;
}

/** The volumes at the end of what was taken over; null: nobody knows. */
export async function endFailback(
  [world, process, journal]: Task,
  following: Following,
  { closed, start }: Opened,
): Promise<Content | null> {
  if (closed === null) return null;
  if (world.drained?.epoch === closed.epoch) world.count('planned switches');
  const there = await catchUp([world, process, journal], following, { epoch: closed.epoch, seq: start - 1 });
  if (there === null) return null;
  world.count('failbacks');
  return there.content;
}

async function newestPoint([world, , journal]: Task, above: number): Promise<Point | null> {
  let newest: Point | null = null;
  for (let after: number | null = above; after !== null;) {
    const { points, next } = await listPoints(readingIn(world, journal), { after });
    newest = points.at(-1) ?? newest;
    after = next;
  }
  return newest;
}

/** The volumes as they are at a later point, of which only places that changed since are read, and those of `stale`; null: what changed is not known. */
async function catchUp(
  [world, process, journal]: Task,
  { at, content }: Following,
  through: Point,
  stale: ReadonlySet<number> = new Set(),
): Promise<Following | null> {
  try {
    const changed = await changedSince(readingIn(world, journal), { after: at, through });
    if (changed.kind === 'unknown') {
      world.count('failbacks over a gap');
      return null;
    }
    const blocks = new Set(stale);
    for (let volume = 0; volume < VOLUMES_MAX; volume++)
      for (const { offset, length } of changed.places(volume)) for (const block of blocksIn(volume, offset, length)) blocks.add(block);
    const next = await fetched([world, process, journal], content, blocks, through);
    check(world, through, next);
    return { at: through, content: next };
  } catch (error) {
    if (!isHoldfastError(error, 'POINT_GONE') && !isDamage(error)) throw error;
    world.count('failbacks given up');
    return null;
  }
}

async function fetched([world, process, journal]: Task, content: Content, blocks: ReadonlySet<number>, point: Point): Promise<Content> {
  if (blocks.size === 0) return content;
  const overlay = await overlayAt(world, process, journal, point);
  const next = [...content];
  for (const block of blocks) {
    const into = Buffer.alloc(BLOCK_BYTES, 0xff);
    await overlay.read(Math.floor(block / BLOCKS), into, (block % BLOCKS) * BLOCK_BYTES);
    next[block] = valuesOf(into)[0] ?? 0;
    world.count('failback: blocks read');
  }
  return next;
}

/** The volumes are what was written by then, though only a part of them was read. */
function check({ oracle, histories }: World, { epoch, seq }: Point, content: Content): void {
  const moment = oracle.momentOf(epoch, seq);
  if (moment !== null && !sameContent(content, histories.contentOf(moment)))
    throw new Violation(`volumes that were brought to ${seq} of epoch ${epoch} hold something else`);
}

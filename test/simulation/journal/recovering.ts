/** Recovers the volumes at a point with the product's plan and replay, and holds them against what was written. */
import { HoldfastError, isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import type { BaseImage } from '../../../src/engine/journal/keeping/bases.ts';
import { listPoints } from '../../../src/engine/journal/reading/points.ts';
import { isDamage, isSilence, readingOf, type Reading } from '../../../src/engine/journal/reading/reading.ts';
import { lossOf, type Loss } from '../../../src/engine/journal/recovery/loss.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../../src/engine/journal/recovery/plan.ts';
import { replay } from '../../../src/engine/journal/recovery/replay.ts';
import type { Opened } from '../../../src/engine/journal/takeover/opened.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { BLOCK_BYTES, BLOCKS, EMPTY_CONTENT, sameContent, valuesOf, type Content } from './histories.ts';
import { SNAPSHOTS } from './snapshots.ts';
import { shuffled, type World } from './world.ts';

export const readingIn = (world: World, journal: Journal): Reading =>
  readingOf(journal, {
    prefer: shuffled(world.random, [...world.regions.keys()]),
    lost: world.lost(),
    onDamage({ region, object, message }) {
      if (!isHarmed(world, region, object)) throw new Violation(`${object} in ${region} was refused, and is sound: ${message}`);
      world.count('harm found');
    },
  });

/** A batch or seal by its name, a base by the ids of its snapshots. */
function isHarmed({ regions }: World, region: string, object: string): boolean {
  const harmed = regions.get(region)?.wasHarmed ?? new Set();
  return harmed.has(object) || object.split(',').some((id) => harmed.has(`${SNAPSHOTS}${id}`));
}

/** The volumes at a point. Errors as of `planRecovery` and `replay`. */
export async function recoverAt(world: World, process: Process, journal: Journal, point: Point): Promise<Content> {
  const found = nothingFound();
  for (let tries = 1; ; tries++)
    try {
      return await recoverOnce(world, process, journal, point, found);
    } catch (error) {
      if (tries === RECOVERIES_MAX || !isOfBase(error, found)) throw isSilence(error) ? error : (found.lost?.why ?? error);
      // The floor rose under the plan, and what it began with is collected: a newer base leads there.
      world.count('recoveries planned anew');
      await journal.log.sync();
    }
}

const RECOVERIES_MAX = 4;

/** What is not to be had, as a recovery has found. */
export interface Found {
  /** Snapshots of bases. */
  readonly unusable: Set<string>;
  lost: Loss | null;
}

export const nothingFound = (): Found => ({ unusable: new Set(), lost: null });

/** Whether another base may lead there: it was collected under the plan; or it, or a batch above it, is damaged, and then it is not taken again. */
export function isOfBase(error: unknown, found: Found): boolean {
  if (!isDamage(error)) return false;
  const { snapshot } = error.details;
  if (typeof snapshot === 'string') found.unusable.add(snapshot);
  if (typeof snapshot === 'string' || error.code === 'OBJECT_MISSING') return true;
  const loss = lossOf(error, found.lost);
  found.lost = loss ?? found.lost;
  return loss !== null;
}

interface OpenedPoint {
  readonly reading: Reading;
  readonly plan: RecoveryPlan;
  /** Of the base, by volume. */
  readonly images: ReadonlyMap<number, BaseImage>;
}

/** A plan whose base can be had; one that is gone is left for the next, as the product does it. */
export async function openPoint(
  world: World,
  process: Process,
  journal: Journal,
  point: Point,
  found: Found = nothingFound(),
): Promise<OpenedPoint> {
  const reading = readingIn(world, journal);
  const unusable = new Set(found.unusable);
  for (;;) {
    const plan = await planRecovery(reading, { point, unusable, beyond: found.lost?.place ?? null });
    const { start, region } = plan;
    const images = new Map<number, BaseImage>();
    const missing: string[] = [];
    for (const { volume, id } of start.kind === 'base' ? start.base.snapshots : []) {
      const image = await world.basesOf(process, region).open(id);
      if (image === null) missing.push(id);
      else images.set(volume, image);
    }
    const [id] = missing;
    if (id === undefined) return { reading, plan, images };
    if (unusable.has(id)) throw new HoldfastError('OBJECT_MISSING', `base ${id} of ${region} is not there`);
    for (const one of missing) unusable.add(one);
  }
}

async function recoverOnce(world: World, process: Process, journal: Journal, point: Point, found: Found): Promise<Content> {
  const { reading, plan, images } = await openPoint(world, process, journal, point, found);
  const content = [...EMPTY_CONTENT];
  for (const [volume, image] of images) {
    const bytes = Buffer.alloc(image.sizeBytes);
    await image.read(bytes, 0);
    content.splice(volume * BLOCKS, BLOCKS, ...valuesOf(bytes));
  }
  for await (const { volume, offset, length, data } of replay(reading, plan)) {
    const values = data === null ? Array.from({ length: length / BLOCK_BYTES }, () => 0) : valuesOf(Buffer.from(data));
    content.splice(volume * BLOCKS + offset / BLOCK_BYTES, values.length, ...values);
  }
  const moment = world.oracle.momentOf(point.epoch, point.seq);
  const end = world.oracle.state().epochs.get(point.epoch)?.end;
  // Of mode `local`: somebody has consented to an end below it, while it was recovered.
  if (moment === null && world.mode === 'local' && end !== null && end !== undefined && end.seq < point.seq)
    throw new HoldfastError('POINT_GONE', 'the epoch ends before the point by now', { ...point });
  if (moment === null) throw new Violation(`point ${point.seq} of epoch ${point.epoch} was recovered, and nobody has written it`);
  if (!sameContent(content, world.histories.contentOf(moment)))
    throw new Violation(`point ${point.seq} of epoch ${point.epoch} was recovered, and is not what was written by then`);
  return content;
}

/**
 * What the volumes hold where an epoch begins: null, when that is the end of the one before. Where that end lies behind a gap that no
 * base has followed, the newest point that is listed, and then it is no moment of the journal: a gap of the new owner goes first.
 */
export async function recoverEnd(world: World, process: Process, journal: Journal, { closed, start }: Opened): Promise<Content | null> {
  if (closed === null || start === 1) return null;
  try {
    await recoverAt(world, process, journal, { epoch: closed.epoch, seq: start - 1 });
    return null;
  } catch (error) {
    if (!isHoldfastError(error, 'POINT_GONE')) throw error;
  }
  world.count('takeovers behind a gap');
  let newest: Point | null = null;
  for (let after: number | null = 0; after !== null;) {
    const { points, next } = await listPoints(readingIn(world, journal), { after });
    newest = points.filter(({ seq }) => seq < start).at(-1) ?? newest;
    after = next;
  }
  if (newest === null) world.count('takeovers without any point');
  return newest === null ? EMPTY_CONTENT : recoverAt(world, process, journal, newest);
}

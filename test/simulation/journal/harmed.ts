/**
 * The end of some runs: objects of any region rot and vanish, the only copies with them, and what is left is read.
 *
 * A point comes back exactly, or it is said what is missing. It does come back when nothing that any region needs is lost everywhere. A
 * number up to which the journal is said to be sound is followed by a batch that is sound nowhere, and so is every hole that is listed.
 */
import type { HoldfastError } from '../../../src/domain/errors.ts';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { batchName, copyName, parseBatchName } from '../../../src/engine/journal/object-names.ts';
import { listPoints, type Hole, type RecoveryPoint } from '../../../src/engine/journal/reading/points.ts';
import { isDamage } from '../../../src/engine/journal/reading/reading.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { harm } from './damage.ts';
import type { Born } from './oracle.ts';
import { readingIn, recoverAt } from './recovering.ts';
import { isNeededBy } from './reference.ts';
import { SNAPSHOTS } from './snapshots.ts';
import type { World } from './world.ts';

const HARMED_MAX = 5;
const RECOVERED_MAX = 4;

export async function readHarmed(world: World, process: Process, journal: Journal): Promise<void> {
  const { random } = world;
  const { points } = await list(world, journal);
  harmFreely(world);
  const gone = goneIn(world);
  const lost = gone.filter((batch) => isNeeded(world, batch));
  const { holes } = await list(world, journal);
  for (const { epoch, index } of holes)
    if (!lost.some((batch) => batch.epoch === epoch && batch.index === index))
      throw new Violation(`batch ${index} of epoch ${epoch} is listed as a hole, and is there`);
  for (let left = Math.min(RECOVERED_MAX, points.length); left > 0; left--) {
    const { epoch, seq } = random.pick(points);
    try {
      await recoverAt(world, process, journal, { epoch, seq });
      world.count('harmed journals: points that come back');
    } catch (error) {
      if (!isHoldfastError(error, 'POINT_GONE') && !isDamage(error)) throw error;
      world.count('harmed journals: points that are refused');
      checkRefusal(world, seq, { lost, gone }, error);
    }
  }
}

interface Missing {
  /** Sound nowhere, though some region needs it. */
  readonly lost: readonly Born[];
  /** Sound nowhere: those, and what was collected below a base. */
  readonly gone: readonly Born[];
}

function checkRefusal({ regions, oracle }: World, seq: number, { lost, gone }: Missing, error: HoldfastError): void {
  const { message, details } = error;
  const living = [...regions.values()].filter(({ name }) => !oracle.isGone(name));
  const isBaseHarmed = living.some(({ harmed }) => [...harmed.keys()].some((name) => name.startsWith(SNAPSHOTS)));
  // A later batch of the open epoch may have been the one that said that the point was acknowledged.
  const needed = lost.filter(({ first, epoch }) => first <= seq || epoch === oracle.state().current);
  if (needed.length === 0 && !isBaseHarmed) throw new Violation(`point ${seq} is refused, and all of it is there: ${message}`);
  const { soundSeq } = details;
  // What only bases say of, or a later batch, has no number.
  if (typeof soundSeq !== 'number' && isHoldfastError(error, 'POINT_GONE')) return;
  if (typeof soundSeq !== 'number' && 'snapshot' in details) return;
  if (typeof soundSeq !== 'number') throw new Violation(`a point is refused, and nobody says up to where the journal is sound: ${message}`);
  // With a base that is harmed an older one is tried, and what came after that may have been collected.
  const behind = isBaseHarmed ? [...needed, ...gone] : needed;
  if (soundSeq >= seq || !behind.some(({ first }) => first === soundSeq + 1))
    throw new Violation(`the journal is said to be sound up to ${soundSeq}, and no batch is lost behind that: ${message}`);
}

async function list(
  world: World,
  journal: Journal,
): Promise<{ readonly points: readonly RecoveryPoint[]; readonly holes: readonly Hole[] }> {
  const points: RecoveryPoint[] = [];
  const holes: Hole[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page = await listPoints(readingIn(world, journal), { after });
    points.push(...page.points);
    holes.push(...page.holes);
    after = page.next;
  }
  return { points, holes };
}

function harmFreely(world: World): void {
  const { random, regions, oracle } = world;
  for (let left = random.between(1, HARMED_MAX + 1); left > 0; left--) {
    const region = random.pick([...regions.values()].filter(({ name }) => !oracle.isGone(name)));
    const names = [...region.objects.byName.keys()].filter((name) => !region.harmed.has(name));
    if (names.length > 0) harm(world, region, random.pick(names), random.pick(['changed', 'gone'] as const));
  }
  if (random.chance(0.7)) harmEverywhere(world);
}

/** All copies of one batch. */
function harmEverywhere(world: World): void {
  const { random, regions } = world;
  const places = [...regions.values()].flatMap(({ objects }) => [...objects.byName.keys()].flatMap((name) => parseBatchName(name) ?? []));
  if (places.length === 0) return;
  const { epoch, index } = random.pick(places);
  for (const region of regions.values())
    for (const name of [batchName(epoch, index), copyName(epoch, index)])
      if (!region.harmed.has(name)) harm(world, region, name, random.pick(['changed', 'gone'] as const));
}

/** Batches that are nowhere as they were written. */
export function goneIn({ oracle, regions }: World): readonly Born[] {
  const living = [...regions.values()].filter(({ name }) => !oracle.isGone(name));
  const found: Born[] = [];
  for (const { epoch, end, members } of oracle.state().epochs.values())
    for (let index = 0; end === null || index <= end.index; index++) {
      const batch = oracle.born(epoch, index);
      if (batch === undefined) break;
      const names = end === null ? [batchName(epoch, index)] : [batchName(epoch, index), copyName(epoch, index)];
      const asked = living.filter(({ name }) => end !== null || members.some(({ region }) => region === name));
      if (!asked.some(({ objects }) => names.some((name) => objects.byName.get(name)?.equals(batch.stored) === true))) found.push(batch);
    }
  return found;
}

/** Whether a region that is there needs it. */
const isNeeded = ({ oracle, regions }: World, { epoch, index }: Born): boolean =>
  [...regions.keys()].some((name) => !oracle.isGone(name) && isNeededBy(oracle.state(), name, epoch, index));

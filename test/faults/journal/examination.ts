/** Points of a journal against what was asked for and answered: the newest, and some others by chance. */
import { readFileSync } from 'node:fs';
import { listPoints, type RecoveryPoint } from '../../../src/engine/journal/reading/points.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import type { ProtectionWorld } from '../../systems/protection/protection-world.ts';
import { Violation } from '../volumes/violation.ts';
import type { History } from './history.ts';
import { ANYTHING, prefixOf, type Expected } from './prefix.ts';
import { loadedOf, type Scene } from './scene.ts';

/** From this number on the journal is of whom this is the history. */
export interface Chapter {
  readonly history: History;
  readonly from: number;
}

export interface Examination {
  readonly chapters: readonly Chapter[];
  /** What is known of the newest point. */
  readonly newest: Partial<Expected> & { readonly seq?: number; readonly images?: readonly Buffer[] };
  /** A point that somebody asked for meanwhile. */
  readonly named?: Partial<Expected> & { readonly seq: number };
}

/** Others than the newest, for each chapter. */
const OTHERS = 2;

/** Everything before the newest flush that was answered, and what was answered with FUA; of what was answered by `until`. */
export function promisesOf({ promises, durable, changes }: History, until = Infinity): Partial<Expected> {
  const asked = promises.flatMap((promise) => (promise.answered < until ? [promise.asked] : []));
  return {
    answeredBefore: Math.max(0, ...asked),
    holds: new Set([...durable].filter((id) => (changes.get(id)?.answered ?? Infinity) < until)),
  };
}

export async function pointsOf(host: ProtectionWorld): Promise<readonly RecoveryPoint[]> {
  const reading = readingOf(await host.journal());
  const points: RecoveryPoint[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page = await listPoints(reading, { after });
    points.push(...page.points);
    if (page.holes.length > 0) throw new Violation(`the journal has holes: ${JSON.stringify(page.holes)}`);
    after = page.next;
  }
  return points;
}

export async function imagesAt(
  { sizes, counts }: Scene,
  host: ProtectionWorld,
  seq: number,
): Promise<{ readonly paths: readonly string[]; readonly images: readonly Buffer[] }> {
  const { paths } = await host.recover(seq, sizes);
  counts.recovered++;
  return { paths, images: paths.map((file) => readFileSync(file)) };
}

/** The images of the disks that have a history. */
export const loaded = ({ script }: Scene, images: readonly Buffer[]): readonly Buffer[] => images.slice(0, loadedOf(script).length);

export async function examine(scene: Scene, { chapters, newest, named }: Examination): Promise<void> {
  const { counts, dice, note, one, two } = scene;
  const host = (two ?? one).host;
  const points = await pointsOf(host);
  counts.points += points.length;
  requireOrder(points);
  const { epochs } = await (await host.journal()).log.sync();
  for (const { members } of epochs.values()) if (members.some(({ region }) => region === 'c')) counts.replaced++;
  const last = points.at(-1);
  if (newest.seq !== undefined && (last?.seq ?? 0) < newest.seq)
    throw new Violation(`the newest point is ${last?.seq}, and not ${newest.seq}`);
  if (named !== undefined && !points.some(({ seq }) => seq === named.seq)) throw new Violation(`point ${named.seq} is not listed`);
  const chosen = new Set([...(last === undefined ? [] : [last.seq]), ...(named === undefined ? [] : [named.seq])]);
  for (const chapter of chapters) {
    const its = points.filter(({ seq }) => chapterOf(chapters, seq) === chapter);
    for (let i = 0; i < OTHERS && its.length > 0; i++) chosen.add(dice.pick(its).seq);
  }
  note(`${points.length} points; ${[...chosen].join(', ')} are recovered`);
  let before: { readonly chapter: Chapter; readonly holds: ReadonlySet<number> } | null = null;
  for (const seq of [...chosen].sort((a, b) => a - b)) {
    const chapter = chapterOf(chapters, seq);
    const holds: ReadonlySet<number> = before?.chapter === chapter ? before.holds : new Set<number>();
    const { images } = await imagesAt(scene, host, seq);
    const known = { ...(seq === named?.seq ? named : {}), ...(seq === last?.seq ? newest : {}) };
    const all: ReadonlySet<number> = new Set([...holds, ...(known.holds ?? [])]);
    before = { chapter, holds: prefixOf(chapter.history, loaded(scene, images), { ...ANYTHING, ...known, holds: all }, `point ${seq}`) };
    if (seq === last?.seq && newest.images?.some((image, i) => !image.equals(images[i] ?? Buffer.alloc(0))))
      throw new Violation(`point ${seq} is not what the volumes hold`);
  }
}

function chapterOf(chapters: readonly Chapter[], seq: number): Chapter {
  const chapter = chapters.findLast(({ from }) => from <= seq);
  if (chapter === undefined) throw new Error('no chapter');
  return chapter;
}

/** Numbers rise, and labels do not fall within an epoch, whatever a clock does. */
function requireOrder(points: readonly RecoveryPoint[]): void {
  for (const [i, point] of points.entries()) {
    const before = points[i - 1];
    if (before === undefined) continue;
    if (point.seq <= before.seq || (point.epoch === before.epoch && point.labelUs < before.labelUs))
      throw new Violation(`point ${JSON.stringify(point)} comes after ${JSON.stringify(before)}`);
  }
}

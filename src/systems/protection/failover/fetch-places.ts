/**
 * Places of disks as they are at a point, written into their files: what the journal has of them from its batches, each fetched once, and the rest
 * from the base.
 */
import { BATCHES_AHEAD } from '../../../domain/limits.ts';
import type { BaseImage } from '../../../engine/journal/keeping/bases.ts';
import { inOrder } from '../../../engine/journal/reading/in-order.ts';
import type { Reading } from '../../../engine/journal/reading/reading.ts';
import type { Place } from '../../../engine/journal/recovery/changed.ts';
import { clip } from '../../../engine/journal/recovery/clip.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../../engine/journal/recovery/plan.ts';
import { replay } from '../../../engine/journal/recovery/replay.ts';
import { VolumeFile } from '../../../engine/volumes/volume-file.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { usablePlan } from '../usable-plan.ts';

export interface FetchPlaces {
  readonly point: Point;
  /** Of each disk, in the order of the group: ascending, none touching the next. */
  readonly places: readonly (readonly Place[])[];
  /** Of each disk its file. */
  readonly paths: readonly string[];
  readonly signal: AbortSignal;
  readonly onFetched: (bytes: number) => void;
}

const STEP_BYTES = 1024 * 1024;

/** Answers how many bytes; what it has written is on the disk. Errors as of `planRecovery`. */
export async function fetchPlaces({ reading: from, bases }: OpenedProtection, wanted: FetchPlaces): Promise<number> {
  const { point, places, paths, signal } = wanted;
  const reading: Reading = { ...from, signal };
  const { plan, base: images } = await usablePlan({
    plan: (unusable) => planRecovery(reading, { point, unusable }),
    open: (of) => imagesOf(bases, of, signal),
  });
  const { inside, bare } = clip(plan.stretches, new Map(places.map((some, volume) => [volume, some])));
  await using opened = new AsyncDisposableStack();
  const files: VolumeFile[] = [];
  for (const path of paths) files.push(opened.use(await VolumeFile.open(path, 'r+')));
  let fetched = 0;
  const write = (volume: number, offset: number, length: number, data: Buffer | null): void => {
    signal.throwIfAborted();
    const file = files[volume];
    if (data === null || data.every((byte) => byte === 0)) file?.zero(offset, length, true);
    else file?.write([data], offset);
    wanted.onFetched((fetched += length));
  };
  for await (const { volume, offset, length, data } of replay(reading, { ...plan, stretches: inside })) write(volume, offset, length, data);
  const steps = bare.flatMap(({ volume, offset, length }) => stepsOf(offset, length).map((step) => ({ volume, ...step })));
  const read = inOrder(steps, BATCHES_AHEAD, async (step) => {
    const data = Buffer.alloc(step.length);
    await images.get(step.volume)?.read(data, step.offset);
    return { ...step, data };
  });
  for await (const { volume, offset, length, data } of read) write(volume, offset, length, data);
  for (const file of files) await file.sync();
  return fetched;
}

type Images = ReadonlyMap<number, BaseImage>;

/** A volume that the base does not have is zeros there. Undefined: it is not to be had. */
async function imagesOf(
  bases: OpenedProtection['bases'],
  { start, region }: RecoveryPlan,
  signal: AbortSignal,
): Promise<Images | undefined> {
  const images = new Map<number, BaseImage>();
  for (const { volume, id } of start.kind === 'base' ? start.base.snapshots : []) {
    const image = (await bases.get(region)?.open(id, signal)) ?? null;
    if (image === null) return undefined;
    images.set(volume, image);
  }
  return images;
}

const stepsOf = (offset: number, length: number): readonly Place[] =>
  Array.from({ length: Math.ceil(length / STEP_BYTES) }, (_, i) => ({
    offset: offset + i * STEP_BYTES,
    length: Math.min(STEP_BYTES, length - i * STEP_BYTES),
  }));

/**
 * Places of disks as they are at a point, written into their files: what the journal has of them from its batches, each fetched once, and the rest
 * from the base. A batch that is nowhere as it was written is left for a base that holds what it held: then all of the places is written again.
 */
import { BATCHES_AHEAD } from '../../../domain/limits.ts';
import { inOrder } from '../../../engine/journal/reading/in-order.ts';
import type { Reading } from '../../../engine/journal/reading/reading.ts';
import type { Place } from '../../../engine/journal/recovery/changed.ts';
import { clip } from '../../../engine/journal/recovery/clip.ts';
import { beyondLosses } from '../../../engine/journal/recovery/loss.ts';
import type { Point } from '../../../engine/journal/recovery/plan.ts';
import { replay } from '../../../engine/journal/recovery/replay.ts';
import { VolumeFile } from '../../../engine/volumes/volume-file.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { openPoint } from '../usable-plan.ts';

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

/** Answers how many bytes, each as often as it was fetched; what it has written is on the disk. Errors as of `planRecovery`. */
export async function fetchPlaces({ reading: from, bases }: OpenedProtection, wanted: FetchPlaces): Promise<number> {
  const { point, places, paths, signal } = wanted;
  const reading: Reading = { ...from, signal };
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
  await beyondLosses(async (beyond) => {
    const { plan, images } = await openPoint({ reading, bases, point, signal }, beyond);
    const { inside, bare } = clip(plan.stretches, new Map(places.map((some, volume) => [volume, some])));
    for await (const { volume, offset, length, data } of replay(reading, { ...plan, stretches: inside }))
      write(volume, offset, length, data);
    const steps = bare.flatMap(({ volume, offset, length }) => stepsOf(offset, length).map((step) => ({ volume, ...step })));
    const read = inOrder(steps, BATCHES_AHEAD, async (step) => {
      const data = Buffer.alloc(step.length);
      await images.get(step.volume)?.read(data, step.offset);
      return { ...step, data };
    });
    for await (const { volume, offset, length, data } of read) write(volume, offset, length, data);
  });
  for (const file of files) await file.sync();
  return fetched;
}

const stepsOf = (offset: number, length: number): readonly Place[] =>
  Array.from({ length: Math.ceil(length / STEP_BYTES) }, (_, i) => ({
    offset: offset + i * STEP_BYTES,
    length: Math.min(STEP_BYTES, length - i * STEP_BYTES),
  }));

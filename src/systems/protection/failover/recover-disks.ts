/** The disks' files as they were at the end that was closed; or, where order was lost before it, at the newest point that is listed. */
import { rm } from 'node:fs/promises';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import { pointAt } from '../../../engine/journal/reading/point-at.ts';
import type { Point } from '../../../engine/journal/recovery/plan.ts';
import type { Host } from '../../../engine/volumes/host.ts';
import { VolumeFile } from '../../../engine/volumes/volume-file.ts';
import { saysFull } from '../../../ground/stores/file-errors.ts';
import type { OpenedProtection } from '../home-journal.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { recoverTo, type Recovered, type RecoveryProgress } from '../recover.ts';
import { noteOf, type Fenced } from './fence.ts';
import { writeFailover, type DiskWanted, type FailoverNote } from './note.ts';

export interface RecoveringCall {
  readonly threads: Threads;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RecoveryProgress) => void;
}

export type RecoveredDisks = Pick<NonNullable<FailoverNote['recovered']>, 'seq' | 'labelUs' | 'region' | 'baseBytes' | 'replayBytes'>;

/** A try that was killed is begun anew: its files are nobody's. TARGET_FULL; errors as of `recoverTo`. */
export async function recoverDisks(host: Host, opened: OpenedProtection, fenced: Fenced, call: RecoveringCall): Promise<RecoveredDisks> {
  const { journal } = opened.reading;
  const note = await noteOf(host, journal.name);
  if (note.recovered !== null) return note.recovered;
  const end: Point = { epoch: fenced.closedEpoch, seq: fenced.end };
  const pin = `failover.${note.group.owner.slice(note.group.owner.indexOf(' ') + 1)}`;
  const recover = async (point: Point): Promise<Recovered> => {
    for (const { path } of note.disks) await rm(path, { force: true });
    const targets = new Map(note.disks.map(({ path, sizeBytes }, volume) => [volume, { path, sizeBytes }]));
    return recoverTo({ ...opened, ...call, point, targets, pin, pinMs: PIN_MS_DEFAULT });
  };
  try {
    const { point, labelUs, region, baseBytes, replayBytes } = await recover(end).catch(async (error: unknown) => {
      // What the disks held behind a gap that no base has followed is in no region.
      if (!isHoldfastError(error, 'POINT_GONE')) throw error;
      return recover(await newestListed(opened, journal.name));
    });
    const done = { epoch: point.epoch, seq: point.seq, labelUs, region, baseBytes, replayBytes, stamps: await stampsOf(note.disks) };
    await writeFailover(host, { ...note, recovered: done });
    return done;
  } catch (error) {
    throw saysFull(error) ? new HoldfastError('TARGET_FULL', 'there is no room for the disks', { journal: journal.name }, error) : error;
  }
}

async function newestListed({ reading }: OpenedProtection, journal: string): Promise<Point> {
  const newest = await pointAt(reading, Number.MAX_SAFE_INTEGER);
  if (newest === null) throw new HoldfastError('POINT_GONE', `no point of ${journal} can be recovered`, { journal });
  return newest.point;
}

export const stampsOf = (disks: readonly Pick<DiskWanted, 'path'>[]): Promise<string[]> =>
  Promise.all(
    disks.map(async ({ path }) => {
      await using file = await VolumeFile.open(path, 'r');
      return file.stamp();
    }),
  );

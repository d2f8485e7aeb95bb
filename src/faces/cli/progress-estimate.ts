/**
 * How far a job is, how fast it goes and how long it may take, from samples that are late, sparse and sometimes go back (a
 * unit that is tried again starts anew). What is shown never goes back; a rate is that of the last samples; without a basis
 * there is no figure rather than a wrong one.
 */
import type { JobStatus, UnitProgress } from '../../domain/jobs.ts';

export interface Estimate {
  /** 0 to 1; null: nothing is known yet. */
  readonly fraction: number | null;
  readonly doneBytes: number;
  readonly bytesPerSecond: number | null;
  readonly leftMs: number | null;
}

export interface Sample {
  readonly atMs: number;
  readonly progress: Pick<JobStatus, 'doneUnits' | 'totalUnits' | 'readBytes'> | null;
  readonly units: readonly UnitProgress[];
}

interface Point {
  readonly atMs: number;
  readonly fraction: number;
  readonly bytes: number;
}

/** Long enough to even out packs, short enough to follow a store that slows down. */
const WINDOW_MS = 15_000;
/** Less than this of a window says nothing. */
const BASIS_MS = 1_500;

export function createEstimator(): (sample: Sample) => Estimate {
  let points: Point[] = [];
  let fraction: number | null = null;
  let bytes = 0;
  return ({ atMs, progress, units }) => {
    if (progress !== null && progress.totalUnits > 0) {
      const underWay = units.reduce(
        (sum, { doneBytes, totalBytes }) => sum + (totalBytes > 0 ? Math.min(1, doneBytes / totalBytes) : 0),
        0,
      );
      const reached = Math.min(1, (progress.doneUnits + underWay) / progress.totalUnits);
      fraction = Math.max(fraction ?? 0, reached);
    }
    bytes = Math.max(bytes, (progress?.readBytes ?? 0) + units.reduce((sum, unit) => sum + unit.doneBytes, 0));
    points = [...points.filter((point) => atMs - point.atMs <= WINDOW_MS), { atMs, fraction: fraction ?? 0, bytes }];
    const [first] = points;
    const passedMs = first === undefined ? 0 : atMs - first.atMs;
    if (first === undefined || passedMs < BASIS_MS) return { fraction, doneBytes: bytes, bytesPerSecond: null, leftMs: null };
    const gained = (fraction ?? 0) - first.fraction;
    return {
      fraction,
      doneBytes: bytes,
      bytesPerSecond: ((bytes - first.bytes) / passedMs) * 1000,
      leftMs: fraction === null || gained <= 0 ? null : ((1 - fraction) / gained) * passedMs,
    };
  };
}

/**
 * A disk that was restored is filled from where it came from, and then lets go of it.
 *
 *     hydration: from ──filled──▶ releasing: from ──pin lifted──▶ neither
 *
 * Each step is in the disk's record before the next one is begun, so that whichever server serves the disk then goes on where this one was;
 * and the pin is lifted only when the record says that nothing is needed from behind it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../domain/errors.ts';
import type { HydrationStatus } from '../../engine/volumes/disks/disk-control.ts';
import type { DiskFolder, DiskRecord, HydrationRecord } from '../../engine/volumes/disks/disk-record.ts';
import type { Origin, ServedVolume } from '../../engine/volumes/served-volume.ts';

export type FillingEvent =
  | { readonly kind: 'hydrated'; readonly disk: string }
  | { readonly kind: 'hydration-failed'; readonly disk: string; readonly error: unknown }
  | { readonly kind: 'pin-left'; readonly disk: string; readonly pin: string; readonly error: unknown };

/** What a disk is filled from, held by a pin. */
export interface PinnedOrigin extends Origin {
  /** The disk needs it no more. */
  lift(): Promise<void>;
}

/** Where a disk gets what it does not have itself yet. */
export type OriginOf = (of: HydrationRecord, disk: Pick<DiskRecord, 'sizeBytes' | 'extentBytes'>) => PinnedOrigin;

export interface FillingParts {
  readonly folder: Pick<DiskFolder, 'write'>;
  readonly originOf: OriginOf;
  readonly onEvent: (event: FillingEvent) => void;
}

/** Its record and its trouble follow what is done. */
export interface FilledDisk {
  record: DiskRecord;
  readonly volume: Pick<ServedVolume, 'hydrate'>;
  trouble: HydrationStatus['trouble'];
}

const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;

/** Whatever its record says is left; resolves when nothing is, or when it is told to stop. */
export async function fill(parts: FillingParts, disk: FilledDisk, signal: AbortSignal): Promise<void> {
  const { hydration, releasing } = disk.record;
  if (hydration !== null) await hydrate(parts, disk, hydration, signal);
  else if (releasing !== undefined) await release(parts, disk, releasing, signal);
}

/** Until all is here, however often the store fails; then the disk stands alone, and its record says so. */
async function hydrate(parts: FillingParts, disk: FilledDisk, from: HydrationRecord, signal: AbortSignal): Promise<void> {
  const { name } = disk.record;
  for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
    try {
      await disk.volume.hydrate(signal);
      await note(parts, disk, { ...disk.record, hydration: null, releasing: from });
      disk.trouble = null;
      parts.onEvent({ kind: 'hydrated', disk: name });
      return await release(parts, disk, from, signal);
    } catch (error) {
      if (signal.aborted) return;
      const { code, message, retryable } = isHoldfastError(error)
        ? error
        : { code: 'INTERNAL' as const, message: String(error), retryable: true };
      disk.trouble = { code, message, retryable };
      parts.onEvent({ kind: 'hydration-failed', disk: name, error });
      if (!retryable) return;
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Until the pin is lifted, however long its store is away: the disk stands alone, and nobody waits for this. */
async function release(parts: FillingParts, disk: FilledDisk, from: HydrationRecord, signal: AbortSignal): Promise<void> {
  for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
    if (await liftPin(parts, disk.record, from)) {
      const { releasing: _, ...record } = disk.record;
      return note(parts, disk, record);
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }
}

async function note(parts: FillingParts, disk: FilledDisk, record: DiskRecord): Promise<void> {
  await parts.folder.write(record);
  disk.record = record;
}

/** False: its store cannot be had now. Where there is nothing to lift any more, or never will be, nothing is left to do. */
export async function liftPin(parts: FillingParts, record: DiskRecord, from: HydrationRecord): Promise<boolean> {
  try {
    await parts.originOf(from, record).lift();
    return true;
  } catch (error) {
    parts.onEvent({ kind: 'pin-left', disk: record.name, pin: from.pin, error });
    return isHoldfastError(error) && !error.retryable;
  }
}

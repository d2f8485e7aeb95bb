/**
 * A failover that is none: the newest point becomes files on some host, which are checked and thrown away (docs/protection.md, section 8).
 *
 * Invariant: capture is not touched. Of the journal nothing is changed but a pin, and nobody is fenced; the disks' host is not even asked.
 * Whatever becomes of a test, `endTest` leaves neither files nor pin.
 */
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import type { Journal } from '../../../engine/journal/journal.ts';
import { unpin } from '../../../engine/journal/keeping/pins.ts';
import { pointAt } from '../../../engine/journal/reading/point-at.ts';
import type { Host } from '../../../engine/volumes/host.ts';
import type { ProtectionRecord } from '../../../engine/catalog/protections.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { requireRoom } from '../failover/needed-bytes.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { recoverTo, type RecoveryProgress } from '../recover.ts';
import { checkFiles, type Check } from './check-files.ts';

export interface TestCall {
  /** The same for all tries of a test. */
  readonly owner: string;
  readonly threads: Threads;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RecoveryProgress) => void;
}

export interface TestRecovered {
  readonly epoch: number;
  readonly point: number;
  readonly labelUs: number;
  /** So old was the point when it was chosen: what a failover would have lost at the most. */
  readonly rpoMsMax: number;
  readonly baseBytes: number;
  readonly replayBytes: number;
}

const scratchOf = (host: Host, owner: string): string => path.join(host.folder, 'tests', owner);
const pinOf = (owner: string): string => `test.${owner}`;
const filesOf = (host: Host, owner: string, { disks }: ProtectionRecord): readonly string[] =>
  disks.map(({ disk }) => path.join(scratchOf(host, owner), `${disk}.img`));

/** A try that was killed is begun anew, with the newest point of its time. POINT_GONE; TARGET_FULL; errors as of `recoverTo`. */
export async function testRecovery(
  host: Host,
  opened: OpenedProtection,
  protection: ProtectionRecord,
  { owner, ...call }: TestCall,
): Promise<TestRecovered> {
  const { reading } = opened;
  const { environment } = reading.journal;
  await endTest(host, reading.journal, owner);
  const newest = await pointAt(reading, Number.MAX_SAFE_INTEGER);
  if (newest === null)
    throw new HoldfastError('POINT_GONE', `no point of ${protection.journal} can be recovered`, { journal: protection.journal });
  const { point } = newest;
  const rpoMsMax = Math.max(0, Math.round(environment.nowMs() - point.labelUs / 1000));
  await mkdir(scratchOf(host, owner), { recursive: true, mode: 0o700 });
  await requireRoom(opened, point, protection.disks, scratchOf(host, owner));
  const files = filesOf(host, owner, protection);
  const targets = new Map(protection.disks.map(({ sizeBytes }, volume) => [volume, { path: files[volume] ?? '', sizeBytes }]));
  const { epoch, seq, labelUs } = point;
  const recovering = { ...opened, ...call, point: { epoch, seq }, targets, pin: pinOf(owner), pinMs: PIN_MS_DEFAULT };
  const { baseBytes, replayBytes } = await recoverTo(recovering);
  return { epoch, point: seq, labelUs, rpoMsMax, baseBytes, replayBytes };
}

export interface CheckingCall {
  readonly owner: string;
  readonly signal: AbortSignal;
  readonly onRead: (bytes: number) => void;
}

export const checkTest = (host: Host, protection: ProtectionRecord, { owner, ...call }: CheckingCall): Promise<readonly Check[]> =>
  checkFiles(protection.journal, filesOf(host, owner, protection), { hooksFolder: host.hooksFolder, ...call });

/** Nothing is left of it. */
export async function endTest(host: Host, journal: Journal, owner: string): Promise<void> {
  await rm(scratchOf(host, owner), { recursive: true, force: true });
  await unpin(journal, pinOf(owner));
}

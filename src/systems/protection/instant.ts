/**
 * The disks of a group as they were at a point, served at once under new names (docs/protection.md, section 7).
 *
 *     plan ──▶ for each disk: pin ──▶ attach: its record names the point ──▶ the disk server fills it, renews the pin, takes it off
 *
 * A point that cannot be recovered is refused before anything is served. Asked again, what is served of the point already stays as it is.
 */
import path from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';
import { DISK_PATTERN } from '../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import type { ProtectionRecord } from '../../engine/catalog/protections.ts';
import { pinPoint, unpin } from '../../engine/journal/keeping/pins.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import { planRecovery, type Point } from '../../engine/journal/recovery/plan.ts';
import type { Disks } from '../../engine/volumes/disks/disk-client.ts';
import type { DiskStatus } from '../../engine/volumes/disks/disk-control.ts';
import { originName, type PointOriginRecord } from '../../engine/volumes/disks/disk-record.ts';

export interface ServePointOptions {
  readonly reading: Reading;
  readonly protection: ProtectionRecord;
  readonly disks: Pick<Disks, 'list' | 'attach'>;
  readonly point: Point;
  /** Of the disk; of several the beginning of their names. */
  readonly name: string;
  /** Where their files are made. */
  readonly folder: string;
}

/** In the order of the group. POINT_GONE and the like of a plan; DISK_EXISTS, TARGET_EXISTS. */
export async function servePoint(options: ServePointOptions): Promise<readonly DiskStatus[]> {
  const { reading, point, disks } = options;
  const names = namesOf(options);
  const there = await disks.list();
  const known = names.map((name, volume) => there.find((one) => one.record.name === name && isOf(one, originOf(options, volume))));
  if (known.includes(undefined)) await planRecovery(reading, { point });
  const served: DiskStatus[] = [];
  for (const [volume, name] of names.entries()) served.push(known[volume] ?? (await serveOne(options, volume, name)));
  return served;
}

/** Filled from there, or done with it a moment ago. */
function isOf({ record }: DiskStatus, from: Omit<PointOriginRecord, 'pin'>): boolean {
  const origin = record.hydration ?? record.releasing ?? null;
  return origin !== null && originName(origin) === originName({ ...from, pin: '' });
}

function originOf({ protection, point: { epoch, seq } }: ServePointOptions, volume: number): Omit<PointOriginRecord, 'pin'> {
  const { journal, log, members } = protection;
  return { journal, epoch, seq, volume, log, regions: [...members] };
}

function namesOf({ protection, name }: ServePointOptions): readonly string[] {
  const names = protection.disks.length === 1 ? [name] : protection.disks.map(({ disk }) => `${name}-${disk}`);
  for (const one of names)
    if (!DISK_PATTERN.test(one))
      throw new HoldfastError('ARGUMENT_INVALID', `${one} is no name of a disk`, { field: '--serve', expected: 'a shorter name' });
  return names;
}

async function serveOne(options: ServePointOptions, volume: number, name: string): Promise<DiskStatus> {
  const { reading, protection, disks, point, folder } = options;
  const { environment } = reading.journal;
  const pin = `serve.${name}.${environment.random(4).toString('hex')}`;
  await pinPoint(reading.journal, { pin, point, untilMs: environment.nowMs() + PIN_MS_DEFAULT, why: `served as ${name}` });
  try {
    const { extentBytes } = protection;
    const { sizeBytes = 0 } = protection.disks[volume] ?? {};
    const file = path.join(folder, `${name}.img`);
    return await disks.attach({ format: 1, name, path: file, sizeBytes, extentBytes, hydration: { ...originOf(options, volume), pin } });
  } catch (error) {
    // Nobody else knows of it. Of an answer that was lost the disk server does: it renews its pin and takes it off.
    if (!(error instanceof HoldfastError) || !error.retryable) await unpin(reading.journal, pin).catch(() => undefined);
    throw error;
  }
}

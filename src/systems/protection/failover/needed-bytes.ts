/** What the disks of a group take on a file system as of a point: the base's content and what is written over it, and no more than the disks have. */
import { mkdir, statfs } from 'node:fs/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import { planRecovery, type Point } from '../../../engine/journal/recovery/plan.ts';
import type { OpenedProtection } from '../home-journal.ts';

/** TARGET_FULL: so much is not free. Makes the folder. */
export async function requireRoom(
  opened: OpenedProtection,
  point: Point,
  disks: readonly { readonly sizeBytes: number }[],
  folder: string,
): Promise<number> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const neededBytes = await neededBytesOf(opened, point, disks);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= neededBytes) return neededBytes;
  throw new HoldfastError('TARGET_FULL', `the disks take ${neededBytes} bytes, and ${folder} has ${bavail * bsize}`, {
    path: folder,
    neededBytes,
  });
}

async function neededBytesOf(
  { reading, bases }: OpenedProtection,
  point: Point,
  disks: readonly { readonly sizeBytes: number }[],
): Promise<number> {
  const { start, region, stretches } = await planRecovery(reading, { point });
  const bytes = disks.map(() => 0);
  const add = (volume: number, length: number): void => {
    const before = bytes[volume];
    if (before !== undefined) bytes[volume] = before + length;
  };
  for (const { volume, id } of start.kind === 'base' ? start.base.snapshots : []) {
    const image = (await bases.get(region)?.open(id)) ?? null;
    if (image !== null) for await (const { length } of image.data()) add(volume, length);
  }
  stretches.lengths.forEach((length, i) => add(stretches.volumes[i] ?? 0, length));
  return disks.reduce((sum, { sizeBytes }, volume) => sum + Math.min(sizeBytes, bytes[volume] ?? 0), 0);
}

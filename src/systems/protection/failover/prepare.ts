/**
 * Before anybody is fenced: whether this host can have the disks at all. Whoever is told that it cannot has lost nothing.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { pointAt } from '../../../engine/journal/reading/point-at.ts';
import { diskFolderOf, type Host } from '../../../engine/volumes/host.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { requireRoom } from './needed-bytes.ts';
import { groupFolderOf, newNote, readFailover, writeFailover } from './note.ts';
import { ownsNow } from './owned.ts';
import type { FailoverPlan } from './plan.ts';

/** Which bytes a copy of the group's disks takes here, as far as that is known before it is made. */
export interface Prepared {
  readonly neededBytes: number;
  /** An earlier try has fenced the old host. */
  readonly fenced: boolean;
}

const NEWEST_US = Number.MAX_SAFE_INTEGER;

/**
 * Goes on with what an earlier try has begun, unless that came to nothing. POINT_GONE: nothing can be recovered; DISK_EXISTS; TARGET_FULL;
 * DISKS_NOT_SERVED.
 */
export async function prepareFailover(host: Host, opened: OpenedProtection, plan: FailoverPlan): Promise<Prepared> {
  const { reading } = opened;
  const { journal } = reading;
  const { protection } = plan;
  const found = await readFailover(host, protection.journal);
  const served = await host.disks.list();
  if (found !== null) {
    if (ownsNow(await journal.log.sync(), found.group.owner)) return { neededBytes: 0, fenced: true };
    // What came to nothing, or was overtaken since. Disks that were served from their files are not removed.
    if (!found.placed && found.image === null) for (const disk of found.disks) await rm(disk.path, { force: true });
  }
  const standing = (await groupFolderOf(host).read(protection.journal)) !== null;
  for (const { disk } of protection.disks)
    if (!standing && (served.some(({ record }) => record.name === disk) || (await diskFolderOf(host.folder).read(disk)) !== null))
      throw new HoldfastError('DISK_EXISTS', `${host.name} has another disk ${disk}`, { disk });
  const newest = await pointAt(reading, NEWEST_US);
  if (newest === null)
    throw new HoldfastError('POINT_GONE', `no point of ${protection.journal} can be recovered`, { journal: protection.journal });
  const note = newNote(host, journal, plan);
  const neededBytes = await requireRoom(opened, newest.point, note.disks, path.dirname(note.disks[0]?.path ?? ''));
  await writeFailover(host, note);
  return { neededBytes, fenced: false };
}

/**
 * A host that had the disks before is to have them again: its old files are taken out of service, and noted with what they hold; or, where that
 * is not sure, new ones are to be made.
 *
 * Invariant: from the note on the old files are nobody's disks. No record of them is left, so no disk server takes them for what they were
 * while they become something else, and what was known of their changes is in the note alone.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import { pinPoint } from '../../../engine/journal/keeping/pins.ts';
import { pointAt } from '../../../engine/journal/reading/point-at.ts';
import type { Point } from '../../../engine/journal/recovery/plan.ts';
import { diskFolderOf, type Host } from '../../../engine/volumes/host.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { stateFileOf } from '../opening.ts';
import { requireRoom } from './needed-bytes.ts';
import { groupFolderOf, newNote, readFailover, writeFailover, type FailoverNote } from './note.ts';
import { oldImageOf, type OldImage } from './old-image.ts';
import { ownsNow } from './owned.ts';
import type { FailoverPlan } from './plan.ts';

export interface BegunFailback {
  /** Why all of the disks has to be fetched; null: only what differs. */
  readonly full: string | null;
  /** And nothing of it is here yet. */
  readonly whole: boolean;
  /** An earlier try has fenced the other host. */
  readonly fenced: boolean;
}

/** Goes on with what an earlier try has begun. ARGUMENT_INVALID while this host owns the journal, or has another failover under way. */
export async function beginFailback(host: Host, opened: OpenedProtection, plan: FailoverPlan): Promise<BegunFailback> {
  const { journal } = opened.reading;
  const { protection } = plan;
  const found = await readFailover(host, protection.journal);
  const state = await journal.log.sync();
  if (found !== null) {
    const fenced = ownsNow(state, found.group.owner);
    if (found.image !== null) {
      await forget(host, found);
      return { full: found.image.full, whole: found.image.asOf === null, fenced };
    }
    if (fenced)
      throw new HoldfastError('ARGUMENT_INVALID', `${host.name} has begun a failover of ${protection.journal}: go on with that`, {
        field: 'host',
        expected: 'holdfast protect failover',
      });
    if (!found.placed) for (const disk of found.disks) await rm(disk.path, { force: true });
  }
  const group = await groupFolderOf(host).read(protection.journal);
  if (group !== null && ownsNow(state, group.owner))
    throw new HoldfastError('ARGUMENT_INVALID', `${host.name} owns ${protection.journal}`, { field: 'host', expected: 'another host' });
  await host.disks.handOver(protection.journal);
  const old = await keptFor(opened, await oldImageOf(host, protection, state), host.name);
  const note = await noteOf(host, opened, plan, old);
  await writeFailover(host, note);
  await forget(host, note);
  const full = note.image?.full ?? null;
  return { full, whole: full !== null, fenced: false };
}

/** What it is as of must not be passed by the floor while it is caught up with. */
export const failbackPin = ({ owner }: FailoverNote['group'], seq: number): string =>
  `failback.${owner.slice(owner.indexOf(' ') + 1)}.${seq}`;

async function keptFor({ reading: { journal } }: OpenedProtection, old: OldImage, name: string): Promise<OldImage> {
  if (old.kind === 'unclear') return old;
  const { floor } = await journal.log.sync();
  return old.seq < floor ? { kind: 'unclear', why: `${name} has been away for longer than the journal is kept` } : old;
}

async function noteOf(host: Host, opened: OpenedProtection, plan: FailoverPlan, old: OldImage): Promise<FailoverNote> {
  const { journal } = opened.reading;
  const fresh = newNote(host, journal, plan);
  const pinned = async (point: Point): Promise<void> =>
    pinPoint(journal, {
      pin: failbackPin(fresh.group, point.seq),
      point,
      untilMs: journal.environment.nowMs() + PIN_MS_DEFAULT,
      why: `failing back to ${host.name}`,
    });
  if (old.kind === 'known')
    try {
      const { disks, epoch, seq, surplus } = old;
      await pinned({ epoch, seq });
      return { ...fresh, disks: [...disks], image: { full: null, asOf: { epoch, seq }, fetchedBytes: 0, surplus: [...surplus] } };
    } catch (error) {
      if (!isHoldfastError(error, 'RECORD_REFUSED')) throw error;
    }
  const why = old.kind === 'unclear' ? old.why : 'its end is no place of the journal any more';
  const newest = await pointAt(opened.reading, Number.MAX_SAFE_INTEGER);
  if (newest === null)
    throw new HoldfastError('POINT_GONE', `no point of ${plan.protection.journal} can be recovered`, { journal: plan.protection.journal });
  await requireRoom(opened, newest.point, fresh.disks, path.dirname(fresh.disks[0]?.path ?? ''));
  return { ...fresh, image: { full: why, asOf: null, fetchedBytes: 0, surplus: [] } };
}

/** The disks' records first: a group of which some are missing is not served. Its write-ahead files stay. */
async function forget(host: Host, { group, placed }: FailoverNote): Promise<void> {
  if (placed) return;
  const groups = groupFolderOf(host);
  const before = await groups.read(group.journal);
  for (const disk of before?.disks ?? []) await diskFolderOf(host.folder).remove(disk);
  const folder = groups.stateOf(group.journal);
  for (const file of [path.join(folder, 'group.json'), stateFileOf(folder), path.join(folder, 'places')]) await rm(file, { force: true });
}

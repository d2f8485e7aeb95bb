/**
 * What a host that lost its disks still has of them, and by what it differs from the journal (docs/protection.md, section 8).
 *
 * Its files hold the journal up to the end of its own last epoch, and what it changed under numbers above that, which nobody else knows of: those
 * places are in its ring. Anything less sure is no image to go on with: a machine that was lost may have kept any part of what it wrote last.
 */
import path from 'node:path';
import type { ProtectionRecord } from '../../../engine/catalog/protections.ts';
import type { JournalState } from '../../../engine/journal/state.ts';
import { diskFolderOf, type Host } from '../../../engine/volumes/host.ts';
import { bootId, readGroupState } from '../group-state.ts';
import { stateFileOf } from '../opening.ts';
import { Places, type Stretch } from '../places.ts';
import { groupFolderOf, type DiskWanted } from './note.ts';
import { lastOf } from './owned.ts';
import { stampsOf } from './recover-disks.ts';

export type OldImage =
  | {
      readonly kind: 'known';
      readonly disks: readonly DiskWanted[];
      /** Everything up to here is in the files ... */
      readonly epoch: number;
      readonly seq: number;
      /** ... and something else in these places. */
      readonly surplus: readonly Stretch[];
    }
  | { readonly kind: 'unclear'; readonly why: string };

const unclear = (why: string): OldImage => ({ kind: 'unclear', why });

/** Nobody may write to the files meanwhile. */
export async function oldImageOf(host: Host, protection: ProtectionRecord, journal: JournalState): Promise<OldImage> {
  const groups = groupFolderOf(host);
  const group = await groups.read(protection.journal);
  if (group === null) return unclear(`${host.name} knows nothing of these disks`);
  const disks: DiskWanted[] = [];
  for (const { disk, sizeBytes } of protection.disks) {
    const record = await diskFolderOf(host.folder).read(disk);
    if (record === null || record.sizeBytes !== sizeBytes || record.hydration !== null) return unclear(`${disk} is not what it was`);
    disks.push({ disk, sizeBytes, path: record.path });
  }
  const folder = groups.stateOf(protection.journal);
  const [state, own, boot] = [await readGroupState(stateFileOf(folder)), lastOf(journal, group.owner), await bootId()];
  const end = own?.end ?? null;
  if (state === null || own === null || end === null) return unclear(`${host.name} never had this journal`);
  if (state.order === 'lost' || state.gap !== null) return unclear('order was lost before it ended');
  if (state.clean === null && state.boot !== boot) return unclear('its machine was lost with its disks open');
  if (state.clean !== null && JSON.stringify(state.clean) !== JSON.stringify(await stampsOf(disks)))
    return unclear('somebody has written to its files');
  if (state.clean !== null && state.boot !== boot && state.synced > end.seq) return unclear('its machine has been started since');
  using places = Places.open(path.join(folder, 'places'));
  const surplus = places.above(end.seq);
  if (surplus === null) return unclear('it wrote more than it remembers');
  return { kind: 'known', disks, epoch: own.epoch, seq: end.seq, surplus: inExtents(surplus, protection.extentBytes, disks) };
}

/** Rounded outwards, so that there are few. */
function inExtents(surplus: readonly Stretch[], extentBytes: number, disks: readonly DiskWanted[]): readonly Stretch[] {
  const rounded: Stretch[] = [];
  for (const { volume, offset, length } of surplus) {
    const size = disks[volume]?.sizeBytes ?? 0;
    const from = Math.floor(offset / extentBytes) * extentBytes;
    const to = Math.min(size, Math.ceil((offset + length) / extentBytes) * extentBytes);
    const last = rounded.at(-1);
    if (last?.volume === volume && from <= last.offset + last.length)
      rounded[rounded.length - 1] = { volume, offset: last.offset, length: Math.max(to, last.offset + last.length) - last.offset };
    else if (to > from) rounded.push({ volume, offset: from, length: to - from });
  }
  return rounded;
}

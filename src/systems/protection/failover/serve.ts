/**
 * The recovered disks are served, and the journal goes on with them: the group's records are written down as if this host had stopped cleanly at
 * the end of the epoch that it closed, so that the group's own opening takes it from there without a gap.
 *
 *     state.json ──▶ group.json ──▶ placed ──▶ a record a disk ──▶ taken up
 *
 * Invariants. No record of a disk without the group's: a disk server that starts meanwhile serves none of them unprotected. The state is written
 * only as long as the group cannot have been opened: from `placed` on it is the group's.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { diskFolderOf, type Host } from '../../../engine/volumes/host.ts';
import { bootId, writeGroupState } from '../group-state.ts';
import { stateFileOf } from '../opening.ts';
import { noteOf, type Fenced } from './fence.ts';
import { groupFolderOf, writeFailover, type FailoverNote } from './note.ts';

export interface ServedDisks {
  readonly disks: readonly { readonly disk: string; readonly path: string; readonly sizeBytes: number }[];
  readonly uris: readonly string[];
}

/** DISKS_NOT_SERVED: the host's disk server does not run. */
export async function serveRecovered(host: Host, journal: string, fenced: Fenced): Promise<ServedDisks> {
  const note = await noteOf(host, journal);
  if (note.recovered === null) throw new HoldfastError('INTERNAL', 'disks that were not recovered cannot be served', { journal });
  if (!note.placed) await place(host, note, note.recovered, fenced);
  const folder = diskFolderOf(host.folder);
  const { extentBytes } = note;
  for (const { disk: name, path: file, sizeBytes } of note.disks)
    if ((await folder.read(name)) === null) await folder.write({ format: 1, name, path: file, sizeBytes, extentBytes, hydration: null });
  await host.disks.takeUp(journal);
  const served = await host.disks.list();
  return {
    disks: note.disks,
    uris: note.disks.flatMap(({ disk }) => served.find(({ record }) => record.name === disk)?.uris ?? []),
  };
}

async function place(
  host: Host,
  note: FailoverNote,
  { seq, stamps }: NonNullable<FailoverNote['recovered']>,
  { end }: Fenced,
): Promise<void> {
  const { group } = note;
  const groups = groupFolderOf(host);
  await clear(host, group.journal);
  const state = stateFileOf(groups.stateOf(group.journal));
  // Behind a point that is not the end the volumes hold something else than the journal says: then the group begins with a gap.
  const order = seq === end ? ('kept' as const) : ('lost' as const);
  await writeGroupState(state, { format: 1, synced: end, order, gap: null, boot: await bootId(), clean: stamps });
  await groups.write(group);
  await writeFailover(host, { ...note, placed: true });
}

/** Of what this host had of the group before nothing is served, and only its write-ahead files stay. */
async function clear(host: Host, journal: string): Promise<void> {
  const groups = groupFolderOf(host);
  const before = await groups.read(journal);
  await host.disks.handOver(journal);
  for (const disk of before?.disks ?? []) await diskFolderOf(host.folder).remove(disk);
  await rm(path.join(groups.stateOf(journal), 'places'), { force: true });
}

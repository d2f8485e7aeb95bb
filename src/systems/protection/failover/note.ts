/**
 * What a host that takes a group over has done so far, as a note beside the group's state: each step finds what the ones before it, or an
 * earlier try of itself, have left (docs/protection.md, section 8).
 *
 * The note comes first. It has the name under which the journal is taken, by which the log says whether it was; and the names of the files, of
 * which nobody else has any.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { diskSchema } from '../../../domain/id-schemas.ts';
import type { Journal } from '../../../engine/journal/journal.ts';
import { diskFolderOf, type Host } from '../../../engine/volumes/host.ts';
import { groupRecord, GroupFolder } from '../../../engine/volumes/disks/group-record.ts';
import type { FailoverPlan } from './plan.ts';
import { readNote, writeNote } from '../../../ground/notes/note.ts';

const diskWanted = z.strictObject({ disk: diskSchema, sizeBytes: z.int().min(1), path: z.string().min(1) });
export type DiskWanted = z.infer<typeof diskWanted>;

const recovered = z.strictObject({
  epoch: z.int().min(1),
  seq: z.int().min(0),
  labelUs: z.int().min(0),
  /** Of whose base; and the bytes that were written. */
  region: z.string(),
  baseBytes: z.int().min(0),
  replayBytes: z.int().min(0),
  /** What the files looked like then. */
  stamps: z.array(z.string()),
});

/** Of a failback: what the files hold that are to become the disks. */
const image = z.strictObject({
  /** Why they are new ones; null: the host's old ones, of which only what differs is fetched. */
  full: z.string().nullable(),
  asOf: z.strictObject({ epoch: z.int().min(1), seq: z.int().min(0) }).nullable(),
  /** Of all rounds whose end was noted. */
  fetchedBytes: z.int().min(0),
  /** Where the host has written something that is in no region. */
  surplus: z.array(z.strictObject({ volume: z.int().min(0), offset: z.int().min(0), length: z.int().min(1) })),
});

const failoverNote = z.strictObject({
  format: z.literal(1),
  group: groupRecord,
  disks: z.array(diskWanted).min(1),
  extentBytes: z.int(),
  /** When it was first tried to fence the owner; what came later is lost. */
  fencingMs: z.number().nullable(),
  /** The number at which the old host said that the journal ends; null: it was not asked. */
  told: z.int().min(0).nullable(),
  image: image.nullable(),
  recovered: recovered.nullable(),
  /** The group's records are written: its state is its own from then on. */
  placed: z.boolean(),
});
export type FailoverNote = z.infer<typeof failoverNote>;

/** Under a new name. */
export function newNote(host: Host, { environment }: Journal, { protection, folder }: FailoverPlan): FailoverNote {
  const { journal, disks, mode, log, members, extentBytes } = protection;
  const name = environment.random(8).toString('hex');
  const into = folder ?? path.join(host.folder, 'images', journal);
  return {
    format: 1,
    group: {
      ...{ format: 1, journal, mode, log, members: [...members] },
      disks: disks.map(({ disk }) => disk),
      owner: `${host.name.slice(0, 100)} ${name}`,
    },
    disks: disks.map(({ disk, sizeBytes }) => ({ disk, sizeBytes, path: path.join(into, `${disk}.${name}.img`) })),
    ...{ extentBytes, fencingMs: null, told: null, image: null, recovered: null, placed: false },
  };
}

export const groupFolderOf = (host: Pick<Host, 'folder'>): GroupFolder => new GroupFolder(diskFolderOf(host.folder).journals);

const fileOf = (host: Pick<Host, 'folder'>, journal: string): string => path.join(groupFolderOf(host).stateOf(journal), 'failover.json');

export const readFailover = (host: Pick<Host, 'folder'>, journal: string): Promise<FailoverNote | null> =>
  readNote(fileOf(host, journal), failoverNote, 'remove it and fail over again');

export const writeFailover = (host: Pick<Host, 'folder'>, note: FailoverNote): Promise<void> =>
  writeNote(fileOf(host, note.group.journal), note);

export const removeFailover = (host: Pick<Host, 'folder'>, journal: string): Promise<void> => rm(fileOf(host, journal), { force: true });

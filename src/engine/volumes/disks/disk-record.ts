/**
 * What a host serves: one file a disk, in a folder of the host's own (docs/serving.md).
 *
 * A host must be able to serve its disks when no store and no Temporal answers, so what it serves is written down on it and
 * not in the catalog.
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { diskSchema, repositorySchema, snapshotSchema, storeSchema, volumeSchema } from '../../../domain/id-schemas.ts';
import { DISK_PATTERN, NAME_PATTERN } from '../../../domain/ids.ts';
import { EPOCH_MEMBERS_MAX, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, GROUP_DISKS_MAX } from '../../../domain/limits.ts';
import { hasErrno } from '../../../ground/stores/file-errors.ts';
import { readNote, writeNote } from '../../../ground/notes/note.ts';

const name = z.string().regex(NAME_PATTERN);

/** Holds what it is restored from; the disk server renews it, and lifts it when the disk stands alone. */
const pin = z.string().min(1).max(200);

/** A snapshot that a disk's bytes come from as long as it does not have them itself. */
const snapshotOrigin = z.strictObject({
  volume: volumeSchema,
  store: storeSchema,
  repository: repositorySchema,
  snapshot: snapshotSchema,
  pin,
});
export type SnapshotOriginRecord = z.infer<typeof snapshotOrigin>;

/** The same, a point of a journal. Its stores are named, not where they are, nor by which secrets: the catalog has that. */
const pointOrigin = z.strictObject({
  journal: name,
  epoch: z.int().min(1),
  seq: z.int().min(0),
  /** The number of the disk in its group. */
  volume: z.int().min(0).max(GROUP_DISKS_MAX),
  log: storeSchema,
  regions: z
    .array(z.strictObject({ region: storeSchema, domain: name }))
    .min(1)
    .max(EPOCH_MEMBERS_MAX),
  pin,
});
export type PointOriginRecord = z.infer<typeof pointOrigin>;

const hydrationRecord = z.union([snapshotOrigin, pointOrigin]);
export type HydrationRecord = z.infer<typeof hydrationRecord>;

export const isPointOrigin = (of: HydrationRecord): of is PointOriginRecord => 'journal' in of;

/** What a disk's state says that it is made of. */
export const originName = (of: HydrationRecord): string =>
  isPointOrigin(of) ? `${of.journal}@${of.epoch}.${of.seq}/${of.volume}` : of.snapshot;

export const diskRecord = z.strictObject({
  format: z.literal(1),
  name: diskSchema,
  /** The file or block device that holds its bytes. */
  path: z.string().min(1).max(4096).startsWith('/'),
  sizeBytes: z.int().min(1),
  extentBytes: z.int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
  hydration: hydrationRecord.nullable(),
  /** What it was restored from, while the pin of that is still to be lifted. */
  releasing: hydrationRecord.optional(),
});
export type DiskRecord = z.infer<typeof diskRecord>;

const RECORD = 'disk.json';

/** Whether two names are of one file or device, as a link makes them; one that is not there is the same as nothing. */
export async function isSameFile(a: string, b: string): Promise<boolean> {
  if (a === b) return true;
  const [one, other] = await Promise.all([a, b].map((file) => stat(file, { bigint: true }).catch(() => null)));
  if (!one || !other) return false;
  if (one.isBlockDevice() && other.isBlockDevice()) return one.rdev === other.rdev;
  return one.dev === other.dev && one.ino === other.ino;
}

/** The folder of one host's disks, and what lies where in it. */
export class DiskFolder {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  get nbdSocket(): string {
    return path.join(this.#root, 'nbd.sock');
  }

  get controlSocket(): string {
    return path.join(this.#root, 'control.sock');
  }

  /** Held by the server of the folder. */
  get lock(): string {
    return path.join(this.#root, 'server.lock');
  }

  /** Where what is protected is written down (group-record.ts); no disk has such a name. */
  get journals(): string {
    return path.join(this.#root, '.journals');
  }

  /** Where a disk's tracking lies, and what a hydration and views keep. */
  stateOf(disk: string): string {
    return path.join(this.#root, disk);
  }

  async create(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
  }

  /** None where nothing was ever served. */
  async list(): Promise<readonly DiskRecord[]> {
    const found: DiskRecord[] = [];
    const names = await readdir(this.#root).catch((error: unknown) => {
      if (hasErrno(error, 'ENOENT')) return [];
      throw error;
    });
    for (const disk of names) {
      const record = DISK_PATTERN.test(disk) ? await this.read(disk) : null;
      if (record !== null) found.push(record);
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  read(disk: string): Promise<DiskRecord | null> {
    return readNote(path.join(this.stateOf(disk), RECORD), diskRecord, 'detach and attach the disk again');
  }

  write(record: DiskRecord): Promise<void> {
    return writeNote(path.join(this.stateOf(record.name), RECORD), record);
  }

  /** The record first: without it nothing else of the folder means anything. */
  async remove(disk: string): Promise<void> {
    await rm(path.join(this.stateOf(disk), RECORD), { force: true });
    await rm(this.stateOf(disk), { recursive: true, force: true });
  }
}

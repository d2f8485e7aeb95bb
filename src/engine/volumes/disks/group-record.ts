/**
 * A protected group of a host: disks whose changes go to one journal (docs/protection.md). Written down on the host, like the disks.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { diskSchema, storeSchema } from '../../../domain/id-schemas.ts';
import { NAME_PATTERN } from '../../../domain/ids.ts';
import { EPOCH_MEMBERS_MAX, GROUP_DISKS_MAX } from '../../../domain/limits.ts';
import { readNote, writeNote } from '../../../ground/notes/note.ts';

const name = z.string().regex(NAME_PATTERN);
/** A region is a store of the catalog, and `domain` what fails at once with it. */
const member = z.strictObject({ region: storeSchema, domain: name });

export const groupWanted = z.strictObject({
  format: z.literal(1),
  journal: name,
  /** In the order of their numbers in the journal. */
  disks: z.array(diskSchema).min(1).max(GROUP_DISKS_MAX),
  mode: z.enum(['local', 'pair']),
  /** The store of the journal's log; best none of the members. */
  log: storeSchema,
  /** Candidates, best first; of `pair` the first two that answer, and the others are spares. */
  members: z.array(member).min(1).max(EPOCH_MEMBERS_MAX),
});
export type GroupWanted = z.infer<typeof groupWanted>;

export const groupRecord = groupWanted.extend({
  /** Under which this host owns the journal: nobody else has this name. */
  owner: z.string().min(1).max(150),
});
export type GroupRecord = z.infer<typeof groupRecord>;

const RECORD = 'group.json';

/** The folder of one host's groups. */
export class GroupFolder {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Where a group's state and its write-ahead file lie. */
  stateOf(journal: string): string {
    return path.join(this.#root, journal);
  }

  async list(): Promise<readonly GroupRecord[]> {
    const found: GroupRecord[] = [];
    for (const journal of await readdir(this.#root).catch(() => [])) {
      const record = NAME_PATTERN.test(journal) ? await this.read(journal) : null;
      if (record !== null) found.push(record);
    }
    return found;
  }

  read(journal: string): Promise<GroupRecord | null> {
    return readNote(path.join(this.stateOf(journal), RECORD), groupRecord, 'unprotect and protect the disks again');
  }

  write(record: GroupRecord): Promise<void> {
    return writeNote(path.join(this.stateOf(record.journal), RECORD), record);
  }

  /** The record first: without it nothing else of the folder means anything. */
  async remove(journal: string): Promise<void> {
    await rm(path.join(this.stateOf(journal), RECORD), { force: true });
    await rm(this.stateOf(journal), { recursive: true, force: true });
  }
}

/**
 * The newest known agreement of a group's volumes and its journal, as a note beside them (docs/protection.md, section 2).
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { readNote, writeNote } from '../../ground/notes/note.ts';

const groupState = z.strictObject({
  format: z.literal(1),
  /** The volumes have every record up to this number on their disks. */
  synced: z.int().min(0),
  order: z.enum(['kept', 'lost']),
  /** The newest gap that no base is recorded behind. */
  gap: z.int().min(1).nullable(),
  /** Of which boot of the machine it is. */
  boot: z.string(),
  /** Of a clean stop: what the volumes' files looked like. */
  clean: z.array(z.string()).nullable(),
});
export type GroupState = z.infer<typeof groupState>;

export const readGroupState = (file: string): Promise<GroupState | null> =>
  readNote(file, groupState, 'unprotect and protect the disks again');

export const writeGroupState = (file: string, state: GroupState): Promise<void> => writeNote(file, state);

/** Another one after each start of the machine: page caches of an older one are gone. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/**
 * That a group is recovered in place: written down before its first byte is, for until its end its disks are of no point, and are exported to nobody
 * but who recovers them (docs/protection.md, section 7).
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readNote, writeNote } from '../../../ground/notes/note.ts';
import { syncFolder } from '../../../ground/stores/file-root.ts';

const place = z.strictObject({ epoch: z.int().min(1), seq: z.int().min(0) });

const recoveryNote = z.strictObject({
  format: z.literal(1),
  /** The point that is recovered. */
  point: place,
  /** What the disks held before, whatever was tried since: the way back. */
  before: place,
  beforeMs: z.int(),
});
export type RecoveryNote = z.infer<typeof recoveryNote>;

const fileOf = (folder: string): string => path.join(folder, 'recovering.json');

/** `folder`: of the group's state. Null: none is under way. */
export const readRecovery = (folder: string): Promise<RecoveryNote | null> =>
  readNote(fileOf(folder), recoveryNote, 'recover the group in place again, or unprotect it and use its disks as they are');

export const writeRecovery = (folder: string, note: RecoveryNote): Promise<void> => writeNote(fileOf(folder), note);

export async function removeRecovery(folder: string): Promise<void> {
  await rm(fileOf(folder), { force: true });
  await syncFolder(folder);
}

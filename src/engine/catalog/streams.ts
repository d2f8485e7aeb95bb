/** Which byte streams are kept where, as everybody knows it: enough to read one, or to go on with it, from any machine (docs/journal.md, section 11). */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { storeSchema } from '../../domain/id-schemas.ts';
import { EPOCH_MEMBERS_MAX } from '../../domain/limits.ts';
import { journalName, protectionNotFound } from './protections.ts';

export const streamRecord = z.strictObject({
  journal: journalName,
  log: storeSchema,
  /** Best first: two of them hold what is appended, the others take the place of one that is gone. */
  regions: z
    .array(z.strictObject({ region: storeSchema, domain: journalName }))
    .min(2)
    .max(EPOCH_MEMBERS_MAX),
});
export type StreamRecord = z.infer<typeof streamRecord>;

type Known = { readonly streams: ReadonlyMap<string, StreamRecord>; readonly protections: ReadonlyMap<string, unknown> };

/** Streams and groups of disks lie side by side in a store, so that one name is of one of them. */
export function journalTaken(journal: string, others: ReadonlyMap<string, unknown>, what: string): HoldfastError | null {
  if (!others.has(journal)) return null;
  return new HoldfastError('ARGUMENT_INVALID', `${journal} is ${what}`, { field: 'journal', expected: 'another name' });
}

export function streamRefusal({ streams, protections }: Known, { journal, log }: StreamRecord): HoldfastError | null {
  const before = streams.get(journal);
  if (before !== undefined && before.log !== log)
    return new HoldfastError('ARGUMENT_INVALID', `the log of ${journal} lies in ${before.log}`, { field: 'log', expected: before.log });
  return journalTaken(journal, protections, 'the journal of a group of disks');
}

export function findStream({ streams }: Pick<Known, 'streams'>, journal: string): StreamRecord {
  const found = streams.get(journal);
  if (!found) throw protectionNotFound(journal);
  return found;
}

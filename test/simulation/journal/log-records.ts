/** Records of the journal's log as an observer reads them: from the stored bytes, past the code that the processes read with. */
import { journalEntrySchema, type JournalEntry } from '../../../src/engine/journal/entries.ts';
import { digestOf } from '../../../src/engine/log/digest.ts';
import { openEnvelope, type SealingKey } from '../../../src/ground/sealing/envelope.ts';

export function entriesOf(
  key: SealingKey,
  name: string,
  stored: Buffer,
): { readonly entries: readonly JournalEntry[]; readonly digest: string } {
  const { entries } = JSON.parse(openEnvelope(key, name, stored).toString('utf8')) as { readonly entries: readonly unknown[] };
  return { entries: entries.map((entry) => journalEntrySchema.parse(entry)), digest: digestOf(stored) };
}

/** Journals that were made: from then on their logs are the installation's, and whoever follows those finds them, also when nothing is written to one any more. */
import { z } from 'zod';
import { storeSchema } from '../../domain/id-schemas.ts';
import type { StoreName } from '../../domain/ids.ts';
import type { Catalog } from './catalog.ts';
import { journalName } from './protections.ts';

/** The journal that was first made under a name, in the store of its log. */
export const journalSeen = z.strictObject({ store: storeSchema, journal: journalName, id: z.string().max(100) });
type JournalSeen = z.infer<typeof journalSeen>;

type Place = Pick<JournalSeen, 'store' | 'journal'>;

export const journalKey = ({ store, journal }: Place): string => `${store}/${journal}`;
export const journalOfKey = (key: string): Place => {
  const at = key.indexOf('/');
  return { store: key.slice(0, at) as StoreName, journal: key.slice(at + 1) };
};

export const withJournal = (journals: ReadonlyMap<string, string>, seen: JournalSeen): ReadonlyMap<string, string> =>
  journals.has(journalKey(seen)) ? journals : new Map(journals).set(journalKey(seen), seen.id);

/** `store`: of its log. */
export async function noteJournal(
  catalog: Catalog,
  store: StoreName,
  { name: journal, id }: { readonly name: string; readonly id: Uint8Array },
): Promise<void> {
  await catalog.append(({ journals }) =>
    journals.has(journalKey({ store, journal })) ? null : { kind: 'JOURNAL_SEEN', store, journal, id: Buffer.from(id).toString('hex') },
  );
}

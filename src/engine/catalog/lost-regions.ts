/** Regions that will not come back, as an operator has said: nobody waits for what only they could answer (docs/journal.md, section 5). */
import { z } from 'zod';
import { storeSchema } from '../../domain/id-schemas.ts';
import { journalName } from './protections.ts';

export const regionOfJournal = z.strictObject({ journal: journalName, region: storeSchema });

export const lostRegionsOf = (
  { lostRegions }: { readonly lostRegions: ReadonlyMap<string, ReadonlySet<string>> },
  journal: string,
): ReadonlySet<string> => lostRegions.get(journal) ?? new Set();

/** The regions of a journal with this one among them, or not. */
export function withRegion(
  all: ReadonlyMap<string, ReadonlySet<string>>,
  { journal, region }: z.infer<typeof regionOfJournal>,
  isLost: boolean,
): ReadonlyMap<string, ReadonlySet<string>> {
  const regions = new Set(all.get(journal));
  if (isLost) regions.add(region);
  else regions.delete(region);
  return new Map(all).set(journal, regions);
}

/** Lineages of bases: `journal.<journal>.<volume>`, so that no volume of a user is ever taken for one of them. */
import { lineageOf, volumeName, volumeOf, type Lineage } from '../../../domain/ids.ts';

/** ARGUMENT_INVALID when the journal's name is too long for it (49 characters, at the largest number of a volume). */
export const baseLineage = (journal: string, volume: number): Lineage => lineageOf(volumeName(`journal.${journal}.${volume}`), 1);

/** The number of the volume, or null when the lineage is none of this journal's. */
export function volumeOfBase(journal: string, lineage: Lineage): number | null {
  const prefix = `journal.${journal}.`;
  const name: string = volumeOf(lineage);
  const number = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^(0|[1-9][0-9]{0,4})$/.test(number) ? Number(number) : null;
}

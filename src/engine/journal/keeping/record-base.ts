/**
 * A base is recorded: the snapshots are there, and one entry makes them the beginning of replays.
 *
 * Judged again at every try, for the region may have got a newer base meanwhile, or lost its place: then nothing is recorded, and
 * the snapshots are collected when their label says that they never can be.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import type { BaseEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';

export type Recorded = { readonly kind: 'recorded'; readonly base: BaseEntry } | { readonly kind: 'refused'; readonly why: string };

export async function recordBase({ log }: Journal, base: BaseEntry): Promise<Recorded> {
  const isThere = (bases: readonly BaseEntry[] = []): boolean => bases.some(({ snapshots }) => snapshots[0]?.id === base.snapshots[0]?.id);
  try {
    await log.append((state) => (isThere(state.bases.get(base.region)) ? null : base));
    return { kind: 'recorded', base };
  } catch (error) {
    if (!isHoldfastError(error, 'RECORD_REFUSED')) throw error;
    return { kind: 'refused', why: error.message };
  }
}

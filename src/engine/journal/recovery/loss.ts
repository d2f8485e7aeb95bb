/**
 * A batch that is nowhere as it was written, and the way round it: a base that holds what the batch held leads on without it (J9).
 *
 * A plan is made of heads alone, so it is the data, when that is wanted, that turns out not to be had; then it is planned anew, beyond
 * the batch. Each time it is a later one, so this ends.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { lostBatchOf } from '../reading/copies.ts';
import { comparePlaces } from '../reading/marks.ts';
import { isDamage } from '../reading/reading.ts';
import type { Place } from '../sealed-object.ts';

export interface Loss {
  /** The last batch that was found not to be had. */
  readonly place: Place;
  /** What the first one was told with. */
  readonly why: unknown;
}

/** What an error adds to what was lost before; null: no batch that a plan would not have gone beyond. */
export function lossOf(error: unknown, before: Loss | null): Loss | null {
  const place = lostBatchOf(error);
  if (place === null || (before !== null && comparePlaces(place, before.place) <= 0)) return null;
  return { place, why: before?.why ?? error };
}

/** Does what follows a plan, anew beyond each batch that it finds lost. Where no base leads beyond, the first one says why. */
export async function beyondLosses<T>(attempt: (beyond: Place | null) => Promise<T>): Promise<T> {
  for (let lost: Loss | null = null; ;)
    try {
      return await attempt(lost?.place ?? null);
    } catch (error) {
      const next = lossOf(error, lost);
      if (next === null) throw lost !== null && (isDamage(error) || isHoldfastError(error, 'POINT_GONE')) ? lost.why : error;
      lost = next;
    }
}

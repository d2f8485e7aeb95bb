/** What the log of a journal says of a name under which it was to be taken over. */
import { HoldfastError } from '../../../domain/errors.ts';
import { currentEpoch, type Epoch, type JournalState } from '../../../engine/journal/state.ts';
import { ownerName } from '../../../engine/journal/takeover/owner-mark.ts';

/** In mode `local` an owner's name goes on with its write-ahead file's. */
const isNamed = ({ owner }: Epoch, name: string): boolean => ownerName(owner) === name || ownerName(owner).startsWith(`${name}/`);

export const ownsNow = (state: JournalState, name: string): boolean => {
  const current = currentEpoch(state);
  return current !== undefined && isNamed(current, name);
};

/** Its last epoch; null: that name never had one. */
export const lastOf = (state: JournalState, name: string): Epoch | null =>
  [...state.epochs.values()].findLast((epoch) => isNamed(epoch, name)) ?? null;

export interface Taken {
  /** Its first own epoch, and the one that this closed. */
  readonly epoch: Epoch;
  readonly closed: Epoch;
  /** The last number of the one before. */
  readonly end: number;
}

/** Null: that name has not taken it. JOURNAL_FENCED: somebody else has since. */
export function takenBy(state: JournalState, name: string): Taken | null {
  const epochs = [...state.epochs.values()];
  const first = epochs.findIndex((epoch) => isNamed(epoch, name));
  const [closed, epoch] = [epochs[first - 1], epochs[first]];
  if (first < 0 || epoch === undefined) return null;
  if (closed === undefined)
    throw new HoldfastError('INTERNAL', 'a journal that was taken over has an epoch before', { epoch: epoch.epoch });
  const current = currentEpoch(state);
  if (current !== undefined && !isNamed(current, name))
    throw new HoldfastError('JOURNAL_FENCED', 'somebody else has taken the journal over since', {
      epoch: current.epoch,
      owner: current.owner,
    });
  return { epoch, closed, end: epoch.start - 1 };
}

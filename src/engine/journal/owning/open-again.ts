/**
 * The owner opens the next epoch itself: a member is replaced, or a seal was found and nobody has opened (docs/journal.md, section 8).
 *
 * The end is what was confirmed, never what was sent: worked out on the state that the OPEN is put on, and again after a lost race (J8).
 * It is the caller's to acknowledge nothing from the first plan on until the log has told what became of it.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { EpochEnd, Member } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { currentEpoch } from '../state.ts';
import type { Opened } from '../takeover/opened.ts';
import { openedAt } from '../takeover/opened-at.ts';

export interface OpenAgain {
  readonly journal: Journal;
  /** Marked (takeover/owner-mark.ts); the same for every try, so that one whose answer was lost is found. */
  readonly owner: string;
  readonly closing: Opened;
  readonly members: readonly Member[];
  /** Where the epoch ends, and who holds all up to there. */
  readonly end: () => { readonly end: EpochEnd; readonly full: readonly string[] };
  readonly labelUs: number;
}

/** JOURNAL_FENCED: the journal is somebody else's. STORE_UNREACHABLE: unclear, to be tried again. */
export async function openAgain({ journal, owner, closing, members, end, labelUs }: OpenAgain): Promise<Opened> {
  const seq = await journal.log.append((state) => {
    const current = currentEpoch(state);
    if (current?.owner === owner) return null;
    if (current?.epoch !== closing.epoch)
      throw new HoldfastError('JOURNAL_FENCED', 'the journal was taken over by somebody else', {
        epoch: current?.epoch ?? 0,
        owner: current?.owner ?? '',
      });
    const worked = end();
    return {
      kind: 'OPEN',
      previous: closing.epoch,
      end: worked.end,
      mode: closing.mode,
      owner,
      members: [...members],
      full: [...worked.full],
      tailLost: false,
    };
  });
  return openedAt(journal.log.known(), owner, seq, labelUs);
}

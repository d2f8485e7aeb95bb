/**
 * Takes a journal over, or opens it for the first time (docs/journal.md, section 8).
 *
 *     sync the log | seal the chain in each member that answers | end := the longest | copy the tail | OPEN
 *
 * Invariants. The end is final before it is recorded: a seal stands behind it. In mode `pair` one member is enough: an acknowledgement
 * needs both, so a seal in one stops later ones, and its chain holds all earlier ones; in mode `local` a member that does not answer may
 * hold more, and somebody has to consent. After a lost race all of it is done again (J8): what won may have been a floor, and what the
 * walk began with may have been collected under it.
 *
 * An OPEN whose answer was lost is found by its mark. Seals that were put for an OPEN that never came harm nobody: the owner opens again.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { TAKE_OVER_ATTEMPTS_MAX } from '../../../domain/limits.ts';
import type { Member, OpenEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { currentEpoch, type Epoch, type JournalState } from '../state.ts';
import { chooseMembers } from './candidates.ts';
import { chooseEnd, longestAgreed, type Sealed } from './choose-end.ts';
import { labelFloor } from './label-floor.ts';
import { openedAt } from './opened-at.ts';
import type { Opened } from './opened.ts';
import { markedOwner, ownerName } from './owner-mark.ts';
import { patientJournal, waitAfter } from './patience.ts';
import { beginOf, sealChain, type SealedChain, type Sealing } from './seal-chain.ts';
import { whyUnheard } from './unheard.ts';

export interface TakeOverOptions {
  /** Who; at most 150 characters, shown to operators. */
  readonly owner: string;
  readonly mode: OpenEntry['mode'];
  /** Candidates, best first: `pair` takes the first two that answer, `local` all that do. */
  readonly members: readonly Member[];
  /** Somebody has consented to the loss of what regions that do not answer may hold alone, and of points that the log names. */
  readonly tailLost: boolean;
  /** What the caller holds of its own epoch: a write-ahead file. */
  readonly own?: OwnRecords;
}

/** Records that a restarted owner has, of an epoch that must still be the current one: nothing is opened otherwise. */
export interface OwnRecords {
  /** As that epoch's OPEN has it, or the name in it. */
  isOwner(owner: string): boolean;
  /** Everything that was acknowledged from this number on is among them. */
  readonly from: number;
}

/**
 * Fences whoever owns the journal, and opens its next epoch. STORE_UNREACHABLE: too few regions answer, or the log does not;
 * TAIL_LOST: consent is needed, `details.acknowledged` is the newest number that is known to have been promised. Either may be tried again.
 * JOURNAL_FENCED: somebody else has taken over meanwhile, or the current epoch is not that of `own`.
 */
export async function takeOver(journal: Journal, options: TakeOverOptions): Promise<Opened> {
  const owner = markedOwner(options.owner, journal.environment);
  let labelUs = 0;
  /** Whose epoch was found at the first look; null: nobody's. */
  let over: string | null | undefined;
  /** What the newest plan ended with: regions were tried often enough by then, and only the log is tried again. */
  let unplanned: unknown;
  const plan = async (state: JournalState): Promise<OpenEntry | null> => {
    const closing = currentEpoch(state);
    if (closing?.owner === owner) return null;
    try {
      const found = closing === undefined ? null : ownerName(closing.owner);
      over = over === undefined ? found : over;
      // An owner may have opened again; somebody else has come before us, and shall not be thrown out by what was meant for another.
      if (over !== found || [...state.epochs.values()].some((one) => one.owner === owner)) throw overtaken(closing);
      const worked = closing === undefined ? await firstOpen(journal, options) : await nextOpen(journal, options, state, closing, owner);
      labelUs = Math.max(labelUs, worked.labelUs);
      return { ...worked.open, owner };
    } catch (error) {
      unplanned = error;
      throw error;
    }
  };
  for (let attempt = 1; ; attempt++)
    try {
      const seq = await journal.log.append(plan);
      return openedAt(journal.log.known(), owner, seq, labelUs);
    } catch (error) {
      const ofTheLog = error !== unplanned && isHoldfastError(error, 'STORE_UNREACHABLE', 'CONTENTION');
      if (!ofTheLog || attempt >= TAKE_OVER_ATTEMPTS_MAX) throw error;
      await waitAfter(journal.environment, attempt);
    }
}

type Open = Omit<OpenEntry, 'owner'>;

interface Worked {
  readonly open: Open;
  readonly labelUs: number;
}

async function firstOpen(journal: Journal, { mode, members, tailLost, own }: TakeOverOptions): Promise<Worked> {
  if (own !== undefined) throw overtaken(undefined);
  const chosen = await chooseMembers(journal, mode, members, new Set());
  return { open: { kind: 'OPEN', previous: null, end: null, mode, members: [...chosen], full: [], tailLost }, labelUs: 0 };
}

const overtaken = (current: Epoch | undefined): HoldfastError =>
  new HoldfastError('JOURNAL_FENCED', 'the journal was taken over by somebody else', {
    epoch: current?.epoch ?? 0,
    owner: current?.owner ?? '',
  });

async function nextOpen(journal: Journal, options: TakeOverOptions, state: JournalState, closing: Epoch, by: string): Promise<Worked> {
  const { mode, members: candidates, tailLost, own } = options;
  if (own !== undefined && !own.isOwner(closing.owner)) throw overtaken(closing);
  const patient = patientJournal(journal);
  const sealed = await sealMembers(patient, state, closing, { by, ofDamaged: tailLost ? 'beginning' : 'nothing' });
  const acknowledged = Math.max(closing.start - 1, ...sealed.chains.map(({ end }) => end.acknowledged));
  const consent = { isGiven: tailLost, ...(own === undefined ? {} : { ownFrom: own.from }), acknowledged };
  longestAgreed(closing, sealed, consent);
  const members = await chooseMembers(journal, mode, candidates, new Set(sealed.chains.map(({ region }) => region)));
  const labelUs = await labelFloor(journal, state, sealed.chains);
  const isHeldTwice = mode === 'pair' || closing.mode === 'pair';
  const ending = await chooseEnd({ journal: patient, state, closing, consent, members, isHeldTwice }, sealed);
  return { open: { kind: 'OPEN', previous: closing.epoch, mode, members: [...members], tailLost, ...ending }, labelUs };
}

/** Seals the chain in each member; all at once, for a place may take a while to answer. */
async function sealMembers(journal: Journal, state: JournalState, closing: Epoch, how: Pick<Sealing, 'by' | 'ofDamaged'>): Promise<Sealed> {
  const { key, environment, regions } = journal;
  const sealOne = async (region: string): Promise<SealedChain | string> => {
    const store = regions.get(region)?.store;
    if (store === undefined) return `${region}: not known here`;
    const begin = beginOf(state, closing, region);
    try {
      return await sealChain({ region, store, key, environment, begin, ...how });
    } catch (error) {
      return `${region}: ${whyUnheard(error)}`;
    }
  };
  const told = await Promise.all(closing.members.map(({ region }) => sealOne(region)));
  return { chains: told.filter((one) => typeof one === 'object'), silent: told.filter((one) => typeof one === 'string') };
}

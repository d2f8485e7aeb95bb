/**
 * Where an epoch ends, of what its members' sealed chains say (docs/journal.md, section 8): at the end of the longest, once two
 * regions hold its tail.
 *
 * Invariant: nothing that was acknowledged lies past the end, unless somebody has consented. Of a pair one whole chain has all of it; in
 * mode `local` only those of all members have. Heads that are damaged show when a chain is walked, and then it is none; bodies show when
 * the tail is copied: then the chain is one up to there, and the end is chosen again.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { Member, OpenEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import type { Epoch, JournalState } from '../state.ts';
import { cutAt, endOf, type SealedChain } from './seal-chain.ts';
import { copyTail, type Unsound } from './tail.ts';

export interface Sealed {
  readonly chains: readonly SealedChain[];
  /** `region: why`. */
  readonly silent: readonly string[];
}

export interface Consent {
  /** To the loss of what may be in regions that do not answer alone. */
  readonly isGiven: boolean;
  /** Whoever takes over has everything that was acknowledged from this number on. */
  readonly ownFrom?: number;
  /** Newest number that is known to have been promised. */
  readonly acknowledged: number;
}

export interface Ending {
  /** Its stores try again by themselves. */
  readonly journal: Journal;
  readonly state: JournalState;
  readonly closing: Epoch;
  readonly consent: Consent;
  readonly members: readonly Member[];
  /** Whether all of it has to be in two regions. */
  readonly isHeldTwice: boolean;
}

type EndAndFull = Pick<OpenEntry, 'full'> & { readonly end: NonNullable<OpenEntry['end']> };

export async function chooseEnd(ending: Ending, sealed: Sealed): Promise<EndAndFull> {
  const { closing, consent, isHeldTwice } = ending;
  const longest = longestAgreed(closing, sealed, consent);
  if (longest === null) {
    const end = { index: -1, seq: closing.start - 1, digest: closing.before };
    return { end, full: closing.members.map(({ region }) => region) };
  }
  for (const chain of sealed.chains) refuseFork(chain, longest);
  const full = sealed.chains.filter(({ end }) => end.index === longest.end.index).map(({ region }) => region);
  const completed = isHeldTwice && full.length === 1 ? await holdTwice(ending, sealed, longest) : null;
  if (completed !== null && typeof completed !== 'string') return await chooseEnd(ending, upTo(sealed, longest, completed));
  return { end: endOf(longest), full: completed === null ? full : [...full, completed] };
}

/** The longest chain; null: nobody answers, and that is agreed to. TAIL_LOST, STORE_UNREACHABLE: what does not answer may hold more. */
export function longestAgreed(closing: Epoch, { chains, silent }: Sealed, consent: Consent): SealedChain | null {
  const longest = chains.reduce<SealedChain | null>((best, one) => (best !== null && best.end.index >= one.end.index ? best : one), null);
  const mayBeLost = closing.mode === 'local' ? longest === null || silent.length > 0 : !chains.some(({ isWhole }) => isWhole);
  if (mayBeLost) requireConsent(closing, longest, silent, consent);
  return longest;
}

function requireConsent(closing: Epoch, longest: SealedChain | null, silent: readonly string[], consent: Consent): void {
  const { isGiven, ownFrom, acknowledged } = consent;
  if (isGiven || (longest !== null && ownFrom !== undefined && ownFrom <= longest.end.next)) return;
  const details = { epoch: closing.epoch, acknowledged, silent };
  if (closing.mode === 'pair') throw new HoldfastError('STORE_UNREACHABLE', `no member of epoch ${closing.epoch} answers`, details);
  throw new HoldfastError('TAIL_LOST', `a region that does not answer may hold more of epoch ${closing.epoch}`, details);
}

/** Two chains of one epoch are one, as far as both go. */
function refuseFork({ region, begin, end }: SealedChain, longest: SealedChain): void {
  const there = longest.marks.get(end.index);
  if (end.index > begin.index && there !== undefined && Buffer.compare(there.digest, end.digest) !== 0)
    throw new HoldfastError('CHAIN_BROKEN', `epoch ${end.epoch} has two histories, in ${region} and in ${longest.region}`, {
      epoch: end.epoch,
      index: end.index - 1,
    });
}

/** Sees that two regions hold the tail. The region that is full by that, if it was a member; null: none, or nobody else is there. */
async function holdTwice(ending: Ending, { chains }: Sealed, longest: SealedChain): Promise<string | null | Unsound> {
  const { journal, state, closing, members } = ending;
  const other = [...members, ...chains].find(({ region }) => region !== longest.region)?.region;
  const [source, target] = [longest.region, other ?? ''].map((region) => journal.regions.get(region)?.store);
  if (other === undefined || source === undefined || target === undefined) return null;
  const before = chains.find(({ region }) => region === other);
  const targetLacks = before?.end.index ?? 0;
  const from = Math.max(0, ...chains.map((chain) => chain.acknowledgedBatches));
  const unsound = await copyTail({ journal, state, closing, chain: longest, source, target, from, targetLacks });
  if (unsound !== null) return unsound;
  return before !== undefined && targetLacks >= Math.max(from, longest.begin.index) ? other : null;
}

/** A chain goes up to its first body that is not to be had as it was written; what is behind may be lost. */
const upTo = ({ chains, silent }: Sealed, unsound: SealedChain, { index, why }: Unsound): Sealed => ({
  chains: chains.map((chain) => (chain === unsound ? cutAt(chain, index) : chain)),
  silent: [...silent, `${unsound.region}: ${why}`],
});

/** What happened in a campaign, in figures. */
import { noCountsOf, type CountsOf } from '../counting.ts';

export const COUNTED = {
  sessions: 'snapshots that were committed',
  attempts: 'attempts of their senders',
  rivals: 'second senders on a lineage',
  fenced: 'senders that were told of a newer one',
  cut: 'requests cut on the way',
  delayed: 'requests that came late',
  doubled: 'requests that came twice',
  lost: 'answers lost',
  'half lost': 'answers of which half came',
  away: 'times that the link was away',
  collections: 'collections at the receiver',
  reclaimed: 'snapshots reclaimed there meanwhile',
  rewritten: 'packs rewritten there',
  packsHarmed: 'packs deleted, cut or corrupted',
  namesLost: 'names of the snapshot under way in them',
  pushedAgain: 'values pushed that were lost',
  healed: 'snapshots healed by a session with proof all',
  restores: 'snapshots restored and compared bit for bit',
} as const;

export type Counted = keyof typeof COUNTED;
export type Counts = CountsOf<typeof COUNTED>;

export const noCounts = (): Counts => noCountsOf(COUNTED);

/** What happened in a campaign, in figures. */
import { noCountsOf, type CountsOf } from '../counting.ts';

export const COUNTED = {
  kills: 'kills of the disk server',
  stops: 'clean stops of it',
  capturerKills: 'kills of capturers',
  strikes: 'times that a store was away',
  changes: 'changes acknowledged',
  reads: 'reads compared',
  doubts: 'changes in doubt that were settled',
  audits: 'disks compared whole',
  captures: 'captures committed',
  givenUp: 'captures given up',
  snapshots: 'snapshots compared, store by store',
  incremental: 'captures that read only what the disk server said had changed',
  hydratingCaptures: 'captures of disks that were still restored',
  groups: 'groups of one moment compared',
  restores: 'instant restores begun',
  alone: 'instant restores that stood alone',
  promotions: 'promotions',
} as const;

export type Counted = keyof typeof COUNTED;
export type Counts = CountsOf<typeof COUNTED>;

export const noCounts = (): Counts => noCountsOf(COUNTED);

/** What happened in a campaign, in figures. */
import { noCountsOf, type CountsOf } from '../counting.ts';

export const COUNTED = {
  kills: 'kills of a disk server under load',
  machines: '... with its machine, of which the page cache is gone',
  strikes: 'kills of the S3 server',
  fio: 'runs with a disk that fio loads',
  changes: 'changes answered',
  promises: 'flushes and FUA changes answered',
  away: 'times that a store was away',
  silent: 'requests that a silent store took, and that landed later',
  slow: 'requests that took long',
  late: 'requests that landed after whoever asked was cut off',
  lost: 'answers lost',
  doubled: 'requests that landed twice',
  jumps: 'jumps of a clock by a day',
  rivals: 'journals taken over from an owner that was alive',
  frozen: '... that stood still meanwhile',
  fenced: 'owners that learned that they were overtaken',
  orphans: 'records that only an orphan has',
  hostsLost: 'hosts lost, and their journals taken over',
  replaced: 'epochs with the third region',
  bereft: 'pairs that lost a member for good, and went on with the spare',
  resyncs: 'times of lost order, ended by a base',
  points: 'points listed',
  recovered: 'points recovered and held against the history',
} as const;

export type Counted = keyof typeof COUNTED;
export type Counts = CountsOf<typeof COUNTED>;

export const noCounts = (): Counts => noCountsOf(COUNTED);

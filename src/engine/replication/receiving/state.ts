/**
 * A session as its parts share it: the reducer's state, and what it stands on. A part changes the reducer only between two
 * waits, so that whatever a reducer is told is true when it is told.
 */
import type { Threads } from '../../../ground/threads/threads.ts';
import type { HealingDestination } from '../../repository/destination.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Receiver } from '../receiver.ts';
import type { Counts } from './figures.ts';
import type { Inventory } from './inventory.ts';
import type { ReceivingLimits } from './limits.ts';
import type { Opening } from './opening.ts';
import type { Packing } from './packing.ts';
import type { SessionFile } from './session-file.ts';

/** What belongs to one epoch. */
export interface Claimed {
  readonly epoch: number;
  readonly destination: HealingDestination;
  /** Brings all that differs from the base: domain/missing.ts. */
  readonly bringingAll: HealingDestination;
  readonly packing: Packing;
}

export interface SessionState {
  readonly repository: Repository;
  readonly inventory: Inventory;
  readonly file: SessionFile;
  readonly receiver: Receiver;
  readonly counts: Counts;
  readonly threads: Threads;
  readonly limits: ReceivingLimits;
  readonly signal: AbortSignal;
  opening: Opening;
  claimed: Claimed;
  /** Counts changes of a subtree's pages: a receipt is kept only if there was none while it was made. */
  readonly edits: Map<number, number>;
  /** Commits that were answered *missing*, and what has to bring all since. */
  missingAnswers: number;
  readonly bringAll: Set<number>;
  /** Subtrees in which something was listed and did not open: they are proven by reading, whatever was agreed. */
  readonly doubted: Set<number>;
}

/** The claim's base; null: there is none. */
export const baseOf = ({ repository, opening }: Pick<SessionState, 'repository' | 'opening'>): Snapshot | null =>
  opening.base === null ? null : (repository.ledger().snapshots.get(opening.base) ?? null);

/**
 * An OPEN that was won: the epoch that one process, this one and once, may write in.
 */
import type { Member, OpenEntry } from '../entries.ts';
import type { Epoch, JournalState } from '../state.ts';

export interface Opened {
  readonly epoch: number;
  /** As the log has it: the name that was given, and a mark that no other OPEN has. */
  readonly owner: string;
  readonly mode: OpenEntry['mode'];
  readonly members: readonly Member[];
  /** Number of its first record, and the digest before its first batch. */
  readonly start: number;
  readonly before: Uint8Array;
  /** No label of this epoch may be lower. */
  readonly labelUs: number;
  /** What it closed, with its end; null: it is the first. */
  readonly closed: Epoch | null;
  /** The journal's state in which it stands. */
  readonly state: JournalState;
}

/**
 * What an owner needs of the write-ahead file, which WriteAhead satisfies; a simulation gives its own disk.
 */
import type { HoldfastError } from '../../../domain/errors.ts';
import type { JournalRecord } from '../records.ts';

export interface WriteAheadPort {
  /** Number that the next record must have. */
  readonly next: number;
  /** Why it takes no more; null: it does. WRITE_AHEAD_FAILED. */
  readonly failed: HoldfastError | null;
  /** What was there when it was opened. */
  readonly contents: { records(from: number): AsyncIterable<JournalRecord> };
  /** Takes records that go on from `next`, in the turn of the call; resolves when there is room for more. WRITE_AHEAD_FAILED. */
  append(records: readonly JournalRecord[]): Promise<void>;
  /** Resolves when everything appended so far is durable. WRITE_AHEAD_FAILED. */
  sync(): Promise<void>;
  /** Lets go what is below this number; some of it may stay. */
  freeBelow(seq: number): Promise<void>;
}

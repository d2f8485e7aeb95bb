/**
 * What an owner is given, and what it says of itself.
 */
import type { HoldfastError } from '../../../domain/errors.ts';
import type { Member, OpenEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import type { JournalRecord } from '../records.ts';
import type { Opened } from '../takeover/opened.ts';
import type { Patience } from './replacing.ts';
import type { WriteAheadPort } from './write-ahead-port.ts';

type WithoutNumber<T> = T extends unknown ? Omit<T, 'seq'> : never;
/** A record that has no number yet. */
export type JournalOp = WithoutNumber<JournalRecord>;

/** What a test or a simulation may have otherwise; domain/limits.ts has the defaults. */
export interface OwnerLimits extends Patience {
  /** Records wait so long for a batch, unless a flush waits (`pair`) or there are enough of them. */
  readonly batchMs: number;
  /** Data of records that not all members have confirmed; then appends wait. Of mode `local`, appends are slowed from half of it on. */
  readonly heldBytesMax: number;
  /** Attempts in a row that a batch may fail in a member, and how old one may get without its confirmation, before the owner goes on without it. */
  readonly memberAttemptsMax: number;
  readonly memberMsMax: number;
}

export interface OwnerOptions {
  readonly journal: Journal;
  readonly opened: Opened;
  /** Of mode `local`; null in mode `pair`. */
  readonly writeAhead: WriteAheadPort | null;
  /** Records of the write-ahead file from `opened.start` on, in order: they go out again. */
  readonly carried?: readonly JournalRecord[];
  /** Regions that may take the place of a member that is gone, best first. Without any, `pair` waits for it. */
  readonly spares?: readonly Member[];
  /** zstd level of the batches; null: raw. */
  readonly level?: number | null;
  readonly limits?: Partial<OwnerLimits>;
}

export interface MemberStatus extends Member {
  /** Newest number that it holds with everything before it, as far as that is kept: not below what all hold. */
  readonly confirmed: number;
  readonly inFlight: number;
  /** Attempts that the unluckiest batch has failed in a row, and the code of the newest failure. */
  readonly failures: number;
  readonly lastError: string | null;
}

export interface OwnerStatus {
  /** `opening`: a member is being replaced, or a stranger's object was found. */
  readonly state: 'owning' | 'opening' | 'ended';
  /** Why it ended: JOURNAL_FENCED, WRITE_AHEAD_FAILED. */
  readonly endedBy: HoldfastError | null;
  readonly epoch: number;
  readonly mode: OpenEntry['mode'];
  readonly members: readonly MemberStatus[];
  readonly next: number;
  readonly acknowledged: number;
  /** Newest number that is in the regions: with all members (`pair`), with one of them (`local`). */
  readonly closed: number;
  /** The oldest record above that. */
  readonly oldestOpen: { readonly seq: number; readonly ageMs: number } | null;
  /** Of records that not all members have confirmed. */
  readonly heldBytes: number;
}

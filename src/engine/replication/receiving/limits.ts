/** Bounds of a receiver, with their arithmetic: docs/replication.md section 7 quotes them. */
import { MIB, SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import { NAMES_MAX } from '../frames.ts';

export interface ReceivingLimits {
  /** Names of one MISSING answer. */
  readonly namesMax: number;
  /** Names that wait in all subtrees of a session together: about 40 MB of dictionaries. */
  readonly waitingMax: number;
  /** Open sessions of a token: each has a claim and a file. */
  readonly sessionsMax: number;
  /** CLAIM records that a token may cause in a minute. */
  readonly claimsPerMinute: number;
  /** How old a listing of a repository's packs may be that names are resolved by. */
  readonly listingMs: number;
  /** A session without a message for so long is closed, and its packs are swept. */
  readonly idleMs: number;
  /** Of an exchange, as OPENED tells it. */
  readonly exchangeBytes: number;
  readonly exchangesMax: number;
  /** Packs of all sessions together, being filled or put: 4 a core, 16 MiB each. */
  readonly packsPerThread: number;
}

export const RECEIVING_LIMITS: ReceivingLimits = {
  namesMax: NAMES_MAX,
  waitingMax: 4 * SUBTREE_EXTENTS,
  sessionsMax: 16,
  claimsPerMinute: 10,
  listingMs: 60_000,
  idleMs: 24 * 3600 * 1000,
  exchangeBytes: 4 * MIB,
  exchangesMax: 16,
  packsPerThread: 4,
};

/** References that are made durable with one sync: 64 pages are 540 KB. */
export const PAGES_A_NOTE = 64;
/** Directories of packs read at once when a session is found again. */
export const DIRECTORIES_AT_ONCE = 8;

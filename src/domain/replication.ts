/**
 * What a session with a receiver comes to, and when it has to be given up: as plain numbers, for its workflow and whoever shows it.
 *
 * A round brings something as long as less is missing than ever before. Two in a row that do not end the session: what the
 * receiver lacks is then what it does not keep. So a session has at most twice as many rounds as it has names.
 */
import { MISSING_ROUNDS_MAX } from './limits.ts';

export interface ReplicationFigures {
  /** Plain bytes of the extents that were named. */
  readonly logicalBytes: number;
  /** Plain bytes of the extents that went over. */
  readonly uniqueBytes: number;
  /** Frames that were said, repeated ones too. */
  readonly wireBytes: number;
  /** Extents that were named. */
  readonly referenced: number;
  readonly sent: number;
  /** Names that were asked for after their extent had been sent. */
  readonly askedAgain: number;
  /** Inquiries that were answered. */
  readonly rounds: number;
  /** Subtrees that the receiver has proven to hold. */
  readonly verified: number;
}

export const NO_FIGURES: ReplicationFigures = {
  ...{ logicalBytes: 0, uniqueBytes: 0, wireBytes: 0, referenced: 0, sent: 0, askedAgain: 0, rounds: 0, verified: 0 },
};

export const addFigures = (a: ReplicationFigures, b: ReplicationFigures): ReplicationFigures => ({
  logicalBytes: a.logicalBytes + b.logicalBytes,
  uniqueBytes: a.uniqueBytes + b.uniqueBytes,
  wireBytes: a.wireBytes + b.wireBytes,
  referenced: a.referenced + b.referenced,
  sent: a.sent + b.sent,
  askedAgain: a.askedAgain + b.askedAgain,
  rounds: a.rounds + b.rounds,
  verified: a.verified + b.verified,
});

/** How far the rounds of some subtrees have come. */
export interface Shrinking {
  /** The least that was missing after a round; null: there was none. */
  readonly least: number | null;
  /** Rounds in a row, until now, after which no less was missing. */
  readonly idle: number;
}

export const NOT_BEGUN: Shrinking = { least: null, idle: 0 };

const IDLE_ROUNDS_MAX = 2;

export const afterRound = ({ least, idle }: Shrinking, missing: number): Shrinking =>
  least === null || missing < least ? { least: missing, idle: 0 } : { least, idle: idle + 1 };

export const isStuck = ({ idle }: Shrinking): boolean => idle >= IDLE_ROUNDS_MAX;

/** COMMITs of a session: as in missing.ts, for after so many withheld ones the receiver relies on nothing. */
export const COMMITS_MAX = MISSING_ROUNDS_MAX + 1;

/** Tries of one round; each is a later call than the one before, so their number is part of what the receiver hears. */
export const ROUND_TRIES_MAX = 64;
/** Rounds over the same subtrees: with their tries 2^16, which is what a session can tell apart. */
export const ROUNDS_MAX = 2 ** 16 / ROUND_TRIES_MAX;

/** Subtrees of one round: 128 GiB at 256 KiB; more of them where they would be more than 256 groups. */
const GROUP_SUBTREES_MIN = 8;
const GROUPS_MAX = 256;

export function groupsOf(subtrees: readonly number[]): readonly (readonly number[])[] {
  const size = Math.max(GROUP_SUBTREES_MIN, Math.ceil(subtrees.length / GROUPS_MAX));
  return Array.from({ length: Math.ceil(subtrees.length / size) }, (_, i) => subtrees.slice(i * size, (i + 1) * size));
}

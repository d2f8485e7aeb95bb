/**
 * A position: where a change stands in its source's log, as one number of 128 bits.
 *
 *     major u56 | minor u56 | step u16            written as 32 hex digits, which compare as the numbers do
 *
 * A bigint in memory. What major and minor are is the source's business (docs/tables.md, section 3); the step orders
 * what has no place of its own after what stood last before it.
 */
const STEP_BITS = 16n;
const MINOR_BITS = 56n;
const STEP_MAX = (1n << STEP_BITS) - 1n;
const PART_MAX = (1n << MINOR_BITS) - 1n;
const HALF = (1n << 64n) - 1n;

export type Position = bigint;
export const POSITION_ZERO: Position = 0n;

/** Null when a part does not fit its 56 bits. */
export const positionOf = (major: bigint, minor: bigint): Position | null =>
  major < 0n || minor < 0n || major > PART_MAX || minor > PART_MAX ? null : (major << (MINOR_BITS + STEP_BITS)) | (minor << STEP_BITS);

/** The place right after `last` without one of its own; the last step is shared by all that come after it. */
export const stepAfter = (last: Position): Position => ((last & STEP_MAX) === STEP_MAX ? last : last + 1n);

/** The same major and minor. */
export const samePlace = (a: Position, b: Position): boolean => a >> STEP_BITS === b >> STEP_BITS;

export const majorOf = (position: Position): bigint => position >> (MINOR_BITS + STEP_BITS);
/** The least position of a major. */
export const startOfMajor = (major: bigint): Position => major << (MINOR_BITS + STEP_BITS);

export const upperHalf = (position: Position): bigint => position >> 64n;
export const lowerHalf = (position: Position): bigint => position & HALF;
export const fromHalves = (upper: bigint, lower: bigint): Position => (upper << 64n) | lower;

export const positionText = (position: Position): string => position.toString(16).padStart(32, '0');
export const parsePosition = (text: string): Position => BigInt(`0x${text}`);

/**
 * Which names an object may have: the one check that every store makes before it touches anything.
 *
 * Narrow on purpose: what passes means the same to S3, to a file system and in a URL, cannot leave the folder of a file
 * store (`..`, a leading `/`, NUL and back-slashes do not pass), and cannot meet what a file store keeps for itself, whose
 * names begin with a full stop. The character set is ASCII, so comparing strings is comparing bytes.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { ByteRange } from './object-store.ts';

export const NAME_LENGTH_MAX = 512;
/** Names a call of delete takes and a page of list holds: what S3 takes. */
export const BATCH_LENGTH_MAX = 1000;

const SEGMENT = '[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}';
const NAME = new RegExp(`^(?:${SEGMENT}/)*${SEGMENT}$`);
const PREFIX = new RegExp(`^(?:${SEGMENT}/)*(?:${SEGMENT})?$`);

export const isObjectName = (name: string): boolean => name.length <= NAME_LENGTH_MAX && NAME.test(name);

export function checkName(name: string): void {
  if (isObjectName(name)) return;
  throw new HoldfastError('ARGUMENT_INVALID', `not an object name: ${JSON.stringify(name.slice(0, 80))}`, {
    field: 'name',
    expected: `1 to ${NAME_LENGTH_MAX} characters, segments of [A-Za-z0-9._-] that do not begin with a full stop`,
  });
}

export function checkNames(names: readonly string[]): void {
  if (names.length > BATCH_LENGTH_MAX) {
    throw new HoldfastError('ARGUMENT_INVALID', `too many names in one call: ${names.length}`, {
      field: 'names',
      expected: `at most ${BATCH_LENGTH_MAX}`,
    });
  }
  names.forEach(checkName);
}

/** A prefix may end within a segment: `log/0000` is one. */
export function checkPrefix(prefix: string, field: 'prefix' | 'after' = 'prefix'): void {
  if (prefix.length <= NAME_LENGTH_MAX && PREFIX.test(prefix)) return;
  throw new HoldfastError('ARGUMENT_INVALID', `not the beginning of an object name: ${JSON.stringify(prefix.slice(0, 80))}`, {
    field,
    expected: 'the beginning of an object name, or nothing',
  });
}

export function checkRange(range: ByteRange): void {
  if (Number.isSafeInteger(range.offset) && range.offset >= 0 && Number.isSafeInteger(range.length) && range.length >= 0) return;
  throw new HoldfastError('ARGUMENT_INVALID', `not a range of bytes: offset ${range.offset}, length ${range.length}`, {
    field: 'range',
    expected: 'whole numbers from 0',
  });
}

/** The number of names a page may hold. */
export function pageLength(limit = BATCH_LENGTH_MAX): number {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= BATCH_LENGTH_MAX) return limit;
  throw new HoldfastError('ARGUMENT_INVALID', `not a length of a page: ${limit}`, { field: 'limit', expected: `1 to ${BATCH_LENGTH_MAX}` });
}

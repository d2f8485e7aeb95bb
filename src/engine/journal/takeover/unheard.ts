import { HoldfastError, type ErrorCode } from '../../../domain/errors.ts';

/** What one region may suffer while the others go on: it does not answer, or what it has is not to be had. */
const OF_ONE_REGION: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'STORE_UNREACHABLE',
  'STORE_DENIED',
  'STORE_FULL',
  'STORE_UNFIT',
  'DAMAGED',
  'CHAIN_BROKEN',
  'BATCH_FOREIGN',
]);

/** The code, if this is the trouble of one region; anything else stops whoever met it. */
export function whyUnheard(error: unknown): ErrorCode {
  if (error instanceof HoldfastError && OF_ONE_REGION.has(error.code)) return error.code;
  throw error;
}

/** What an error of the operating system means to a caller of a file store. */
import { HoldfastError, type ErrorCode } from '../../domain/errors.ts';

interface ErrnoError {
  readonly code: string;
  readonly message: string;
}

/** Told by its members: errors of Node's core are not instances of the `Error` of another realm, such as a test's. */
const isErrnoError = (error: unknown): error is ErrnoError =>
  typeof error === 'object' &&
  error !== null &&
  'errno' in error &&
  'code' in error &&
  typeof error.code === 'string' &&
  'message' in error;

export const hasErrno = (error: unknown, ...codes: readonly string[]): boolean => isErrnoError(error) && codes.includes(error.code);

/** The file system, a quota or the largest size of a file leaves no room. */
export const saysFull = (error: unknown): boolean => hasErrno(error, 'ENOSPC', 'EDQUOT', 'EFBIG');

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'STORE_FULL',
  EDQUOT: 'STORE_FULL',
  EACCES: 'STORE_DENIED',
  EPERM: 'STORE_DENIED',
  EROFS: 'STORE_DENIED',
  // The name of one object is the folder of another; S3 would take both.
  ENOTDIR: 'ARGUMENT_INVALID',
  EISDIR: 'ARGUMENT_INVALID',
  ENAMETOOLONG: 'ARGUMENT_INVALID',
};

/** An error of the file system as one of the table's; anything else (an abort, a HoldfastError, a mistake) stays what it is. */
export function fileStoreError(error: unknown, operation: string, name: string): unknown {
  if (error instanceof HoldfastError || !isErrnoError(error)) return error;
  const { code: errno, message } = error;
  return new HoldfastError(CODES[errno] ?? 'STORE_UNREACHABLE', `${operation} of ${name}: ${message}`, { operation, name, errno }, error);
}

/**
 * What a failure of an S3 call means to a caller of the store.
 *
 * The SDK throws many shapes: service errors with a name and a status, errors of sockets with an errno, timeouts by name
 * only, answers it cannot parse. They are read by their members, as errors of Node's core are not instances of the `Error`
 * of another realm. What looks like none of them is a mistake of ours and passes through as it is.
 *
 * The rule for what is unclear: anything after which the call may have taken effect, or may succeed later, is
 * STORE_UNREACHABLE. Only a definite answer becomes another code.
 */
import { z } from 'zod';
import { HoldfastError, type ErrorCode } from '../../domain/errors.ts';

const failureSchema = z.object({
  name: z.string().catch('Error'),
  message: z.string().catch(''),
  /** An errno of the socket. */
  code: z.string().optional().catch(undefined),
  $metadata: z.object({ httpStatusCode: z.number().optional() }).optional().catch(undefined),
  $response: z.unknown().optional(),
});

export interface S3Failure {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
}

/** The failure of a call, or null when the error is none (an abort, a mistake). */
export function s3Failure(error: unknown): S3Failure | null {
  if (error instanceof HoldfastError) return null;
  const parsed = failureSchema.safeParse(error);
  if (!parsed.success) return null;
  const { name, message, code, $metadata, $response } = parsed.data;
  const status = $metadata?.httpStatusCode;
  const fromOutside = code !== undefined || $metadata !== undefined || $response !== undefined || name === 'TimeoutError';
  if (!fromOutside && name !== 'CredentialsProviderError') return null;
  return { name: code !== undefined && status === undefined ? code : name, message, status };
}

const BY_NAME: Readonly<Record<string, ErrorCode>> = {
  // MinIO 507; the rest are names of other servers for the same.
  XMinioStorageFull: 'STORE_FULL',
  XMinioAdminBucketQuotaExceeded: 'STORE_FULL',
  QuotaExceeded: 'STORE_FULL',
  InsufficientStorage: 'STORE_FULL',
  InsufficientCapacity: 'STORE_FULL',
  CredentialsProviderError: 'STORE_DENIED',
  ExpiredToken: 'STORE_DENIED',
  InvalidToken: 'STORE_DENIED',
  AuthorizationHeaderMalformed: 'STORE_DENIED',
  PermanentRedirect: 'STORE_DENIED',
  IllegalLocationConstraintException: 'STORE_DENIED',
  // Damaged or cut short on the way: the same call can succeed.
  XAmzContentChecksumMismatch: 'STORE_UNREACHABLE',
  XAmzContentSHA256Mismatch: 'STORE_UNREACHABLE',
  BadDigest: 'STORE_UNREACHABLE',
  IncompleteBody: 'STORE_UNREACHABLE',
  RequestTimeout: 'STORE_UNREACHABLE',
  NotImplemented: 'STORE_UNFIT',
  EntityTooLarge: 'ARGUMENT_INVALID',
  KeyTooLongError: 'ARGUMENT_INVALID',
  InvalidObjectName: 'ARGUMENT_INVALID',
  XMinioInvalidObjectName: 'ARGUMENT_INVALID',
  // The name of one object is the folder of another, where the server keeps files.
  XMinioParentIsObject: 'ARGUMENT_INVALID',
  XMinioObjectExistsAsDirectory: 'ARGUMENT_INVALID',
};

const REMARKS: Readonly<Record<string, string>> = {
  NoSuchBucket: 'the bucket is not there',
  RequestTimeTooSkewed: 'the clock of this machine is off',
  PermanentRedirect: 'the bucket is in another region',
  AuthorizationHeaderMalformed: 'the bucket is probably in another region',
};

function codeOfStatus(status: number | undefined): ErrorCode {
  if (status === 401 || status === 403 || status === 405) return 'STORE_DENIED';
  if (status === 507) return 'STORE_FULL';
  if (status === 501) return 'STORE_UNFIT';
  // Below 400: it was no answer of S3. 404 is the bucket or the server, never the object: that is a return value.
  const unclear = status === undefined || status < 400 || status >= 500;
  return unclear || [404, 408, 409, 429].includes(status) ? 'STORE_UNREACHABLE' : 'STORE_UNFIT';
}

export function s3StoreError(error: unknown, operation: string, subject: string): unknown {
  const failure = s3Failure(error);
  if (failure === null) return error;
  const code = BY_NAME[failure.name] ?? codeOfStatus(failure.status);
  const remark = REMARKS[failure.name] ?? failure.message;
  return new HoldfastError(
    code,
    `${operation} of ${subject}: ${failure.name}${remark === '' ? '' : `: ${remark}`}`,
    { operation, subject, name: failure.name, status: failure.status ?? null },
    error,
  );
}

/** The keys that a delete could not remove, as one error: refused for good if any was. */
export function s3DeleteError(
  failed: readonly { readonly Code?: string; readonly Key?: string; readonly Message?: string }[],
): HoldfastError {
  const denied = failed.find((one) => one.Code === 'AccessDenied' || one.Code === 'InvalidRequest' || one.Code === 'ObjectLocked');
  const { Code = 'unknown', Message = '', Key = '' } = denied ?? failed[0] ?? {};
  return new HoldfastError(denied === undefined ? 'STORE_UNREACHABLE' : 'STORE_DENIED', `delete of ${Key}: ${Code}: ${Message}`, {
    failedCount: failed.length,
    keys: failed.slice(0, 10).map((one) => one.Key ?? ''),
  });
}

/** An answer that is not of the form that the protocol gives it: something between us and the server is confused. */
export const s3OddAnswer = (subject: string, what: string): HoldfastError =>
  new HoldfastError('STORE_UNREACHABLE', `an answer about ${subject} makes no sense: ${what}`, { subject });

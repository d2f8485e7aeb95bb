/** What came back of a request to a receiver, of an exchange or of a question: an answer, a refusal, or nothing. The same words for both. */
import type { IncomingMessage } from 'node:http';
import { HoldfastError, messageOf, type ErrorDetails } from '../../../domain/errors.ts';

/** What stands against an answer that is not the one that was meant, by its status. */
export function refusalOf({ statusCode = 0, headers }: IncomingMessage): HoldfastError {
  const details: ErrorDetails = { status: statusCode };
  if (statusCode === 401 || statusCode === 403)
    return new HoldfastError(
      'RECEIVER_DENIED',
      statusCode === 401 ? 'the receiver does not take the token' : 'the token does not allow this',
      details,
    );
  if (statusCode >= 500 || statusCode === 429 || statusCode === 408)
    return new HoldfastError('RECEIVER_UNREACHABLE', `the receiver cannot hear this now (HTTP ${statusCode})`, {
      ...details,
      ...retryAfter(headers['retry-after']),
    });
  return new HoldfastError('FRAME_INVALID', `what answers there is no receiver, or hears no such exchange (HTTP ${statusCode})`, details);
}

const retryAfter = (header: string | undefined): ErrorDetails => {
  const seconds = Number(header);
  return header !== undefined && seconds > 0 && seconds < 86_400 ? { retryAfterMs: seconds * 1000 } : {};
};

/** Alerts by which a receiver says that it does not take the certificate of this side. */
const CERTIFICATE_DENIED = /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_(EXPIRED|REVOKED|UNKNOWN)|ACCESS_DENIED)/i;

/** No answer came: why, without what could be a secret. */
export function unreachable(error: unknown): HoldfastError {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (CERTIFICATE_DENIED.test(code)) return new HoldfastError('RECEIVER_DENIED', 'the receiver does not take the certificate of this side');
  return new HoldfastError('RECEIVER_UNREACHABLE', `the receiver does not answer: ${messageOf(error)}`, code === '' ? {} : { cause: code });
}

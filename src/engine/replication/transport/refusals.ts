/** What the transport itself refuses: a status of HTTP with `{ code, message }`. Of one kind the same words for all. */
import type { ErrorCode } from '../../../domain/errors.ts';

export interface Refusal {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export const refusals = {
  badRequest: { status: 400, code: 'FRAME_INVALID', message: 'what was said is not HTTP' },
  unknown: {
    status: 401,
    code: 'RECEIVER_DENIED',
    message: 'a token is needed that this receiver takes',
    headers: { 'www-authenticate': 'Bearer realm="holdfast"' },
  },
  forbidden: { status: 403, code: 'RECEIVER_DENIED', message: 'the token does not allow this' },
  notFound: { status: 404, code: 'FRAME_INVALID', message: 'there is nothing here of that name' },
  otherMethod: { status: 405, code: 'FRAME_INVALID', message: 'an exchange is a POST', headers: { allow: 'POST' } },
  tooSlow: { status: 408, code: 'FRAME_INVALID', message: 'the body comes too slowly' },
  tooLong: { status: 413, code: 'FRAME_INVALID', message: 'the exchange is too long' },
  otherType: {
    status: 415,
    code: 'FRAME_INVALID',
    message: 'an exchange has the type application/vnd.holdfast.replication, and no encoding',
  },
  headersTooLong: { status: 431, code: 'FRAME_INVALID', message: 'the headers are too long' },
  mistake: { status: 500, code: 'INTERNAL', message: 'a mistake in the receiver; its log says more' },
  notNow: { status: 503, code: 'RECEIVER_UNREACHABLE', message: 'the receiver cannot answer now', headers: { 'retry-after': '1' } },
  tooMany: (waitMs: number): Refusal => ({
    status: 429,
    code: 'RECEIVER_UNREACHABLE',
    message: 'too much at once with this token',
    headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
  }),
} as const satisfies Record<string, Refusal | ((waitMs: number) => Refusal)>;

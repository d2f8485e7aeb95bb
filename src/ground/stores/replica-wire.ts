/**
 * What a replica and its clients say to each other: paths, headers, bounds, and errors as statuses (docs/replica.md, section 3).
 *
 * Both ends are of this table, and neither trusts the other: each checks what it gets against it.
 */
import { z } from 'zod';
import { HoldfastError, type ErrorCode } from '../../domain/errors.ts';
import { KIB, MIB } from '../../domain/limits.ts';
import { printable } from '../http/response.ts';
import { BATCH_LENGTH_MAX } from './object-name.ts';

export const OBJECTS_PATH = '/v1/objects/';
export const LIST_PATH = '/v1/list';
export const DELETE_PATH = '/v1/delete';

export const HEADERS = {
  /** Of every answer: the epoch of the replica. */
  replica: 'x-holdfast-replica',
  blake3: 'x-holdfast-blake3',
  size: 'x-holdfast-size',
  code: 'x-holdfast-code',
} as const;

/** Where a replica notes in the store behind who stands before it; nobody reaches it through a replica. */
export const MARK_PREFIX = 'replica-owner/';

/** Above a pack (16 MiB) and whatever an envelope may open to (64 MiB). */
export const OBJECT_BYTES_MAX = 64 * MIB + 64 * KIB;
/** 1,000 names of 512 characters, quoted, are less; so is a list of them with sizes. */
export const DOCUMENT_BYTES_MAX = MIB;
/** A client takes no answer that comes later; whoever takes a replica's place waits for it. */
export const CLIENT_PATIENCE_MS = 60_000;
export const CONNECTIONS_OF_TOKEN_MAX = 128;

const STATUSES = {
  ARGUMENT_INVALID: 400,
  DAMAGED: 502,
  STORE_DENIED: 502,
  STORE_FULL: 502,
  STORE_UNFIT: 502,
  STORE_UNREACHABLE: 503,
} as const satisfies Partial<Record<ErrorCode, number>>;
type ToldCode = keyof typeof STATUSES;

const isTold = (code: string): code is ToldCode => Object.hasOwn(STATUSES, code);

/** What of an error a client is told: the codes of the contract; the rest is that the call may or may not have taken effect. */
export function toldOf({ code, message }: HoldfastError): { readonly status: number; readonly code: ToldCode; readonly message: string } {
  const told = isTold(code) ? code : 'STORE_UNREACHABLE';
  return { status: STATUSES[told], code: told, message: message.slice(0, MESSAGE_MAX) };
}

const MESSAGE_MAX = 300;
const refusalSchema = z.object({ code: z.string().max(60), message: z.string().max(1000) });

export interface Refused {
  readonly status: number;
  /** Of the header; the document has it, too, but for HEAD. */
  readonly code: string | undefined;
  readonly document: unknown;
  readonly retryAfter: string | undefined;
}

/** The error that an answer of a status that was not meant stands for. */
export function errorOf({ status, code, document, retryAfter }: Refused, operation: string, name: string): HoldfastError {
  const said = refusalSchema.safeParse(document);
  const words = said.success ? printable(said.data.message.slice(0, MESSAGE_MAX)) : `HTTP ${status}`;
  const told = said.success ? said.data.code : (code ?? '');
  const details = { operation, name, status, ...retryDetails(retryAfter) };
  if (status === 401 || status === 403)
    return new HoldfastError('STORE_DENIED', `${operation} of ${name}: the replica refuses the token`, details);
  // What is too large stays so; everything else that is not of the table is unclear.
  const mapped = status === 413 ? 'ARGUMENT_INVALID' : isTold(told) && STATUSES[told] === status ? told : 'STORE_UNREACHABLE';
  return new HoldfastError(mapped, `${operation} of ${name}: ${words}`, details);
}

const retryDetails = (header: string | undefined): { readonly retryAfterMs?: number } => {
  const seconds = Number(header);
  return header !== undefined && seconds > 0 && seconds < 86_400 ? { retryAfterMs: seconds * 1000 } : {};
};

export const listSchema = z.object({
  objects: z.array(z.object({ name: z.string().max(512), sizeBytes: z.int().min(0) })).max(BATCH_LENGTH_MAX),
});
export const deleteSchema = z.object({ names: z.array(z.string().max(512)).max(BATCH_LENGTH_MAX) });

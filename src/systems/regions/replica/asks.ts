/** What is asked of a replica, read from the head of a request: judged before anybody's token is, and before a byte of a body. */
import type { IncomingMessage } from 'node:http';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { refusals, type Refusal } from '../../../engine/replication/transport/refusals.ts';
import { checkName, checkPrefix, checkRange, pageLength } from '../../../ground/stores/object-name.ts';
import type { ByteRange } from '../../../ground/stores/object-store.ts';
import {
  DELETE_PATH,
  DOCUMENT_BYTES_MAX,
  HEADERS,
  LIST_PATH,
  OBJECT_BYTES_MAX,
  OBJECTS_PATH,
} from '../../../ground/stores/replica-wire.ts';

interface Common {
  /** Of the body. */
  readonly bytesIn: number;
}

export type Ask = Common &
  (
    | { readonly kind: 'put'; readonly name: string; readonly ifAbsent: boolean; readonly digest: Buffer }
    | { readonly kind: 'get'; readonly name: string; readonly range: ByteRange | undefined }
    | { readonly kind: 'head'; readonly name: string }
    | { readonly kind: 'list'; readonly prefix: string; readonly after?: string; readonly limit: number }
    | { readonly kind: 'delete' }
  );

const bad = (message: string): Refusal => ({ status: 400, code: 'ARGUMENT_INVALID', message });
const otherMethod = (allow: string): Refusal => ({ ...refusals.otherMethod, message: `this takes ${allow}`, headers: { allow } });

export function parseAsk(request: IncomingMessage): Ask | { readonly refusal: Refusal } {
  try {
    return parse(request);
  } catch (error) {
    if (error instanceof Refused) return { refusal: error.refusal };
    if (isHoldfastError(error, 'ARGUMENT_INVALID')) return { refusal: bad(error.message) };
    throw error;
  }
}

class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function parse(request: IncomingMessage): Ask {
  const { method = '', headers } = request;
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  if (headers['transfer-encoding'] !== undefined || headers['content-encoding'] !== undefined)
    throw new Refused({ status: 411, code: 'ARGUMENT_INVALID', message: 'a body has its length, and no encoding' });
  const bytesIn = Number(headers['content-length'] ?? 0);
  if (!Number.isSafeInteger(bytesIn) || bytesIn < 0) throw new Refused(bad('the length of the body is none'));
  const parameters = new URLSearchParams(query);
  if (path.startsWith(OBJECTS_PATH)) return parseObject(request, path.slice(OBJECTS_PATH.length), parameters, bytesIn);
  if (bytesIn > DOCUMENT_BYTES_MAX) throw new Refused(refusals.tooLong);
  switch (path) {
    case LIST_PATH:
      if (method !== 'GET') throw new Refused(otherMethod('GET'));
      return { kind: 'list', ...parseList(parameters), bytesIn };
    case DELETE_PATH:
      if (method !== 'POST') throw new Refused(otherMethod('POST'));
      return { kind: 'delete', bytesIn };
    default:
      throw new Refused(refusals.notFound);
  }
}

function parseObject({ method, headers }: IncomingMessage, name: string, parameters: URLSearchParams, bytesIn: number): Ask {
  checkName(name);
  switch (method) {
    case 'PUT': {
      if (bytesIn > OBJECT_BYTES_MAX)
        throw new Refused({ ...refusals.tooLong, code: 'ARGUMENT_INVALID', message: 'the object is too large' });
      if (headers['content-length'] === undefined) throw new Refused({ ...bad('the length of the body is wanted'), status: 411 });
      const condition = headers['if-none-match'];
      if (condition !== undefined && condition !== '*') throw new Refused(bad('if-none-match is * or nothing'));
      const digest = headers[HEADERS.blake3];
      if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest)) throw new Refused(bad(`${HEADERS.blake3} is wanted, in hex`));
      return { kind: 'put', name, ifAbsent: condition === '*', digest: Buffer.from(digest, 'hex'), bytesIn };
    }
    case 'GET':
      return { kind: 'get', name, range: parseRange(parameters), bytesIn };
    case 'HEAD':
      return { kind: 'head', name, bytesIn };
    default:
      throw new Refused(otherMethod('PUT, GET, HEAD'));
  }
}

function parseRange(parameters: URLSearchParams): ByteRange | undefined {
  const [offset, length] = [parameters.get('offset'), parameters.get('length')];
  if (offset === null && length === null) return undefined;
  const range = { offset: wholeNumber(offset), length: wholeNumber(length) };
  checkRange(range);
  return range;
}

function parseList(parameters: URLSearchParams): { readonly prefix: string; readonly after?: string; readonly limit: number } {
  const [prefix, after, limit] = [parameters.get('prefix') ?? '', parameters.get('after'), parameters.get('limit')];
  checkPrefix(prefix);
  if (after !== null) checkPrefix(after, 'after');
  return { prefix, limit: pageLength(limit === null ? undefined : wholeNumber(limit)), ...(after === null ? {} : { after }) };
}

function wholeNumber(text: string | null): number {
  if (text !== null && /^\d{1,16}$/.test(text)) return Number(text);
  throw new HoldfastError('ARGUMENT_INVALID', 'a whole number is wanted', { field: 'query', expected: 'digits' });
}

/**
 * A store behind a replica: the six calls over HTTP (docs/replica.md, section 3).
 *
 * Invariants. Bodies carry their BLAKE3 in both directions, and what comes back is checked. An answer without the replica's own header is of something
 * else, and says nothing about an object. An answer that comes later than a client's patience is not taken: that is what a replica waits
 * for which takes another one's place. Whatever is unclear is STORE_UNREACHABLE.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { responseTo } from '../http/response.ts';
import { createWireAgent, type LinkTls } from '../http/wire-agent.ts';
import { checkName, checkNames, checkPrefix, checkRange, pageLength } from './object-name.ts';
import type { ObjectStore } from './object-store.ts';
import {
  CLIENT_PATIENCE_MS,
  DELETE_PATH,
  DOCUMENT_BYTES_MAX,
  errorOf,
  HEADERS,
  LIST_PATH,
  listSchema,
  OBJECT_BYTES_MAX,
  OBJECTS_PATH,
} from './replica-wire.ts';
import { readBody } from './s3-body.ts';

export interface ReplicaStoreOptions {
  /** As a person would write it: for `describe`. */
  readonly address: string;
  /** `https://HOST:PORT`, or `http://` to a loopback address. */
  readonly url: URL;
  /** Null: the replica wants none. */
  readonly token: string | null;
  readonly tls: LinkTls | null;
  readonly socketsMax: number;
  /** Less than what every client keeps to; for tests. */
  readonly patienceMs?: number;
}

interface Asked {
  readonly operation: string;
  readonly name: string;
  readonly method: 'PUT' | 'GET' | 'HEAD' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Buffer;
  readonly signal: AbortSignal | undefined;
}

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export function createReplicaStore(options: ReplicaStoreOptions): ObjectStore & AsyncDisposable {
  const { address, url, token, tls, socketsMax, patienceMs = CLIENT_PATIENCE_MS } = options;
  const { agent } = createWireAgent({ url, tls, connections: socketsMax, connectMs: Math.min(10_000, patienceMs) });
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;

  /** One request, one answer, within the time; of a status that is meant, or the error that it stands for. */
  const ask = async (asked: Asked, ...meant: readonly number[]): Promise<Answered> => {
    const { operation, name, method, path, headers, body, signal } = asked;
    signal?.throwIfAborted();
    const request = send(new URL(path, url), {
      ...{ agent, method },
      headers: {
        ...headers,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-length': body.byteLength }),
      },
    });
    const abort = (): void => void request.destroy(new Error('aborted'));
    const late = setTimeout(() => request.destroy(new Error(`no whole answer within ${patienceMs} ms`)), patienceMs);
    signal?.addEventListener('abort', abort, { once: true });
    // Wherever an error is waited for, it is heard there; that it is not thrown elsewhere, here.
    request.on('error', () => undefined);
    try {
      const answer = await hear(request, asked, patienceMs);
      if (!meant.includes(answer.status)) throw refusalOf(answer, asked);
      if (answer.headers[HEADERS.replica] === undefined) throw odd(asked, 'what answers there is no replica');
      return answer;
    } catch (error) {
      request.destroy();
      signal?.throwIfAborted();
      throw error instanceof HoldfastError ? error : unreachable(error, operation, name);
    } finally {
      clearTimeout(late);
      signal?.removeEventListener('abort', abort);
    }
  };

  return {
    async put(name, bytes, { ifAbsent = false, signal } = {}) {
      checkName(name);
      if (bytes.byteLength > OBJECT_BYTES_MAX)
        throw new HoldfastError('ARGUMENT_INVALID', `${name} is larger than a replica takes`, {
          field: 'bytes',
          expected: `at most ${OBJECT_BYTES_MAX}`,
        });
      const body = ownBytes(bytes);
      const headers = {
        [HEADERS.blake3]: blake3(body).toString('hex'),
        ...(ifAbsent ? { 'if-none-match': '*' } : {}),
      };
      const asked: Asked = { operation: 'put', name, method: 'PUT', path: OBJECTS_PATH + name, headers, body, signal };
      const { status } = await ask(asked, 201, ...(ifAbsent ? [412] : []));
      return status === 201 ? 'created' : 'exists';
    },

    async get(name, { range, signal } = {}) {
      checkName(name);
      if (range !== undefined) checkRange(range);
      const query = range === undefined ? '' : `?offset=${range.offset}&length=${range.length}`;
      const asked: Asked = { operation: 'get', name, method: 'GET', path: `${OBJECTS_PATH}${name}${query}`, signal };
      const { status, headers, body } = await ask(asked, 200, 404);
      if (status === 404) return null;
      if (blake3(body).toString('hex') !== headers[HEADERS.blake3]) throw odd(asked, 'the bytes are not those that were sent');
      if (range !== undefined && body.byteLength > range.length) throw odd(asked, 'it is longer than the range');
      return body;
    },

    async head(name, { signal } = {}) {
      checkName(name);
      const asked: Asked = { operation: 'head', name, method: 'HEAD', path: OBJECTS_PATH + name, signal };
      const { status, headers } = await ask(asked, 200, 404);
      if (status === 404) return null;
      const size = headers[HEADERS.size];
      const sizeBytes = typeof size === 'string' && /^\d{1,15}$/.test(size) ? Number(size) : null;
      if (sizeBytes === null) throw odd(asked, 'it has no size');
      return { name, sizeBytes };
    },

    async list(prefix, { after, limit, signal } = {}) {
      checkPrefix(prefix);
      if (after !== undefined) checkPrefix(after, 'after');
      const length = pageLength(limit);
      const query = new URLSearchParams({ prefix, limit: String(length), ...(after === undefined ? {} : { after }) });
      const asked: Asked = { operation: 'list', name: prefix, method: 'GET', path: `${LIST_PATH}?${query.toString()}`, signal };
      const parsed = listSchema.safeParse(parseJson((await ask(asked, 200)).body));
      if (!parsed.success) throw odd(asked, 'it is no list');
      const { objects } = parsed.data;
      const isInOrder = objects.every(({ name }, at) => name.startsWith(prefix) && name > (objects[at - 1]?.name ?? after ?? ''));
      if (!isInOrder || objects.length > length) throw odd(asked, 'it is not what was asked for');
      return objects;
    },

    async delete(names, { signal } = {}) {
      checkNames(names);
      signal?.throwIfAborted();
      if (names.length === 0) return;
      const body = Buffer.from(JSON.stringify({ names }));
      await ask({ operation: 'delete', name: names[0] ?? '', method: 'POST', path: DELETE_PATH, body, signal }, 204);
    },

    describe: () => ({ url: address, conditionalPut: true, retention: false }),

    [Symbol.asyncDispose]: () => {
      agent.destroy();
      return Promise.resolve();
    },
  };
}

/** A view, not a copy, unless the memory is shared: then it could change between its digest and its sending. */
const ownBytes = (bytes: Uint8Array): Buffer =>
  bytes.buffer instanceof SharedArrayBuffer ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function hear(request: ClientRequest, { method, body }: Asked, idleMs: number): Promise<Answered> {
  const answered = responseTo(request);
  request.end(body);
  const response = await answered;
  const { statusCode: status = 0, headers } = response;
  const announced = Number(headers['content-length'] ?? 0);
  const bytesMax = status === 200 && headers[HEADERS.blake3] !== undefined ? OBJECT_BYTES_MAX : DOCUMENT_BYTES_MAX;
  if (!Number.isSafeInteger(announced) || announced < 0 || announced > bytesMax) throw new Error('the answer is too long');
  const isWhole = method !== 'HEAD' && status !== 204;
  return { status, headers, body: await readBody(response, isWhole ? announced : 0, { signal: undefined, idleMs }) };
}

function refusalOf({ status, headers, body }: Answered, { operation, name }: Asked): HoldfastError {
  const [code, retryAfter] = [headers[HEADERS.code], headers['retry-after']];
  return errorOf({ status, code: typeof code === 'string' ? code : undefined, document: parseJson(body), retryAfter }, operation, name);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    // What that means the schema says, or the status.
    return undefined;
  }
}

const odd = ({ operation, name }: Asked, what: string): HoldfastError =>
  new HoldfastError('STORE_UNREACHABLE', `${operation} of ${name}: the answer makes no sense: ${what}`, { operation, name });

function unreachable(error: unknown, operation: string, name: string): HoldfastError {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  return new HoldfastError(
    'STORE_UNREACHABLE',
    `${operation} of ${name}: the replica does not answer: ${messageOf(error)}`,
    { operation, name, cause: code },
    error,
  );
}

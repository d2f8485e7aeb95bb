/**
 * A link to a receiver over HTTP: one exchange is one request, up to 16 at a time, each on its connection.
 *
 * What comes back is believed as little as what a receiver hears: the answer has a bound, frames are judged as they come, redirects
 * are not followed. An exchange without an answer says nothing about what was heard (RECEIVER_UNREACHABLE); whoever said it says it
 * again. The token is in no message and no detail.
 */
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { KIB, MIB } from '../../../domain/limits.ts';
import { createLine, type Line } from '../../../ground/stores/line.ts';
import { checkExposure } from '../../volumes/listening.ts';
import type { AnswerFrame, FirstFrame, Link, SessionMessageFrame } from '../frames.ts';
import { parseToken } from '../tokens.ts';
import { ANSWER_READERS } from '../wire/answers.ts';
import { CONTENT_TYPE } from '../wire/bounds.ts';
import { invalid } from '../wire/content-reader.ts';
import { FrameDecoder } from '../wire/frame-decoder.ts';
import { encodeRequest } from '../wire/requests.ts';
import { responseTo } from '../../../ground/http/response.ts';
import { refusalOf, unreachable } from './answered.ts';
import { ANSWERS_BYTES_MAX, EXCHANGES_MAX } from './limits.ts';
import { createWireAgent, type LinkTls, type WireBytes } from '../../../ground/http/wire-agent.ts';

export interface LinkOptions {
  /** `https://HOST:PORT`, with a path before `/v1` if a proxy wants one; `http://` to a loopback address. */
  readonly url: string;
  readonly token: string;
  readonly tls?: LinkTls;
  /** Without a byte taken or given, for so long: the receiver does not answer. */
  readonly requestTimeoutMs?: number;
  readonly bytesPerSecondMax?: number | null;
}

export interface ReceiverLink extends Link, AsyncDisposable {
  /** Bytes that crossed the wire until now, of TLS and HTTP, too. */
  wire(): WireBytes;
}

const REQUEST_TIMEOUT_MS = 120_000;
/** What is written at once: progress is seen, and a bandwidth is kept, in steps of it. */
const SLICE_BYTES = MIB;
/** Of a link with a bandwidth: steps of 20 ms, 1 KiB at the least. */
const SLICES_PER_SECOND = 50;

export function openLink(options: LinkOptions): ReceiverLink {
  const url = parseReceiverUrl(options.url);
  parseToken(options.token);
  const timeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const rate = options.bytesPerSecondMax ?? null;
  const wires = createWireAgent({ url, tls: options.tls ?? null, connections: EXCHANGES_MAX, connectMs: timeoutMs });
  const closed = new AbortController();
  const deps: ExchangeDeps = {
    timeoutMs,
    line: rate === null ? null : createLine(rate),
    sliceBytes: rate === null ? SLICE_BYTES : Math.min(SLICE_BYTES, Math.max(KIB, Math.floor(rate / SLICES_PER_SECOND))),
    request: (bytes) =>
      (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
        ...{ agent: wires.agent, method: 'POST' },
        headers: { authorization: `Bearer ${options.token}`, 'content-type': CONTENT_TYPE, 'content-length': bytes },
      }),
  };
  return {
    exchange: (first, rest, signal) => exchange(deps, [first, ...rest], AbortSignal.any([signal, closed.signal])),
    wire: () => wires.wire(),
    async [Symbol.asyncDispose]() {
      closed.abort(new HoldfastError('RECEIVER_UNREACHABLE', 'the link was closed'));
      wires.agent.destroy();
    },
  };
}

/** Where exchanges go, or a question; refuses what is no address of a receiver, without repeating what could be a secret. */
export function parseReceiverUrl(text: string, at = '/v1/exchange'): URL {
  const wrong = (expected: string): HoldfastError =>
    new HoldfastError('ARGUMENT_INVALID', 'the address of the receiver is not usable', { field: 'url', expected });
  const url = URL.parse(text);
  if (url === null || !['https:', 'http:'].includes(url.protocol)) throw wrong('https://HOST:PORT');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw wrong('https://HOST:PORT without credentials');
  // The token would be read on the way.
  if (url.protocol === 'http:') checkExposure({ host: url.hostname.replace(/^\[|\]$/g, ''), port: 0 }, null, 'url');
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${at}`;
  return url;
}

interface ExchangeDeps {
  readonly timeoutMs: number;
  /** What all exchanges of the link send together; null: no bound. */
  readonly line: Line | null;
  readonly sliceBytes: number;
  request(bytes: number): ClientRequest;
}

type Frames = readonly [FirstFrame, ...SessionMessageFrame[]];

async function exchange(deps: ExchangeDeps, frames: Frames, signal: AbortSignal): Promise<readonly AnswerFrame[]> {
  signal.throwIfAborted();
  const parts = frames.flatMap(encodeRequest);
  const request = deps.request(parts.reduce((sum, part) => sum + part.length, 0));
  const ended = new AbortController();
  const silence = setTimeout(() => request.destroy(new Error('no byte came or went within the time')), deps.timeoutMs);
  const abort = (): void => void request.destroy(new Error('aborted'));
  signal.addEventListener('abort', abort);
  // Wherever an error is waited for, it is heard there; that it is not thrown elsewhere, here.
  request.on('error', () => undefined);
  try {
    const answered = responseTo(request);
    const said = say(request, parts, deps, () => silence.refresh(), AbortSignal.any([signal, ended.signal]));
    // Who does not hear us any more may have answered why.
    said.catch(() => undefined);
    const response = await answered;
    const answers = await hearAnswers(response, frames.length, () => silence.refresh());
    await said;
    return answers;
  } catch (error) {
    request.destroy();
    signal.throwIfAborted();
    throw isHoldfastError(error) ? error : unreachable(error);
  } finally {
    ended.abort();
    clearTimeout(silence);
    signal.removeEventListener('abort', abort);
  }
}

/** Writes step by step, each when the one before has gone. */
async function say(
  request: ClientRequest,
  parts: readonly Buffer[],
  { line, sliceBytes }: ExchangeDeps,
  progressed: () => void,
  signal: AbortSignal,
): Promise<void> {
  for (const slice of slices(parts, sliceBytes)) {
    await line?.book(
      slice.reduce((sum, part) => sum + part.length, 0),
      signal,
    );
    signal.throwIfAborted();
    await write(request, slice);
    progressed();
  }
  request.end();
}

/** The parts in steps of at most so many bytes, without joining them. */
function* slices(parts: readonly Buffer[], bytesMax: number): Generator<Buffer[], void> {
  let slice: Buffer[] = [];
  let room = bytesMax;
  for (const part of parts)
    for (let at = 0; at < part.length;) {
      const piece = part.subarray(at, at + room);
      slice.push(piece);
      at += piece.length;
      room -= piece.length;
      if (room > 0) continue;
      yield slice;
      slice = [];
      room = bytesMax;
    }
  if (slice.length > 0) yield slice;
}

const write = (request: ClientRequest, slice: readonly Buffer[]): Promise<void> =>
  new Promise((resolve, reject) => {
    // A request that was destroyed calls nobody back.
    const close = (): void => reject(new Error('the connection was closed'));
    request.once('close', close);
    request.cork();
    slice.forEach((part, i) =>
      request.write(part, (error) => {
        if (error) return reject(error);
        if (i < slice.length - 1) return;
        request.off('close', close);
        resolve();
      }),
    );
    request.uncork();
  });

async function hearAnswers(response: IncomingMessage, asked: number, progressed: () => void): Promise<AnswerFrame[]> {
  if (response.statusCode !== 200 || response.headers['content-type'] !== CONTENT_TYPE) throw refusalOf(response);
  const decoder = new FrameDecoder(ANSWER_READERS);
  const answers: AnswerFrame[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    progressed();
    bytes += piece.length;
    if (bytes > ANSWERS_BYTES_MAX) throw invalid('the receiver answers too much');
    for (const answer of decoder.push(piece)) answers.push(answer);
    if (answers.length > asked) throw invalid('the receiver answers more than it was asked');
  }
  decoder.end();
  return answers;
}

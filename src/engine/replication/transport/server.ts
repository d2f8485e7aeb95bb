/**
 * A receiver's ear: `POST /v1/exchange` over HTTP/1.1 and TLS 1.3, or without TLS on a loopback address. docs/replication.md section 7.
 *
 * Who speaks is judged anew for each exchange, before a byte of its body is read. Everything that a peer can send, or not send, has a
 * bound (limits.ts), and what passes one costs that peer's exchange or connection and nobody else's. Closing waits for the exchanges under
 * way, within a grace, then cuts them off; what they said is idempotent and is said again.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { isHoldfastError } from '../../../domain/errors.ts';
import { checkExposure, type TcpAddress } from '../../volumes/listening.ts';
import type { Certificates } from '../../volumes/nbd/certificates.ts';
import type { Hearing, Peer } from '../frames.ts';
import { CONTENT_TYPE } from '../wire/bounds.ts';
import { Allowance } from './allowance.ts';
import { Connections } from './connections.ts';
import { hearExchange, type ExchangeDeps, type Outcome } from './exchange.ts';
import { exchangeBytesMax, TRANSPORT_LIMITS, type TransportLimits } from './limits.ts';
import { judgeQuestion, readInput, refusalOfQuestion, type Question, type Questions } from './questions.ts';
import { refusals, type Refusal } from './refusals.ts';

export interface ReceiverOptions {
  readonly listen: TcpAddress;
  /** Null: no TLS, on a loopback address. */
  readonly tls: ReceiverTls | null;
  readonly hearing: Hearing;
  /** `header`: of `Authorization`; `certificate`: SHA-256 of a client certificate that was verified, hex. Null: nobody who is known. */
  readonly authorise: (header: string | undefined, certificate: string | null) => Peer | null | Promise<Peer | null>;
  readonly limits?: Partial<TransportLimits>;
  /** What may be asked beside exchanges. */
  readonly questions?: Questions;
  readonly onEvent?: (event: ReceiverEvent) => void;
}

export interface ReceiverTls {
  readonly certificates: Certificates;
  /** Of clients: signed by the authority. Optional: a token may be bound to one all the same. */
  readonly clients: 'optional' | 'required';
}

export type ReceiverEvent =
  /** Heard and answered. Bytes of bodies. `refused`: the code of its last answer. */
  | {
      readonly kind: 'exchange';
      readonly token: string;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly refused: string | null;
    }
  /** A question was answered. */
  | { readonly kind: 'answered'; readonly token: string; readonly bytesIn: number; readonly bytesOut: number }
  /** Told so by a status of HTTP. `token`: null if nobody was known. */
  | { readonly kind: 'refused'; readonly token: string | null; readonly status: number; readonly bytesIn: number }
  /** The peer has left in the middle of it, or did not take its answer. */
  | { readonly kind: 'gone'; readonly token: string; readonly bytesIn: number }
  /** There was no room for a connection. */
  | { readonly kind: 'full' }
  | { readonly kind: 'failure'; readonly token: string | null; readonly error: unknown };

export interface ReceiverServer extends AsyncDisposable {
  /** Where it listens; a port of 0 has become a real one. */
  readonly address: TcpAddress;
  /** How a sender names it; a host that its certificate holds may be another. */
  readonly url: string;
  readonly connections: number;
  /** Ends politely, within the grace. */
  close(graceMs?: number): Promise<void>;
}

const GRACE_MS = 5000;
const EXCHANGE_PATH = '/v1/exchange';

export async function serveReceiver(options: ReceiverOptions): Promise<ReceiverServer> {
  const { listen, tls } = options;
  checkExposure(listen, tls?.certificates ?? null, 'listen');
  const ear = new Ear({ ...TRANSPORT_LIMITS, ...options.limits }, options);
  const server = createHttp(tls, ear);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = { host: listen.host, port: (server.address() as AddressInfo).port };
  const close = async (graceMs = GRACE_MS): Promise<void> => {
    const stopped = new Promise<void>((resolve) => server.close(() => resolve()));
    await ear.close(graceMs);
    await stopped;
  };
  return {
    address,
    url: `${tls === null ? 'http' : 'https'}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`,
    get connections() {
      return ear.connections;
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

function createHttp(tls: ReceiverTls | null, ear: Ear): Server {
  const { limits } = ear;
  const http = {
    ...{ noDelay: true, keepAlive: true, maxHeaderSize: limits.headerBytes, headersTimeout: limits.headerMs, requestTimeout: 0 },
    ...{ keepAliveTimeout: limits.idleMs, connectionsCheckingInterval: Math.max(20, limits.headerMs / 10) },
  };
  const server =
    tls === null
      ? createServer(http)
      : createTlsServer({
          ...{ ...http, ...tls.certificates, minVersion: 'TLSv1.3', handshakeTimeout: limits.headerMs },
          ...{ requestCert: true, rejectUnauthorized: tls.clients === 'required' },
        });
  server.on('connection', (socket: Socket) => ear.connected(socket));
  server.on('request', (request, response) => void ear.hear(request, response));
  // Without an "Expect" of ours, a peer that asks first is judged before it sends.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => void ear.hear(request, response));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => ear.misunderstood(error, socket));
  return server;
}

/** SHA-256 of the client's certificate, hex; null if there is none, or none that the authority has signed. */
function certificateOf(socket: Socket): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null;
  return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase() ?? null;
}

class Ear {
  readonly limits: TransportLimits;
  readonly #options: ReceiverOptions;
  readonly #connections: Connections;
  readonly #deps: ExchangeDeps;
  readonly #cut = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #isClosing = false;

  constructor(limits: TransportLimits, options: ReceiverOptions) {
    this.limits = limits;
    this.#options = options;
    this.#connections = new Connections(limits);
    const nowMs = (): number => performance.now();
    this.#deps = {
      ...{ hearing: options.hearing, limits, closing: this.#cut.signal },
      opens: new Allowance(limits.opensPerMinute, nowMs),
      refusals: new Allowance(limits.refusalsPerMinute, nowMs),
    };
  }

  get connections(): number {
    return this.#connections.size;
  }

  connected(socket: Socket): void {
    if (!this.#connections.admit(socket)) this.#say({ kind: 'full' });
  }

  hear(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const heard = this.#hear(request, response).catch((error: unknown) => {
      this.#say({ kind: 'failure', token: null, error });
      request.socket.destroy();
    });
    this.#underWay.add(heard);
    return heard.finally(() => this.#underWay.delete(heard));
  }

  /** What came is not HTTP, or came too slowly to be a header. */
  misunderstood(error: NodeJS.ErrnoException, socket: Socket): void {
    const refusal =
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? refusals.tooSlow
        : error.code === 'HPE_HEADER_OVERFLOW'
          ? refusals.headersTooLong
          : refusals.badRequest;
    // Within an exchange it is for the exchange to say.
    if (!socket.writable || this.#connections.isBusy(socket)) return void socket.destroy();
    this.#say({ kind: 'refused', token: null, status: refusal.status, bytesIn: 0 });
    const body = JSON.stringify({ code: refusal.code, message: refusal.message });
    socket.end(
      `HTTP/1.1 ${refusal.status} Refused\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      () => socket.destroy(),
    );
  }

  /** Waits for what is under way, then cuts it off. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    await this.#settled(graceMs);
    this.#cut.abort();
    this.#connections.destroyAll();
    await this.#settled(graceMs);
  }

  async #settled(withinMs: number): Promise<void> {
    let late: NodeJS.Timeout | undefined;
    const tooLate = new Promise((resolve) => (late = setTimeout(resolve, withinMs)));
    await Promise.race([Promise.allSettled([...this.#underWay]), tooLate]);
    clearTimeout(late);
  }

  async #hear(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    response.on('error', () => undefined);
    // A second one before the first is answered: nobody who means well does that, and it would be bounded by nothing.
    if (this.#connections.isBusy(socket)) return void socket.destroy();
    const question = this.#options.questions?.get(request.url ?? '') ?? null;
    const refusal = this.#judgeRequest(request, question);
    if (refusal !== null) return await this.#refuse(request, response, refusal, null);
    let peer: Peer | null;
    try {
      peer = await this.#options.authorise(request.headers.authorization, certificateOf(socket));
    } catch (error) {
      return await this.#fail(request, response, error, null);
    }
    if (peer === null) {
      this.#connections.unknown(socket);
      return await this.#refuse(request, response, refusals.unknown, null);
    }
    await this.#known(request, response, peer, question);
  }

  /** What stands against a request, whoever it is from. */
  #judgeRequest(request: IncomingMessage, question: Question | null): Refusal | null {
    const { method, url, headers } = request;
    if (this.#isClosing) return refusals.notNow;
    if (question !== null) return judgeQuestion(request, question);
    if (url !== EXCHANGE_PATH) return refusals.notFound;
    if (method !== 'POST') return refusals.otherMethod;
    if (headers['content-type'] !== CONTENT_TYPE || headers['content-encoding'] !== undefined) return refusals.otherType;
    return Number(headers['content-length'] ?? 0) > exchangeBytesMax(this.limits) ? refusals.tooLong : null;
  }

  /** One thing at a time of a connection, and of a token no more than it may have. */
  async #known(request: IncomingMessage, response: ServerResponse, peer: Peer, question: Question | null): Promise<void> {
    const token = peer.id;
    const right = question === null ? 'add' : question.right;
    if (right !== null && !peer.rights.includes(right)) return await this.#refuse(request, response, refusals.forbidden, token);
    const waitMs = this.#deps.refusals.waitMs(token);
    if (waitMs > 0) return await this.#refuse(request, response, refusals.tooMany(waitMs), token);
    if (!this.#connections.begin(request.socket, token)) return await this.#refuse(request, response, refusals.tooMany(1000), token);
    try {
      if (request.headers.expect !== undefined) response.writeContinue();
      if (question !== null) return await this.#ask(request, response, peer, question);
      const { outcome, bytesIn } = await hearExchange(request, response, peer, this.#deps);
      await this.#answer(request, response, { token, outcome, bytesIn });
    } catch (error) {
      await this.#fail(request, response, error, token);
    } finally {
      this.#connections.end(request.socket);
    }
  }

  async #ask(request: IncomingMessage, response: ServerResponse, peer: Peer, question: Question): Promise<void> {
    const token = peer.id;
    const bytesIn = Number(request.headers['content-length'] ?? 0);
    try {
      const input = question.method === 'GET' ? null : await readInput(request, this.limits.headerMs);
      const body = JSON.stringify(await question.answer(peer, input));
      const bytesOut = Buffer.byteLength(body);
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytesOut });
      response.write(body);
      drain(request, this.limits);
      this.#say((await this.#finish(response)) ? { kind: 'answered', token, bytesIn, bytesOut } : { kind: 'gone', token, bytesIn });
    } catch (error) {
      const refusal = isHoldfastError(error) ? refusalOfQuestion(error) : null;
      if (refusal === null) throw error;
      this.#deps.refusals.take(token);
      await this.#refuse(request, response, refusal, token, bytesIn);
    }
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { token, outcome, bytesIn }: { readonly token: string; readonly outcome: Outcome; readonly bytesIn: number },
  ): Promise<void> {
    if (outcome.kind === 'refused') return await this.#refuse(request, response, outcome.refusal, token, bytesIn);
    if (outcome.kind === 'gone' || response.destroyed) return this.#say({ kind: 'gone', token, bytesIn });
    const { parts, refused } = outcome;
    const bytesOut = parts.reduce((sum, part) => sum + part.length, 0);
    response.writeHead(200, { 'content-type': CONTENT_TYPE, 'content-length': bytesOut });
    for (const part of parts) response.write(part);
    const taken = await this.#finish(response);
    this.#say(taken ? { kind: 'exchange', token, bytesIn, bytesOut, refused } : { kind: 'gone', token, bytesIn });
  }

  async #fail(request: IncomingMessage, response: ServerResponse, error: unknown, token: string | null): Promise<void> {
    this.#say({ kind: 'failure', token, error });
    const passes = isHoldfastError(error) && error.retryable;
    await this.#refuse(request, response, passes ? refusals.notNow : refusals.mistake, token);
  }

  /** Says so at once; what is still being sent is read and dropped within the bounds of a stranger, for the answer to arrive. */
  async #refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal, token: string | null, bytesIn = 0): Promise<void> {
    this.#say({ kind: 'refused', token, status: refusal.status, bytesIn });
    if (response.headersSent || response.destroyed) return void request.socket.destroy();
    const body = JSON.stringify({ code: refusal.code, message: refusal.message });
    response.writeHead(refusal.status, {
      ...refusal.headers,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    response.write(body);
    drain(request, this.limits);
    await this.#finish(response);
  }

  /** Ends a response; false: the peer has left, or did not take it in time. */
  #finish(response: ServerResponse): Promise<boolean> {
    // One that is closed already says so no more.
    if (response.destroyed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const late = setTimeout(() => response.socket?.destroy(), this.limits.answerMs);
      response.once('close', () => {
        clearTimeout(late);
        resolve(response.writableFinished);
      });
      response.end();
    });
  }

  #say(event: ReceiverEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** Reads what nobody wants, until its end, or until it is too much or too long. */
function drain(request: IncomingMessage, limits: TransportLimits): void {
  if (request.complete || request.destroyed) return;
  const cut = (): void => void request.socket.destroy();
  const late = setTimeout(cut, limits.unknownMs);
  let bytes = 0;
  request.on('data', (piece: Buffer) => {
    if ((bytes += piece.length) > exchangeBytesMax(limits)) cut();
  });
  request.once('close', () => clearTimeout(late));
  request.resume();
}

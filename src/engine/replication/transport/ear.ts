/**
 * An ear for HTTP/1.1 over TLS 1.3, or without TLS on a loopback address: what all that answer to peers with tokens have in common.
 *
 * Who speaks is judged anew for each request, before a byte of its body is read. Everything that a peer can send, or not send, has a
 * bound (limits.ts), and what passes one costs that peer's request or connection and nobody else's. Closing waits for what is under
 * way, within a grace, then cuts it off. What requests there are, and how they are answered, is the answerer's.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { isHoldfastError } from '../../../domain/errors.ts';
import { checkExposure, type TcpAddress } from '../../volumes/listening.ts';
import type { Certificates } from '../../volumes/nbd/certificates.ts';
import { Allowance } from './allowance.ts';
import { Connections } from './connections.ts';
import { exchangeBytesMax, type TransportLimits } from './limits.ts';
import { refusals, type Refusal } from './refusals.ts';

export interface EarTls {
  readonly certificates: Certificates;
  /** Of clients: signed by the authority. Optional: a token may be bound to one all the same. */
  readonly clients: 'optional' | 'required';
}

export type EarEvent =
  /** Told so by a status of HTTP. `token`: null if nobody was known. */
  | { readonly kind: 'refused'; readonly token: string | null; readonly status: number; readonly bytesIn: number }
  /** The peer has left in the middle of it, or did not take its answer. */
  | { readonly kind: 'gone'; readonly token: string; readonly bytesIn: number }
  /** There was no room for a connection. */
  | { readonly kind: 'full' }
  | { readonly kind: 'failure'; readonly token: string | null; readonly error: unknown };

/** Somebody who is known, by the id of the token. */
export interface Caller {
  readonly id: string;
}

/** What answers at an ear. */
export interface Answerer<P extends Caller> {
  /** What stands against a request, whoever it is from. */
  judge(request: IncomingMessage): Refusal | null;
  /** Whether this peer may ask for it. */
  allows(request: IncomingMessage, peer: P): boolean;
  /** Answers, or refuses through the line. What it rejects with is a mistake of ours, or something that passes. */
  answer(request: IncomingMessage, response: ServerResponse, peer: P, line: EarLine): Promise<void>;
}

/** What an answerer has at hand for one request. */
export interface EarLine {
  readonly limits: TransportLimits;
  /** What made no sense, by token. */
  readonly refusals: Allowance;
  /** The server has waited long enough. */
  readonly closing: AbortSignal;
  /** Says so at once; what is still being sent is read and dropped within the bounds of a stranger, for the answer to arrive. */
  refuse(refusal: Refusal, bytesIn?: number): Promise<void>;
  /** Reads what nobody wants, until its end, or until it is too much or too long. */
  drain(): void;
  /** Ends the response; false: the peer has left, or did not take it in time. */
  finish(): Promise<boolean>;
  gone(bytesIn: number): void;
}

export interface EarOptions<P extends Caller> {
  readonly listen: TcpAddress;
  /** Null: no TLS, on a loopback address. */
  readonly tls: EarTls | null;
  readonly limits: TransportLimits;
  readonly answerer: Answerer<P>;
  /** `header`: of `Authorization`; `certificate`: SHA-256 of a client certificate that was verified, hex. Null: nobody who is known. */
  readonly authorise: (header: string | undefined, certificate: string | null) => P | null | Promise<P | null>;
  readonly onEvent?: (event: EarEvent) => void;
}

export interface ListeningEar extends AsyncDisposable {
  /** Where it listens; a port of 0 has become a real one. */
  readonly address: TcpAddress;
  /** How a peer names it; a host that its certificate holds may be another. */
  readonly url: string;
  readonly connections: number;
  /** Ends politely, within the grace. */
  close(graceMs?: number): Promise<void>;
}

const GRACE_MS = 5000;

export async function listenForPeers<P extends Caller>(options: EarOptions<P>): Promise<ListeningEar> {
  const { listen, tls } = options;
  checkExposure(listen, tls?.certificates ?? null, 'listen');
  const ear = new Ear(options);
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

function createHttp<P extends Caller>(tls: EarTls | null, ear: Ear<P>): Server {
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

class Ear<P extends Caller> {
  readonly limits: TransportLimits;
  readonly #options: EarOptions<P>;
  readonly #connections: Connections;
  readonly #refusals: Allowance;
  readonly #cut = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #isClosing = false;

  constructor(options: EarOptions<P>) {
    this.limits = options.limits;
    this.#options = options;
    this.#connections = new Connections(options.limits);
    this.#refusals = new Allowance(options.limits.refusalsPerMinute, () => performance.now());
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
    // Within a request it is for its answerer to say.
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
    const refusal = this.#isClosing ? refusals.notNow : this.#options.answerer.judge(request);
    if (refusal !== null) return await this.#refuse(request, response, refusal, null);
    let peer: P | null;
    try {
      peer = await this.#options.authorise(request.headers.authorization, certificateOf(socket));
    } catch (error) {
      return await this.#fail(request, response, error, null);
    }
    if (peer === null) {
      this.#connections.unknown(socket);
      return await this.#refuse(request, response, refusals.unknown, null);
    }
    await this.#known(request, response, peer);
  }

  /** One thing at a time of a connection, and of a token no more than it may have. */
  async #known(request: IncomingMessage, response: ServerResponse, peer: P): Promise<void> {
    const token = peer.id;
    const { answerer } = this.#options;
    if (!answerer.allows(request, peer)) return await this.#refuse(request, response, refusals.forbidden, token);
    const waitMs = this.#refusals.waitMs(token);
    if (waitMs > 0) return await this.#refuse(request, response, refusals.tooMany(waitMs), token);
    if (!this.#connections.begin(request.socket, token)) return await this.#refuse(request, response, refusals.tooMany(1000), token);
    try {
      if (request.headers.expect !== undefined) response.writeContinue();
      await answerer.answer(request, response, peer, this.#line(request, response, token));
    } catch (error) {
      await this.#fail(request, response, error, token);
    } finally {
      this.#connections.end(request.socket);
    }
  }

  #line(request: IncomingMessage, response: ServerResponse, token: string): EarLine {
    return {
      ...{ limits: this.limits, refusals: this.#refusals, closing: this.#cut.signal },
      refuse: (refusal, bytesIn) => this.#refuse(request, response, refusal, token, bytesIn),
      drain: () => drain(request, this.limits),
      finish: () => this.#finish(response),
      gone: (bytesIn) => this.#say({ kind: 'gone', token, bytesIn }),
    };
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

  #say(event: EarEvent): void {
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

/**
 * An NBD server over a Unix socket or TCP. What it serves is asked anew for each connection, so exports may come and go.
 *
 * A client that sends garbage, stalls in the handshake or takes no replies costs its own connection, and memory that is
 * bounded per connection; connections are bounded, too. Closing is polite: requests under way are answered, new ones are
 * told ESHUTDOWN, and whoever stays connected is cut off after a grace.
 */
import { unlink } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { ByteQueue } from './byte-queue.ts';
import type { Backend, Export } from './export.ts';
import { greeting, Negotiation, type Agreed, type TlsPolicy } from './negotiation.ts';
import { BufferPool, Replies } from './replies.ts';
import { readInto, Slabs } from './slabs.ts';
import type { Request } from './requests.ts';
import type { NbdAddress } from './uri.ts';
import { LIMITS_DEFAULT, Transmission, type TransmissionLimits } from './transmission.ts';

export interface NbdServerOptions {
  /** What is served now. */
  readonly exports: () => readonly Export[];
  /** PEM, each. Clients show a certificate that `ca` has signed. */
  readonly tls?: { readonly policy: Exclude<TlsPolicy, 'none'>; readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };
  readonly limits?: TransmissionLimits;
  readonly connectionsMax?: number;
  readonly handshakeMsMax?: number;
  readonly onEvent?: (event: NbdServerEvent) => void;
}

export type NbdServerEvent =
  | { readonly kind: 'connected'; readonly export: string }
  | { readonly kind: 'ended'; readonly export: string | null; readonly why: string }
  | { readonly kind: 'failure'; readonly export: string; readonly command: number; readonly offset: number; readonly error: unknown };

export interface NbdServer extends AsyncDisposable {
  /** Where it listens; a port of 0 has become a real one. */
  readonly address: NbdAddress;
  readonly connections: number;
  /** Ends the connections to an export that is served no more, within the grace. */
  cut(name: string, graceMs?: number): Promise<void>;
  /** Ends politely, within the grace. */
  close(graceMs?: number): Promise<void>;
}

const CONNECTIONS_MAX = 256;
const HANDSHAKE_MS_MAX = 10_000;
const GRACE_MS = 2000;

export async function serveNbd(at: NbdAddress, options: NbdServerOptions): Promise<NbdServer> {
  const connections = new Set<Connection>();
  const pool = new BufferPool();
  let closing = false;
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    if (closing || connections.size >= (options.connectionsMax ?? CONNECTIONS_MAX)) return void socket.destroy();
    const connection = new Connection(socket, { options, pool, isClosing: () => closing });
    connections.add(connection);
    void connection.ended.then(() => connections.delete(connection));
  });
  await listen(server, at).catch(async (error: unknown) => {
    // The socket of a server that was killed is in the way of the next one.
    if (!('path' in at) || !(await isDeadSocket(at.path))) throw error;
    await unlink(at.path);
    await listen(server, at);
  });
  const close = async (graceMs = GRACE_MS): Promise<void> => {
    closing = true;
    const stopped = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([...connections].map((connection) => connection.close(graceMs)));
    await stopped;
  };
  return {
    address: 'path' in at ? at : { host: at.host, port: (server.address() as AddressInfo).port },
    get connections() {
      return connections.size;
    },
    async cut(name, graceMs = GRACE_MS) {
      await Promise.all([...connections].filter((connection) => connection.serves === name).map((connection) => connection.close(graceMs)));
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** Nobody answers there, and it is a socket. */
const isDeadSocket = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });

const listen = (server: Server, at: NbdAddress): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen('path' in at ? { path: at.path } : { host: at.host, port: at.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });

interface ConnectionPort {
  readonly options: NbdServerOptions;
  readonly pool: BufferPool;
  readonly isClosing: () => boolean;
}

/** One client, from its greeting to its end. */
class Connection {
  readonly ended: Promise<void>;
  readonly #options: NbdServerOptions;
  readonly #pool: BufferPool;
  readonly #isClosing: () => boolean;
  readonly #input = new ByteQueue();
  readonly #slabs = new Slabs(this.#input);
  readonly #negotiation: Negotiation;
  readonly #deadline: NodeJS.Timeout;
  #socket: Socket;
  #serving: { readonly transmission: Transmission; readonly backend: Backend; readonly name: string } | null = null;
  #why = 'the client has gone';
  #finish: () => void = () => undefined;

  constructor(accepted: Socket, { options, pool, isClosing }: ConnectionPort) {
    this.#options = options;
    this.#pool = pool;
    this.#isClosing = isClosing;
    const reading = readInto(accepted, this.#slabs, () => this.#advance());
    this.#socket = reading ?? accepted;
    this.#negotiation = new Negotiation({ exports: options.exports(), tls: options.tls?.policy ?? 'none', isClosing });
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#deadline = setTimeout(() => this.#cut('the handshake took too long'), options.handshakeMsMax ?? HANDSHAKE_MS_MAX);
    this.#socket.on('close', () => void this.#closed());
    this.#listen(this.#socket);
    if (reading === null) this.#receive(accepted);
    this.#socket.write(greeting());
  }

  /** The export that it has agreed on; null before. */
  get serves(): string | null {
    return this.#serving?.name ?? null;
  }

  /** Waits for what is under way, then for the client to leave; cuts it off after the grace. */
  async close(graceMs: number): Promise<void> {
    const cut = setTimeout(() => this.#cut('the server has shut down'), graceMs);
    await this.#serving?.transmission.settled();
    this.#socket.end();
    await this.ended;
    clearTimeout(cut);
  }

  #advance(): void {
    if (this.#serving !== null) this.#serving.transmission.advance();
    else this.#negotiate();
  }

  /** Takes what comes as Node gives it. */
  #receive(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#input.push(chunk);
      this.#advance();
    });
    socket.resume();
  }

  #listen(socket: Socket): void {
    socket.on('error', (error) => (this.#why = error.message));
    socket.on('end', () => socket.end());
  }

  #cut(why: string): void {
    this.#why = why;
    this.#socket.destroy();
  }

  #negotiate(): void {
    if (this.#opening) return;
    const step = this.#negotiation.advance(this.#input);
    if (step.replies.length > 0) this.#socket.write(step.replies);
    if (step.kind === 'agreed') void this.#open(step.agreed);
    else if (step.kind === 'secure') this.#secure();
    else if (step.kind === 'ended') {
      this.#why = 'the handshake has ended';
      this.#socket.end();
    }
  }

  /** Between the agreement and the first request. */
  #opening = false;

  async #open(agreed: Agreed): Promise<void> {
    this.#opening = true;
    clearTimeout(this.#deadline);
    this.#socket.pause();
    let backend: Backend;
    try {
      backend = await agreed.export.open();
    } catch (error) {
      this.#options.onEvent?.({ kind: 'failure', export: agreed.export.name, command: -1, offset: 0, error });
      return this.#cut('the export could not be opened');
    }
    if (this.#socket.destroyed) return await backend.close();
    const transmission = new Transmission({
      ...{ agreed, backend, input: this.#input, isClosing: this.#isClosing, keep: (payload) => this.#slabs.keep(payload) },
      replies: new Replies(this.#socket, this.#pool),
      limits: this.#options.limits ?? LIMITS_DEFAULT,
      hold: (held) => void (held ? this.#socket.pause() : this.#socket.resume()),
      onFailure: (error: unknown, { command, offset }: Request) =>
        this.#options.onEvent?.({ kind: 'failure', export: agreed.export.name, command, offset, error }),
      onEnd: (end) => {
        if (end.kind === 'nonsense') this.#cut(end.why);
        else void transmission.settled().then(() => this.#leave());
      },
    });
    this.#serving = { transmission, backend, name: agreed.export.name };
    this.#options.onEvent?.({ kind: 'connected', export: agreed.export.name });
    this.#socket.resume();
    transmission.advance();
  }

  #leave(): void {
    this.#why = 'disconnected';
    this.#socket.end();
  }

  /** A server of TLS for one socket: it alone judges the client's certificate before a byte is believed. */
  #secure(): void {
    const clear = this.#socket;
    const { tls } = this.#options;
    if (tls === undefined) return this.#cut('TLS is not configured');
    clear.removeAllListeners('data');
    clear.removeAllListeners('end');
    const { ca, cert, key } = tls;
    createTlsServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true })
      .once('tlsClientError', (error) => this.#cut(error.message))
      .once('secureConnection', (secured) => {
        this.#negotiation.secured();
        this.#socket = secured;
        this.#listen(secured);
        this.#receive(secured);
      })
      .emit('connection', clear);
  }

  async #closed(): Promise<void> {
    clearTimeout(this.#deadline);
    const serving = this.#serving;
    if (serving !== null) {
      await serving.transmission.settled();
      await serving.backend.close();
    }
    this.#options.onEvent?.({ kind: 'ended', export: serving?.name ?? null, why: this.#why });
    this.#finish();
  }
}

/**
 * An NBD client: reads and writes an export, and asks it what is allocated and what has changed.
 *
 * What a server says is not believed beyond its bounds: a reply that fits no request, or covers other bytes than were asked
 * for, ends the connection and fails what waits on it. A read resolves when every byte of it has come.
 */
import { connect } from 'node:net';
import { broken, shakeHands, type Agreed, type ClientTls, type Wire } from './client-handshake.ts';
import { NbdError, type StatusRun } from './export.ts';
import {
  CHUNK,
  CHUNK_DONE,
  CHUNK_HEADER_BYTES,
  COMMAND,
  ERRNO,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  TRANSMISSION,
} from './protocol.ts';
import { encodeRequest } from './requests.ts';
import type { NbdAddress } from './uri.ts';

export interface NbdTarget {
  readonly at: NbdAddress;
  /** Empty: the default export. */
  readonly export: string;
  /** Null: in the clear. */
  readonly tls: ClientTls | null;
}

export interface ConnectOptions {
  /** Wanted; the server may not have all of them. */
  readonly contexts: readonly string[];
  readonly handshakeMsMax?: number;
}

export interface NbdClient extends AsyncDisposable {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Of those wanted, what the server has. */
  readonly contexts: readonly string[];
  /** Fills `into` from `offset`. */
  read(into: Uint8Array, offset: number): Promise<void>;
  /** Resolves when the server has answered; durable after a flush. */
  write(from: Uint8Array, offset: number): Promise<void>;
  flush(): Promise<void>;
  /** The status of the beginning of [offset, offset + length); at least one byte of it. */
  status(context: string, offset: number, length: number): Promise<readonly StatusRun[]>;
}

const HANDSHAKE_MS_MAX = 10_000;
/** One request reads or writes no more; servers that say nothing else take this. */
const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;
/** Payload of one chunk beyond its data; runs of block status are bounded by it. */
const CHUNK_REST_MAX = 1024 * 1024;
/** Pieces of one read's answer: one for each sector of the largest. */
const CHUNKS_MAX = 65_536;
/** Status of more than this is asked in steps: lengths are of 32 bits. */
const STATUS_BYTES_MAX = 2 ** 31;

export async function connectNbd(target: NbdTarget, { contexts, handshakeMsMax = HANDSHAKE_MS_MAX }: ConnectOptions): Promise<NbdClient> {
  const socket = connect(target.at);
  const deadline = setTimeout(() => socket.destroy(new Error('the NBD server does not answer')), handshakeMsMax);
  try {
    const { wire, agreed } = await shakeHands(socket, target, contexts);
    return new Client(wire, agreed);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(deadline);
  }
}

interface Waiting {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  readonly into: Uint8Array | null;
  readonly runs: StatusRun[];
  readonly context: number;
  /** What has come of a read: [from, to), in the order of coming. */
  readonly covered: (readonly [number, number])[];
  failure: NbdError | null;
  readonly settle: (failure: Error | null) => void;
}

interface Payload {
  /** Of a read. */
  readonly into?: Uint8Array;
  /** Of a write; not to be changed before the answer. */
  readonly from?: Uint8Array;
  readonly context?: number;
}

class Client implements NbdClient {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly contexts: readonly string[];
  readonly #wire: Wire;
  readonly #agreed: Agreed;
  readonly #waiting = new Map<bigint, Waiting>();
  readonly #ended: Promise<void>;
  #failure: Error | null = null;
  #cookie = 0n;

  constructor(wire: Wire, agreed: Agreed) {
    this.#wire = wire;
    this.#agreed = agreed;
    this.sizeBytes = agreed.sizeBytes;
    this.readOnly = (agreed.flags & TRANSMISSION.READ_ONLY) !== 0;
    this.contexts = [...agreed.contexts.keys()];
    this.#ended = this.#receive();
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < into.length; at += PAYLOAD_BYTES_MAX)
      await this.#ask(COMMAND.READ, offset + at, Math.min(PAYLOAD_BYTES_MAX, into.length - at), { into: into.subarray(at) });
  }

  async write(from: Uint8Array, offset: number): Promise<void> {
    if (this.readOnly) throw new NbdError(ERRNO.EPERM, 'the export is read-only');
    for (let at = 0; at < from.length; at += PAYLOAD_BYTES_MAX) {
      const part = from.subarray(at, at + PAYLOAD_BYTES_MAX);
      await this.#ask(COMMAND.WRITE, offset + at, part.length, { from: part });
    }
  }

  async flush(): Promise<void> {
    await this.#ask(COMMAND.FLUSH, 0, 0);
  }

  async status(context: string, offset: number, length: number): Promise<readonly StatusRun[]> {
    const id = this.#agreed.contexts.get(context);
    if (id === undefined) throw new NbdError(ERRNO.EINVAL, `the context ${context} was not agreed on`);
    const { runs } = await this.#ask(COMMAND.BLOCK_STATUS, offset, Math.min(length, STATUS_BYTES_MAX), { context: id });
    if (runs.length === 0) throw broken('it tells the status of nothing');
    return runs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new Error('the connection was closed');
    if (!this.#wire.socket.destroyed)
      this.#wire.socket.end(encodeRequest({ flags: 0, command: COMMAND.DISC, cookie: 0n, offset: 0, length: 0 }));
    const cut = setTimeout(() => this.#wire.socket.destroy(), 1000);
    await this.#ended;
    clearTimeout(cut);
  }

  #ask(command: number, offset: number, length: number, { into, from, context = 0 }: Payload = {}): Promise<Waiting> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const cookie = ++this.#cookie;
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        ...{ command, offset, length, into: into?.subarray(0, length) ?? null, runs: [], context, covered: [], failure: null },
        settle: (failure) => (failure === null ? resolve(waiting) : reject(failure)),
      };
      this.#waiting.set(cookie, waiting);
      const { socket } = this.#wire;
      socket.cork();
      socket.write(encodeRequest({ flags: 0, command, cookie, offset, length }));
      if (from !== undefined) socket.write(from);
      socket.uncork();
    });
  }

  /** Takes replies until the connection ends, then fails what still waits. */
  async #receive(): Promise<void> {
    try {
      for (;;) await this.#takeReply();
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
      for (const { settle } of this.#waiting.values()) settle(this.#failure);
      this.#waiting.clear();
      this.#wire.socket.destroy();
    }
  }

  async #takeReply(): Promise<void> {
    const magic = (await this.#wire.take(4)).readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC) return this.#takeSimple(await this.#wire.take(SIMPLE_REPLY_BYTES - 4));
    if (magic === STRUCTURED_REPLY_MAGIC) return this.#takeChunk(await this.#wire.take(CHUNK_HEADER_BYTES - 4));
    throw broken('a reply does not begin as one');
  }

  #of(cookie: bigint): Waiting {
    const waiting = this.#waiting.get(cookie);
    if (waiting === undefined) throw broken('it answers what was not asked');
    return waiting;
  }

  async #takeSimple(head: Buffer): Promise<void> {
    const cookie = head.readBigUInt64BE(4);
    const waiting = this.#of(cookie);
    const errno = head.readUInt32BE(0);
    if (errno !== 0) waiting.failure = refusal(errno, '');
    else if (waiting.into !== null) {
      if (this.#agreed.structured) throw broken('a simple reply to a read');
      await this.#fill(waiting, waiting.offset, waiting.length);
    }
    this.#done(cookie, waiting);
  }

  async #takeChunk(head: Buffer): Promise<void> {
    const cookie = head.readBigUInt64BE(4);
    const waiting = this.#of(cookie);
    const [flags, type, length] = [head.readUInt16BE(0), head.readUInt16BE(2), head.readUInt32BE(12)];
    if (length > PAYLOAD_BYTES_MAX + CHUNK_REST_MAX) throw broken('a chunk is too long');
    if (type === CHUNK.OFFSET_DATA && length > 8) await this.#fill(waiting, offsetOf(await this.#wire.take(8)), length - 8);
    else this.#note(waiting, type, await this.#wire.take(length));
    if ((flags & CHUNK_DONE) !== 0) this.#done(cookie, waiting);
  }

  /** Payload straight to where it belongs, if it belongs there. */
  async #fill(waiting: Waiting, at: number, bytes: number): Promise<void> {
    const { into, offset, length } = waiting;
    if (into === null || at < offset || at + bytes > offset + length) throw broken('data that was not asked for');
    await this.#wire.has(bytes);
    let to = at - offset;
    for (const part of this.#wire.input.takeParts(bytes)) {
      into.set(part, to);
      to += part.length;
    }
    this.#cover(waiting, at - offset, bytes);
  }

  #cover({ covered }: Waiting, from: number, bytes: number): void {
    if (covered.length >= CHUNKS_MAX) throw broken('a read is answered in too many pieces');
    covered.push([from, from + bytes]);
  }

  #note(waiting: Waiting, type: number, body: Buffer): void {
    if (type === CHUNK.NONE) return;
    if (type === CHUNK.OFFSET_HOLE && body.length === 12) {
      const at = offsetOf(body) - waiting.offset;
      const bytes = body.readUInt32BE(8);
      if (waiting.into === null || at < 0 || at + bytes > waiting.length) throw broken('a hole that was not asked for');
      waiting.into.fill(0, at, at + bytes);
      this.#cover(waiting, at, bytes);
    } else if (type === CHUNK.BLOCK_STATUS && body.length >= 12 && body.length % 8 === 4) {
      if (body.readUInt32BE(0) !== waiting.context) return;
      for (let at = 4; at < body.length; at += 8) waiting.runs.push({ length: body.readUInt32BE(at), flags: body.readUInt32BE(at + 4) });
    } else if (type >= CHUNK.ERROR && body.length >= 6) {
      waiting.failure ??= refusal(body.readUInt32BE(0), body.toString('utf8', 6, 6 + body.readUInt16BE(4)));
    } else throw broken(`a chunk of type ${type}`);
  }

  #done(cookie: bigint, waiting: Waiting): void {
    // It waits still: the end of the connection is its answer, too.
    if (waiting.failure === null && waiting.into !== null && !isWhole(waiting)) throw broken('a read is not answered whole');
    this.#waiting.delete(cookie);
    waiting.settle(waiting.failure);
  }
}

/** Every byte has come once: a server that sends one twice has left another one out. */
function isWhole({ covered, length }: Waiting): boolean {
  let at = 0;
  for (const [from, to] of covered.toSorted((a, b) => a[0] - b[0])) {
    if (from !== at) return false;
    at = to;
  }
  return at === length;
}

const offsetOf = (bytes: Buffer): number => bytes.readUInt32BE(0) * 2 ** 32 + bytes.readUInt32BE(4);

const refusal = (errno: number, message: string): NbdError =>
  new NbdError(
    Object.values(ERRNO).find((known) => known === errno) ?? ERRNO.EIO,
    `the NBD server answers error ${errno}${message === '' ? '' : `: ${message}`}`,
  );

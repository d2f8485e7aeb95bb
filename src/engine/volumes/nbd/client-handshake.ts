/**
 * The client's side of the handshake: fixed newstyle, TLS, structured replies, contexts, one export.
 *
 * What a server says is bounded before it is kept; one that breaks the protocol is left.
 */
import { isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ByteQueue } from './byte-queue.ts';
import { NbdError } from './export.ts';
import { encodeOption } from './negotiation.ts';
import {
  ERRNO,
  HANDSHAKE,
  INFO,
  INIT_MAGIC,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
} from './protocol.ts';

export interface ClientTls {
  /** PEM, each: who may have signed the server's certificate, and who this client is. */
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Whom the server's certificate has to name. */
  readonly host: string;
}

const OPTION_REPLY_MAX = 64 * 1024;
const OPTION_REPLIES_MAX = 1024;

export const broken = (why: string): NbdError => new NbdError(ERRNO.EIO, `the NBD server breaks the protocol: ${why}`);

/** From the greeting to the export; the caller closes the socket of one that fails. */
export async function shakeHands(
  socket: Socket,
  target: { readonly export: string; readonly tls: ClientTls | null },
  contexts: readonly string[],
): Promise<{ readonly wire: Wire; readonly agreed: Agreed }> {
  let wire = new Wire(socket);
  await greet(wire);
  if (target.tls !== null) {
    const replies = await ask(wire, OPTION.STARTTLS);
    if (replies.at(-1)?.type !== OPTION_REPLY.ACK) throw new NbdError(ERRNO.EPERM, 'the NBD server has no TLS');
    wire = new Wire(secure(socket, target.tls));
  }
  return { wire, agreed: await agree(wire, target.export, contexts) };
}

/** Encrypts. An address is no name to ask for (RFC 6066), but one that a certificate may have. */
const secure = (socket: Socket, { ca, cert, key, host }: ClientTls): Socket =>
  connectTls({ socket, ca, cert, key, host, ...(isIP(host) === 0 ? { servername: host } : {}) });

/** A socket as a queue of bytes that can be waited for. */
export class Wire {
  readonly socket: Socket;
  readonly input = new ByteQueue();
  #end: Error | null = null;
  #changed: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.input.push(chunk);
      this.#changed();
    });
    socket.on('error', (error) => this.#ended(error));
    socket.on('close', () => this.#ended(new Error('the NBD server has ended the connection')));
  }

  #ended(error: Error): void {
    this.#end ??= error;
    this.#changed();
  }

  /** The next n bytes, when they have come. */
  async take(n: number): Promise<Buffer> {
    await this.has(n);
    return this.input.take(n);
  }

  async has(n: number): Promise<void> {
    while (this.input.length < n) {
      if (this.#end !== null) throw this.#end;
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }
}

interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

export interface Agreed {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly structured: boolean;
  readonly contexts: ReadonlyMap<string, number>;
}

async function greet(wire: Wire): Promise<void> {
  const greeting = await wire.take(18);
  const flags = greeting.readUInt16BE(16);
  if (greeting.readBigUInt64BE(0) !== INIT_MAGIC || greeting.readBigUInt64BE(8) !== OPTION_MAGIC)
    throw broken('its greeting is another one');
  if ((flags & HANDSHAKE.FIXED_NEWSTYLE) === 0) throw new NbdError(ERRNO.ENOTSUP, 'the NBD server is too old: it has no fixed newstyle');
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(HANDSHAKE.FIXED_NEWSTYLE | (flags & HANDSHAKE.NO_ZEROES), 0);
  wire.socket.write(answer);
}

/** Sends an option and gathers its replies; the last one is an acknowledgement or a refusal. */
async function ask(wire: Wire, option: number, data: Buffer = Buffer.alloc(0)): Promise<readonly OptionReply[]> {
  wire.socket.write(encodeOption(option, data));
  const replies: OptionReply[] = [];
  for (;;) {
    const reply = await wire.take(OPTION_REPLY_HEADER_BYTES);
    const length = reply.readUInt32BE(16);
    if (reply.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || reply.readUInt32BE(8) !== option) throw broken('it answers another option');
    if (length > OPTION_REPLY_MAX || replies.length > OPTION_REPLIES_MAX) throw broken('its answer is too long');
    const type = reply.readUInt32BE(12);
    replies.push({ type, data: await wire.take(length) });
    if (type === OPTION_REPLY.ACK || type >= OPTION_REPLY.ERR_UNSUP) return replies;
  }
}

const isRefused = (replies: readonly OptionReply[]): boolean => replies.at(-1)?.type !== OPTION_REPLY.ACK;

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(4 + bytes.length);
  out.writeUInt32BE(bytes.length, 0);
  out.set(bytes, 4);
  return out;
}

async function agree(wire: Wire, name: string, wanted: readonly string[]): Promise<Agreed> {
  const structured = !isRefused(await ask(wire, OPTION.STRUCTURED_REPLY));
  const contexts = new Map<string, number>();
  if (structured && wanted.length > 0) {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(wanted.length, 0);
    const replies = await ask(wire, OPTION.SET_META_CONTEXT, Buffer.concat([lengthPrefixed(name), count, ...wanted.map(lengthPrefixed)]));
    for (const { type, data } of replies)
      if (type === OPTION_REPLY.META_CONTEXT && data.length >= 4 && !isRefused(replies))
        contexts.set(data.toString('utf8', 4), data.readUInt32BE(0));
  }
  const replies = await ask(wire, OPTION.GO, Buffer.concat([lengthPrefixed(name), Buffer.alloc(2)]));
  if (isRefused(replies))
    throw new NbdError(ERRNO.EINVAL, `the NBD server refuses the export "${name}": ${replies.at(-1)?.data.toString()}`);
  for (const { type, data } of replies)
    if (type === OPTION_REPLY.INFO && data.length >= 12 && data.readUInt16BE(0) === INFO.EXPORT)
      return { sizeBytes: Number(data.readBigUInt64BE(2)), flags: data.readUInt16BE(10), structured, contexts };
  throw broken('it does not say how large the export is');
}

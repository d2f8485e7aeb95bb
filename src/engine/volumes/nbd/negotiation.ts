/**
 * The handshake: fixed newstyle negotiation as a state machine over bytes, without a socket.
 *
 *     flags ──▶ options ──GO, EXPORT_NAME──▶ agreed
 *                  │ ▲──STARTTLS: the caller encrypts and begins anew──┘
 *                  └──ABORT, nonsense──▶ ended
 *
 * A client that has not been told who it is talking to is told nothing else: where TLS is required, every option but
 * STARTTLS and ABORT is refused before it. Bytes that came after STARTTLS in the clear would be believed once encrypted, so
 * they end the connection (CVE-2021-3716).
 */
import type { ByteQueue } from './byte-queue.ts';
import type { Export, MetaContext } from './export.ts';
import {
  EXPORT_NAME_PADDING_BYTES,
  HANDSHAKE,
  INFO,
  INIT_MAGIC,
  OPTION,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  STRING_BYTES_MAX,
  TRANSMISSION,
} from './protocol.ts';

/** The longest option: a name and some queries. */
const OPTION_BYTES_MAX = 64 * 1024;
/** Options of one connection; real clients send under ten, and one list for each of a server's exports. */
const OPTIONS_MAX = 4096;
const CONTEXTS_MAX = 64;

export type TlsPolicy = 'none' | 'offered' | 'required';

export interface NegotiationOptions {
  readonly exports: readonly Export[];
  readonly tls: TlsPolicy;
  readonly isClosing: () => boolean;
}

export interface Agreed {
  readonly export: Export;
  readonly structured: boolean;
  /** By the number that the client uses for each. */
  readonly contexts: ReadonlyMap<number, MetaContext>;
}

export type NegotiationStep =
  /** What to send; then more bytes are needed. */
  | { readonly kind: 'more'; readonly replies: Buffer }
  | { readonly kind: 'agreed'; readonly replies: Buffer; readonly agreed: Agreed }
  | { readonly kind: 'secure'; readonly replies: Buffer }
  | { readonly kind: 'ended'; readonly replies: Buffer };

/** What the server says first. */
export function greeting(): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.writeBigUInt64BE(INIT_MAGIC, 0);
  bytes.writeBigUInt64BE(OPTION_MAGIC, 8);
  bytes.writeUInt16BE(HANDSHAKE.FIXED_NEWSTYLE | HANDSHAKE.NO_ZEROES, 16);
  return bytes;
}

/** An option as a client sends it. */
export function encodeOption(option: number, data: Buffer): Buffer {
  const head = Buffer.alloc(OPTION_HEADER_BYTES);
  head.writeBigUInt64BE(OPTION_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

export function transmissionFlags(of: Export): number {
  const { HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF, SEND_CACHE } = TRANSMISSION;
  let flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_DF | SEND_CACHE;
  if (of.readOnly) flags |= TRANSMISSION.READ_ONLY;
  else flags |= SEND_TRIM | SEND_WRITE_ZEROES | (of.fastZero ? TRANSMISSION.SEND_FAST_ZERO : 0);
  return of.multiConn ? flags | TRANSMISSION.CAN_MULTI_CONN : flags;
}

/** A malformed option; the client is told ERR_INVALID and may go on. */
class Malformed extends Error {}

/** Reads the fields of an option's data; refuses what runs over its end. */
class Fields {
  readonly #data: Buffer;
  #at = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  #advance(n: number): number {
    const at = this.#at;
    if (at + n > this.#data.length) throw new Malformed();
    this.#at += n;
    return at;
  }

  u16(): number {
    return this.#data.readUInt16BE(this.#advance(2));
  }

  u32(): number {
    return this.#data.readUInt32BE(this.#advance(4));
  }

  string(): string {
    const length = this.u32();
    if (length > STRING_BYTES_MAX) throw new Malformed();
    const at = this.#advance(length);
    return text(this.#data.subarray(at, at + length));
  }

  end(): void {
    if (this.#at !== this.#data.length) throw new Malformed();
  }
}

function text(bytes: Buffer): string {
  const read = bytes.toString('utf8');
  if (bytes.length > STRING_BYTES_MAX || read.includes('\0')) throw new Malformed();
  return read;
}

interface Query {
  readonly export: Export | undefined;
  readonly name: string;
  readonly queries: readonly string[];
}

export class Negotiation {
  readonly #options: NegotiationOptions;
  #secured = false;
  #begun = false;
  #fixed = false;
  #padded = true;
  #structured = false;
  #count = 0;
  /** What SET_META_CONTEXT chose last, for the export of that name. */
  #chosen: { readonly name: string; readonly contexts: ReadonlyMap<number, MetaContext> } | null = null;
  #replies: Buffer[] = [];

  constructor(options: NegotiationOptions) {
    this.#options = options;
  }

  /** The connection is encrypted from here on. What was agreed in the clear is forgotten; flags are not sent again. */
  secured(): void {
    this.#secured = true;
    this.#structured = false;
    this.#chosen = null;
  }

  /** Goes as far as the bytes that have come allow. */
  advance(input: ByteQueue): NegotiationStep {
    this.#replies = [];
    const step = (kind: 'more' | 'secure' | 'ended'): NegotiationStep => ({ kind, replies: Buffer.concat(this.#replies) });
    if (!this.#begun) {
      if (input.length < 4) return step('more');
      if (!this.#begin(input.take(4).readUInt32BE(0))) return step('ended');
    }
    while (this.#header !== null || input.length >= OPTION_HEADER_BYTES) {
      const header = (this.#header ??= this.#readHeader(input));
      if (header === null) return step('ended');
      if (input.length < header.length) return step('more');
      this.#header = null;
      const outcome = this.#answer(header.option, input.take(header.length));
      if (outcome === 'secure') return step(input.length === 0 ? 'secure' : 'ended');
      if (outcome === 'ended') return step('ended');
      if (outcome !== 'more') return { kind: 'agreed', replies: Buffer.concat(this.#replies), agreed: outcome };
    }
    return step('more');
  }

  /** An option whose data has not come whole. */
  #header: { readonly option: number; readonly length: number } | null = null;

  #begin(flags: number): boolean {
    this.#begun = true;
    this.#fixed = (flags & HANDSHAKE.FIXED_NEWSTYLE) !== 0;
    this.#padded = (flags & HANDSHAKE.NO_ZEROES) === 0;
    return (flags & ~(HANDSHAKE.FIXED_NEWSTYLE | HANDSHAKE.NO_ZEROES)) === 0;
  }

  #readHeader(input: ByteQueue): { readonly option: number; readonly length: number } | null {
    const header = input.take(OPTION_HEADER_BYTES);
    const length = header.readUInt32BE(12);
    if (header.readBigUInt64BE(0) !== OPTION_MAGIC || length > OPTION_BYTES_MAX || ++this.#count > OPTIONS_MAX) return null;
    return { option: header.readUInt32BE(8), length };
  }

  #reply(option: number, type: number, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(OPTION_REPLY_HEADER_BYTES);
    header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(data.length, 16);
    this.#replies.push(header, data);
  }

  #answer(option: number, data: Buffer): 'more' | 'secure' | 'ended' | Agreed {
    const { tls, isClosing } = this.#options;
    const mayEnter = tls !== 'required' || this.#secured;
    if (option === OPTION.EXPORT_NAME) return mayEnter ? this.#exportName(data) : 'ended';
    // A client of the old kind can name an export, and nothing else.
    if (!this.#fixed) return 'ended';
    if (option === OPTION.ABORT) {
      this.#reply(option, OPTION_REPLY.ACK);
      return 'ended';
    }
    if (isClosing()) {
      this.#reply(option, OPTION_REPLY.ERR_SHUTDOWN);
      return 'more';
    }
    try {
      if (option === OPTION.STARTTLS) return this.#startTls(data);
      if (!mayEnter) {
        this.#reply(option, OPTION_REPLY.ERR_TLS_REQD, Buffer.from('this server wants TLS'));
        return 'more';
      }
      return this.#answerOpen(option, data);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#reply(option, OPTION_REPLY.ERR_INVALID, Buffer.from('the option is malformed'));
      return 'more';
    }
  }

  #answerOpen(option: number, data: Buffer): 'more' | Agreed {
    switch (option) {
      case OPTION.LIST:
        return this.#list(data);
      case OPTION.INFO:
      case OPTION.GO:
        return this.#info(option, data);
      case OPTION.STRUCTURED_REPLY:
        new Fields(data).end();
        this.#structured = true;
        this.#reply(option, OPTION_REPLY.ACK);
        return 'more';
      case OPTION.LIST_META_CONTEXT:
      case OPTION.SET_META_CONTEXT:
        return this.#metaContext(option, data);
      default:
        this.#reply(option, OPTION_REPLY.ERR_UNSUP);
        return 'more';
    }
  }

  #find(name: string): Export | undefined {
    return this.#options.exports.find((one) => one.name === name);
  }

  #agree(found: Export): Agreed {
    const chosen = this.#chosen?.name === found.name ? this.#chosen.contexts : new Map<number, MetaContext>();
    return { export: found, structured: this.#structured, contexts: chosen };
  }

  #exportName(data: Buffer): 'ended' | Agreed {
    const found = data.length > STRING_BYTES_MAX || this.#options.isClosing() ? undefined : this.#find(data.toString('utf8'));
    if (found === undefined) return 'ended';
    const reply = Buffer.alloc(10 + (this.#padded ? EXPORT_NAME_PADDING_BYTES : 0));
    reply.writeBigUInt64BE(BigInt(found.sizeBytes), 0);
    reply.writeUInt16BE(transmissionFlags(found), 8);
    this.#replies.push(reply);
    return this.#agree(found);
  }

  #startTls(data: Buffer): 'more' | 'secure' {
    new Fields(data).end();
    const { tls } = this.#options;
    if (this.#secured) throw new Malformed();
    this.#reply(OPTION.STARTTLS, tls === 'none' ? OPTION_REPLY.ERR_UNSUP : OPTION_REPLY.ACK);
    return tls === 'none' ? 'more' : 'secure';
  }

  #list(data: Buffer): 'more' {
    new Fields(data).end();
    for (const { name, description } of this.#options.exports) {
      const label = Buffer.from(name);
      const reply = Buffer.alloc(4);
      reply.writeUInt32BE(label.length, 0);
      this.#reply(OPTION.LIST, OPTION_REPLY.SERVER, Buffer.concat([reply, label, Buffer.from(description)]));
    }
    this.#reply(OPTION.LIST, OPTION_REPLY.ACK);
    return 'more';
  }

  #info(option: number, data: Buffer): 'more' | Agreed {
    const fields = new Fields(data);
    const name = fields.string();
    const asked = new Set<number>();
    for (let left = fields.u16(); left > 0; left--) asked.add(fields.u16());
    fields.end();
    const found = this.#find(name);
    if (found === undefined) {
      this.#reply(option, OPTION_REPLY.ERR_UNKNOWN, Buffer.from(`no export "${name}"`));
      return 'more';
    }
    const tell = (type: number, body: Buffer): void => {
      const head = Buffer.alloc(2);
      head.writeUInt16BE(type, 0);
      this.#reply(option, OPTION_REPLY.INFO, Buffer.concat([head, body]));
    };
    const size = Buffer.alloc(10);
    size.writeBigUInt64BE(BigInt(found.sizeBytes), 0);
    size.writeUInt16BE(transmissionFlags(found), 8);
    tell(INFO.EXPORT, size);
    if (asked.has(INFO.NAME)) tell(INFO.NAME, Buffer.from(found.name));
    if (asked.has(INFO.DESCRIPTION)) tell(INFO.DESCRIPTION, Buffer.from(found.description));
    if (asked.has(INFO.BLOCK_SIZE)) {
      const sizes = Buffer.alloc(12);
      sizes.writeUInt32BE(found.blockSizes.minimumBytes, 0);
      sizes.writeUInt32BE(found.blockSizes.preferredBytes, 4);
      sizes.writeUInt32BE(found.blockSizes.maximumBytes, 8);
      tell(INFO.BLOCK_SIZE, sizes);
    }
    this.#reply(option, OPTION_REPLY.ACK);
    return option === OPTION.GO ? this.#agree(found) : 'more';
  }

  #metaContext(option: number, data: Buffer): 'more' {
    const { export: found, name, queries } = this.#query(data);
    if (option === OPTION.SET_META_CONTEXT) this.#chosen = null;
    if (!this.#structured) throw new Malformed();
    if (found === undefined) {
      this.#reply(option, OPTION_REPLY.ERR_UNKNOWN, Buffer.from(`no export "${name}"`));
      return 'more';
    }
    const listing = option === OPTION.LIST_META_CONTEXT;
    const wanted = found.contexts().filter((context) => matches(context.name, queries, listing));
    const contexts = new Map<number, MetaContext>();
    for (const [i, context] of wanted.slice(0, CONTEXTS_MAX).entries()) {
      const id = Buffer.alloc(4);
      id.writeUInt32BE(listing ? 0 : i + 1, 0);
      contexts.set(i + 1, context);
      this.#reply(option, OPTION_REPLY.META_CONTEXT, Buffer.concat([id, Buffer.from(context.name)]));
    }
    this.#reply(option, OPTION_REPLY.ACK);
    if (!listing) this.#chosen = { name, contexts };
    return 'more';
  }

  #query(data: Buffer): Query {
    const fields = new Fields(data);
    const name = fields.string();
    const queries: string[] = [];
    for (let left = fields.u32(); left > 0; left--) queries.push(fields.string());
    fields.end();
    return { export: this.#find(name), name, queries };
  }
}

/** A query names a context. A list may ask for a whole namespace (`base:`), or for everything by asking nothing. */
function matches(name: string, queries: readonly string[], listing: boolean): boolean {
  if (listing && queries.length === 0) return true;
  return queries.some((query) => query === name || (listing && query.endsWith(':') && name.startsWith(query)));
}

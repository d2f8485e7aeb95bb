/**
 * The transmission phase of one connection: each request gets exactly one final reply, whatever happens to it.
 *
 * Requests are answered as they come. What a backend answers at once goes out with the replies to its neighbours; the rest
 * when it is done, in any order, as the protocol allows. Three bounds hold a client that asks faster than it is served or
 * takes: requests that wait, their payloads, and replies that it has not taken. At any one its requests stay in the socket.
 *
 * A request that is malformed or out of bounds is refused by its reply. One that cannot be told from the next ends the
 * connection, and that connection only.
 */
import type { ByteQueue } from './byte-queue.ts';
import { errnoOf, NbdError, type Backend, type MetaContext, type StatusRun } from './export.ts';
import type { Agreed } from './negotiation.ts';
import { CHUNK, CHUNK_HEADER_BYTES, COMMAND, COMMAND_FLAG, ERRNO, SIMPLE_REPLY_BYTES, type Errno } from './protocol.ts';
import { writeChunkHeader, writeSimpleHeader, type Replies } from './replies.ts';
import { RequestReader, type Request } from './requests.ts';

export interface TransmissionLimits {
  /** Requests of one connection that wait for their backend. */
  readonly requestsMax: number;
  /** Bytes that a connection may hold before it is served on: replies that the client has not taken, and as many of writes that wait. */
  readonly pendingBytesMax: number;
}

export const LIMITS_DEFAULT: TransmissionLimits = { requestsMax: 256, pendingBytesMax: 64 * 1024 * 1024 };

/** What is served ahead of the client's taking it: more than a socket holds, and little enough to be in the processor's cache still. */
const UNSENT_BYTES_MAX = 1024 * 1024;
/** Runs in one block status reply. */
const RUNS_MAX = 4096;
/** Shorter reads are not worth a look at whether they are zeros. */
const HOLE_BYTES_MIN = 32 * 1024;
/** The offset that goes before the data of a structured read. */
const OFFSET_BYTES = 8;

export type TransmissionEnd = { readonly kind: 'disconnected' } | { readonly kind: 'nonsense'; readonly why: string };

export interface TransmissionPort {
  readonly agreed: Agreed;
  readonly backend: Backend;
  readonly input: ByteQueue;
  readonly replies: Replies;
  readonly limits: TransmissionLimits;
  readonly isClosing: () => boolean;
  /** Keeps a payload from being overwritten by what comes, until the function that this gives is called. */
  keep(payload: readonly Buffer[]): () => void;
  /** Called when nothing is read for now, and again when it is. */
  hold(held: boolean): void;
  /** A backend failed; the client was told a number. */
  onFailure(error: unknown, request: Request): void;
  onEnd(end: TransmissionEnd): void;
}

const FLAGS_KNOWN: Readonly<Record<number, number>> = {
  [COMMAND.READ]: COMMAND_FLAG.DF | COMMAND_FLAG.FUA,
  [COMMAND.WRITE]: COMMAND_FLAG.FUA,
  [COMMAND.FLUSH]: COMMAND_FLAG.FUA,
  [COMMAND.TRIM]: COMMAND_FLAG.FUA,
  [COMMAND.CACHE]: COMMAND_FLAG.FUA,
  [COMMAND.WRITE_ZEROES]: COMMAND_FLAG.FUA | COMMAND_FLAG.NO_HOLE | COMMAND_FLAG.FAST_ZERO,
  [COMMAND.BLOCK_STATUS]: COMMAND_FLAG.REQ_ONE | COMMAND_FLAG.FUA,
};

const CHANGES: ReadonlySet<number> = new Set([COMMAND.WRITE, COMMAND.TRIM, COMMAND.WRITE_ZEROES]);

export class Transmission {
  readonly #port: TransmissionPort;
  readonly #reader: RequestReader;
  #waiting = 0;
  /** Of their payloads. */
  #waitingBytes = 0;
  #held = false;
  #ended = false;
  #flushDue = false;
  #idle: (() => void)[] = [];

  constructor(port: TransmissionPort) {
    this.#port = port;
    this.#reader = new RequestReader(port.input, port.agreed.export.blockSizes.maximumBytes);
  }

  /** Answers what has come, as far as the bounds allow. */
  advance(): void {
    while (!this.#ended) {
      this.#hold(this.#isFull());
      if (this.#held) break;
      const next = this.#reader.next();
      if (next.kind === 'more') break;
      if (next.kind === 'nonsense') this.#end({ kind: 'nonsense', why: next.why });
      else if (next.request.command === COMMAND.DISC) this.#end({ kind: 'disconnected' });
      else this.#serve(next.request);
    }
    this.#flush();
  }

  /** Resolves when every request that was taken has been answered, and the answers are on their way. */
  settled(): Promise<void> {
    return this.#waiting === 0 && !this.#flushDue ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #isFull(): boolean {
    const { limits, replies } = this.#port;
    return (
      this.#waiting >= limits.requestsMax ||
      this.#waitingBytes >= limits.pendingBytesMax ||
      replies.pendingBytes >= limits.pendingBytesMax ||
      replies.unsentBytes >= UNSENT_BYTES_MAX
    );
  }

  #hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    this.#port.hold(held);
  }

  #end(end: TransmissionEnd): void {
    this.#ended = true;
    this.#port.input.clear();
    this.#port.onEnd(end);
  }

  #flush(): void {
    this.#flushDue = false;
    this.#port.replies.flush(() => {
      if (this.#held) this.advance();
    });
    if (this.#waiting === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** One flush for all that complete in this turn. */
  #flushSoon(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    setImmediate(() => this.advance());
  }

  #serve(request: Request): void {
    const refused = this.#refusal(request);
    if (refused !== null) return this.#fail(request, refused.errno, refused.message);
    if (request.command === COMMAND.READ) return this.#read(request);
    if (request.command === COMMAND.BLOCK_STATUS) return this.#wait(request, this.#blockStatus(request));
    try {
      const answer = this.#change(request);
      if (answer instanceof Promise)
        this.#wait(
          request,
          answer.then(() => this.#succeed(request)),
        );
      else this.#succeed(request);
    } catch (error) {
      this.#failWith(request, error);
    }
  }

  /** What is wrong with a request, before a backend is asked. */
  #refusal({ command, flags, offset, length }: Request): NbdError | null {
    const { agreed, isClosing } = this.#port;
    const { sizeBytes, readOnly, blockSizes, fastZero } = agreed.export;
    const known = FLAGS_KNOWN[command];
    if (isClosing()) return new NbdError(ERRNO.ESHUTDOWN, 'the server is shutting down');
    if (known === undefined) return new NbdError(ERRNO.EINVAL, `command ${command} is not known`);
    if ((flags & ~known) !== 0) return new NbdError(ERRNO.EINVAL, `flags ${flags & ~known} are not known to command ${command}`);
    if (CHANGES.has(command) && readOnly) return new NbdError(ERRNO.EPERM, 'the export is read-only');
    if (command === COMMAND.FLUSH) return null;
    if (offset + length > sizeBytes)
      return new NbdError(CHANGES.has(command) && command !== COMMAND.TRIM ? ERRNO.ENOSPC : ERRNO.EINVAL, 'the range leaves the export');
    const { minimumBytes, maximumBytes } = blockSizes;
    if (offset % minimumBytes !== 0 || (length % minimumBytes !== 0 && offset + length !== sizeBytes))
      return new NbdError(ERRNO.EINVAL, `the range is not of blocks of ${minimumBytes} bytes`);
    if (command === COMMAND.READ && length > maximumBytes) return new NbdError(ERRNO.EOVERFLOW, `more than ${maximumBytes} bytes at once`);
    if (command === COMMAND.BLOCK_STATUS && agreed.contexts.size === 0) return new NbdError(ERRNO.EINVAL, 'no context was agreed on');
    if (command === COMMAND.BLOCK_STATUS && length === 0) return new NbdError(ERRNO.EINVAL, 'the status of nothing');
    if ((flags & COMMAND_FLAG.FAST_ZERO) !== 0 && command === COMMAND.WRITE_ZEROES && !fastZero)
      return new NbdError(ERRNO.EINVAL, 'fast zeros were not offered');
    return null;
  }

  #change({ command, flags, offset, length, payload }: Request): void | Promise<void> {
    const { backend } = this.#port;
    const fua = (flags & COMMAND_FLAG.FUA) !== 0;
    switch (command) {
      case COMMAND.WRITE:
        return backend.write(payload, offset, fua);
      case COMMAND.FLUSH:
        return backend.flush();
      case COMMAND.TRIM:
        return backend.trim(offset, length, fua);
      case COMMAND.WRITE_ZEROES: {
        const mayPunch = (flags & COMMAND_FLAG.NO_HOLE) === 0;
        return backend.zero(offset, length, { fua, mayPunch, fast: (flags & COMMAND_FLAG.FAST_ZERO) !== 0 });
      }
      default:
        return backend.cache(offset, length);
    }
  }

  #wait(request: Request, answer: Promise<void>): void {
    const payloadBytes = request.payload.length === 0 ? 0 : request.length;
    const release = this.#port.keep(request.payload);
    this.#waiting++;
    this.#waitingBytes += payloadBytes;
    answer
      .catch((error: unknown) => this.#failWith(request, error))
      .finally(() => {
        release();
        this.#waiting--;
        this.#waitingBytes -= payloadBytes;
        this.#flushSoon();
      });
  }

  #succeed({ cookie }: Request): void {
    if (this.#port.agreed.structured) this.#port.replies.done(cookie);
    else this.#port.replies.simple(cookie, 0);
  }

  #failWith(request: Request, error: unknown): void {
    this.#port.onFailure(error, request);
    this.#fail(request, errnoOf(error), error instanceof Error ? error.message : 'the request failed');
  }

  /** Errors are told by the one form that suits every command; a failed read has no data behind it. */
  #fail({ cookie }: Request, errno: Errno, why: string): void {
    const { agreed, replies } = this.#port;
    if (!agreed.structured) return replies.simple(cookie, errno);
    const message = Buffer.from(why).subarray(0, 256);
    const body = Buffer.alloc(6 + message.length);
    body.writeUInt32BE(errno, 0);
    body.writeUInt16BE(message.length, 4);
    body.set(message, 6);
    replies.chunk(cookie, CHUNK.ERROR, body, true);
  }

  #read(request: Request): void {
    const { agreed, backend, replies } = this.#port;
    const { offset, length } = request;
    try {
      if (agreed.structured && length === 0) return replies.done(request.cookie);
      if (agreed.structured && length >= HOLE_BYTES_MIN && backend.readsZero(offset, length)) return this.#hole(request);
      const head = agreed.structured ? CHUNK_HEADER_BYTES + OFFSET_BYTES : SIMPLE_REPLY_BYTES;
      const reply = replies.reserve(head + length);
      if (this.#tryRead(reply.subarray(head), offset, reply)) return this.#writeReadHeader(reply, request);
      this.#wait(request, this.#readLater(request, head));
    } catch (error) {
      this.#failWith(request, error);
    }
  }

  #tryRead(into: Buffer, offset: number, reply: Buffer): boolean {
    let done = false;
    try {
      done = this.#port.backend.readNow(into, offset);
      return done;
    } finally {
      if (!done) this.#port.replies.release(reply);
    }
  }

  async #readLater(request: Request, head: number): Promise<void> {
    const { backend, replies } = this.#port;
    const reply = replies.begin(head + request.length);
    try {
      await backend.read(reply.buffer.subarray(head, reply.end), request.offset);
    } catch (error) {
      replies.drop(reply);
      throw error;
    }
    this.#writeReadHeader(reply.buffer, request);
    replies.add(reply);
  }

  #writeReadHeader(reply: Buffer, { cookie, offset, length }: Request): void {
    if (!this.#port.agreed.structured) return writeSimpleHeader(reply, cookie, 0);
    writeChunkHeader(reply, cookie, CHUNK.OFFSET_DATA, OFFSET_BYTES + length, true);
    writeOffset(reply, CHUNK_HEADER_BYTES, offset);
  }

  #hole({ cookie, offset, length }: Request): void {
    const body = Buffer.alloc(OFFSET_BYTES + 4);
    writeOffset(body, 0, offset);
    body.writeUInt32BE(length, OFFSET_BYTES);
    this.#port.replies.chunk(cookie, CHUNK.OFFSET_HOLE, body, true);
  }

  async #blockStatus(request: Request): Promise<void> {
    const { agreed, replies } = this.#port;
    const bodies: Buffer[] = [];
    for (const [id, context] of agreed.contexts) bodies.push(await statusBody(id, context, request));
    bodies.forEach((body, i) => replies.chunk(request.cookie, CHUNK.BLOCK_STATUS, body, i === bodies.length - 1));
  }
}

/** Number of the context u32 | (length u32, flags u32) for each run; neighbours of one status are one run. */
async function statusBody(id: number, context: MetaContext, { offset, length, flags }: Request): Promise<Buffer> {
  const runs: StatusRun[] = [];
  const runsMax = (flags & COMMAND_FLAG.REQ_ONE) === 0 ? RUNS_MAX : 1;
  let left = length;
  for await (const run of context.status(offset, length)) {
    const last = runs.at(-1);
    const bytes = Math.min(run.length, left);
    if (last?.flags === run.flags) runs[runs.length - 1] = { length: last.length + bytes, flags: run.flags };
    else if (runs.length === runsMax) break;
    else runs.push({ length: bytes, flags: run.flags });
    left -= bytes;
    if (left === 0) break;
  }
  const body = Buffer.alloc(4 + runs.length * 8);
  body.writeUInt32BE(id, 0);
  runs.forEach((run, i) => {
    body.writeUInt32BE(run.length, 4 + i * 8);
    body.writeUInt32BE(run.flags, 8 + i * 8);
  });
  return body;
}

function writeOffset(into: Buffer, at: number, offset: number): void {
  into.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
  into.writeUInt32BE(offset % 2 ** 32, at + 4);
}

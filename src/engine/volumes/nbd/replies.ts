/**
 * Replies on their way out: gathered, and sent in one write when whoever gathers says so.
 *
 * Small ones share a page; a read is filled straight into the buffer that leaves. Buffers come from the server's pool and
 * go back to it once the socket has taken them. `pendingBytes` is what a client has not taken yet: who does not read is not served.
 */
import type { Writable } from 'node:stream';
import { CHUNK, CHUNK_DONE, CHUNK_HEADER_BYTES, SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from './protocol.ts';

const PAGE_BYTES = 64 * 1024;
/** Room for the head of a reply whose data is of a power of two. */
const HEAD_BYTES = 4096;
/** Kept for use again by all connections of a server: what sixteen requests of a megabyte under way need, twice. */
const POOLED_BYTES_MAX = 32 * 1024 * 1024;

/** Buffers by powers of two, each with room for a head. A new one costs its pages once more, and the collector's time. */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;

  take(bytes: number): Buffer {
    const size = 2 ** Math.ceil(Math.log2(Math.max(bytes - HEAD_BYTES, PAGE_BYTES))) + HEAD_BYTES;
    const kept = this.#free.get(size)?.pop();
    if (kept === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    return kept;
  }

  give(buffer: Buffer): void {
    if (buffer.length > POOLED_BYTES_MAX) return;
    // What is kept is what is used now, and not what was once.
    if (this.#freeBytes + buffer.length > POOLED_BYTES_MAX) {
      this.#free.clear();
      this.#freeBytes = 0;
    }
    const free = this.#free.get(buffer.length) ?? [];
    this.#free.set(buffer.length, free);
    free.push(buffer);
    this.#freeBytes += buffer.length;
  }
}

export interface LaterReply {
  readonly buffer: Buffer;
  readonly end: number;
}

export class Replies {
  readonly #socket: Writable;
  readonly #pool: BufferPool;
  #page: { readonly buffer: Buffer; end: number };
  #ready: LaterReply[] = [];
  #pendingBytes = 0;
  #unsentBytes = 0;

  constructor(socket: Writable, pool: BufferPool) {
    this.#socket = socket;
    this.#pool = pool;
    this.#page = { buffer: pool.take(PAGE_BYTES), end: 0 };
  }

  /** Of replies that were begun and that the client has not taken. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Of those, what is ready to be taken. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Room for a reply of so many bytes, which the caller fills before it does anything else. */
  reserve(bytes: number): Buffer {
    if (this.#page.end + bytes > this.#page.buffer.length) {
      if (this.#page.end > 0) this.#ready.push(this.#page);
      else this.#pool.give(this.#page.buffer);
      this.#page = { buffer: this.#pool.take(bytes), end: 0 };
    }
    const at = this.#page.end;
    this.#page.end += bytes;
    this.#pendingBytes += bytes;
    this.#unsentBytes += bytes;
    return this.#page.buffer.subarray(at, at + bytes);
  }

  /** Takes back the newest reservation: its reply will be another one. */
  release(reserved: Buffer): void {
    this.#page.end -= reserved.length;
    this.#pendingBytes -= reserved.length;
    this.#unsentBytes -= reserved.length;
  }

  /** A buffer for a reply that is filled later, while others leave; it ends in `add` or `drop`. */
  begin(bytes: number): LaterReply {
    this.#pendingBytes += bytes;
    return { buffer: this.#pool.take(bytes), end: bytes };
  }

  add(reply: LaterReply): void {
    this.#unsentBytes += reply.end;
    this.#ready.push(reply);
  }

  /** Its buffer is used no more: what failed may go on writing into it, and would write into somebody else's reply. */
  drop({ end }: LaterReply): void {
    this.#pendingBytes -= end;
  }

  simple(cookie: bigint, error: number): void {
    writeSimpleHeader(this.reserve(SIMPLE_REPLY_BYTES), cookie, error);
  }

  /** A chunk with a short body. */
  chunk(cookie: bigint, type: number, body: Buffer, done: boolean): void {
    const reply = this.reserve(CHUNK_HEADER_BYTES + body.length);
    writeChunkHeader(reply, cookie, type, body.length, done);
    reply.set(body, CHUNK_HEADER_BYTES);
  }

  done(cookie: bigint): void {
    writeChunkHeader(this.reserve(CHUNK_HEADER_BYTES), cookie, CHUNK.NONE, 0, true);
  }

  /** Sends what was gathered; `sent` is called when the client's side of the socket has it. */
  flush(sent: () => void): void {
    if (this.#page.end > 0) {
      this.#ready.push(this.#page);
      this.#page = { buffer: this.#pool.take(PAGE_BYTES), end: 0 };
    }
    const going = this.#ready;
    if (going.length === 0) return;
    this.#ready = [];
    this.#socket.cork();
    for (const { buffer, end } of going)
      this.#socket.write(buffer.subarray(0, end), () => {
        this.#pendingBytes -= end;
        this.#unsentBytes -= end;
        this.#pool.give(buffer);
        if (buffer === going.at(-1)?.buffer) sent();
      });
    this.#socket.uncork();
  }
}

export function writeSimpleHeader(into: Buffer, cookie: bigint, error: number): void {
  into.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
  into.writeUInt32BE(error, 4);
  into.writeBigUInt64BE(cookie, 8);
}

export function writeChunkHeader(into: Buffer, cookie: bigint, type: number, bodyBytes: number, done: boolean): void {
  into.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0);
  into.writeUInt16BE(done ? CHUNK_DONE : 0, 4);
  into.writeUInt16BE(type, 6);
  into.writeBigUInt64BE(cookie, 8);
  into.writeUInt32BE(bodyBytes, 16);
}

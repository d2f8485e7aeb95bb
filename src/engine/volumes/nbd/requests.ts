/**
 * Requests as they come in transmission: a header, and for a write its payload, which is handed on in the pieces it came in.
 */
import type { ByteQueue } from './byte-queue.ts';
import { COMMAND, REQUEST_BYTES, REQUEST_MAGIC } from './protocol.ts';

export interface Request {
  readonly flags: number;
  readonly command: number;
  /** Names the request in its replies. */
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  /** Of a write; else empty. */
  readonly payload: readonly Buffer[];
}

export type NextRequest =
  | { readonly kind: 'request'; readonly request: Request }
  /** More bytes are needed. */
  | { readonly kind: 'more' }
  /** What came is no request: where the next one would begin is not known. */
  | { readonly kind: 'nonsense'; readonly why: string };

type Header = Omit<Request, 'payload'>;

export class RequestReader {
  readonly #input: ByteQueue;
  readonly #payloadBytesMax: number;
  #header: Header | null = null;

  constructor(input: ByteQueue, payloadBytesMax: number) {
    this.#input = input;
    this.#payloadBytesMax = payloadBytesMax;
  }

  next(): NextRequest {
    if (this.#header === null) {
      if (this.#input.length < REQUEST_BYTES) return { kind: 'more' };
      const bytes = this.#input.take(REQUEST_BYTES);
      if (bytes.readUInt32BE(0) !== REQUEST_MAGIC) return { kind: 'nonsense', why: 'a request does not begin as one' };
      this.#header = readHeader(bytes);
    }
    const header = this.#header;
    const payloadBytes = header.command === COMMAND.WRITE ? header.length : 0;
    if (payloadBytes > this.#payloadBytesMax) return { kind: 'nonsense', why: `a write of ${payloadBytes} bytes` };
    if (this.#input.length < payloadBytes) return { kind: 'more' };
    this.#header = null;
    return { kind: 'request', request: { ...header, payload: payloadBytes === 0 ? [] : this.#input.takeParts(payloadBytes) } };
  }
}

/** A request as a client sends it; the payload of a write follows. */
export function encodeRequest({ flags, command, cookie, offset, length }: Header): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

const readHeader = (bytes: Buffer): Header => ({
  flags: bytes.readUInt16BE(4),
  command: bytes.readUInt16BE(6),
  cookie: bytes.readBigUInt64BE(8),
  // Past 2^53 it is past the end of any export, and is refused as that.
  offset: bytes.readUInt32BE(16) * 2 ** 32 + bytes.readUInt32BE(20),
  length: bytes.readUInt32BE(24),
});

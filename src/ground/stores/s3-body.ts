/**
 * Bodies of S3 calls: their checksums, their ranges, and reading one whole, into one buffer of its announced length.
 *
 * A body that is not read to its end keeps its socket, so every way out of here ends or destroys it: an abort, a server that
 * falls silent, a body shorter or longer than announced. The SDK watches none of these once the headers are there.
 */
import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import type { ByteRange } from './object-store.ts';

/** Past this, the end of a range is left open: no object is larger. */
const OBJECT_BYTES_MAX = 5 * 1024 ** 4;

export interface BodyLimits {
  readonly signal: AbortSignal | undefined;
  /** The longest silence between two chunks. */
  readonly idleMs: number;
}

export async function readBody(body: Readable, announcedBytes: number, { signal, idleMs }: BodyLimits): Promise<Buffer> {
  const cutShort = (what: string): HoldfastError =>
    new HoldfastError('STORE_UNREACHABLE', `an answer broke off: ${what}`, { announcedBytes, receivedBytes });
  let receivedBytes = 0;
  const onAbort = (): void => void body.destroy(cutShort('aborted'));
  const silence = setTimeout(() => body.destroy(cutShort(`nothing came for ${idleMs} ms`)), idleMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    const buffer = Buffer.allocUnsafeSlow(announcedBytes);
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (receivedBytes + chunk.byteLength > announcedBytes) throw cutShort('longer than announced');
      buffer.set(chunk, receivedBytes);
      receivedBytes += chunk.byteLength;
      silence.refresh();
    }
    if (receivedBytes !== announcedBytes) throw cutShort('shorter than announced');
    return buffer;
  } finally {
    clearTimeout(silence);
    signal?.removeEventListener('abort', onAbort);
    body.destroy();
  }
}

/** The bytes that came are not those whose checksum the store keeps. */
export class ChecksumMismatch extends Error {}

export function checksumOf(bytes: Uint8Array): string {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(bytes));
  return value.toString('base64');
}

export function rangeHeader({ offset, length }: ByteRange): string {
  const last = offset + length - 1;
  return last < OBJECT_BYTES_MAX ? `bytes=${offset}-${last}` : `bytes=${offset}-`;
}

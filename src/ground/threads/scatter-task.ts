/**
 * Opens one sealed body, holds it against its digest, and writes pieces of what it holds where they belong.
 *
 * Invariant: nothing is written before all of the body is known to be what was sealed. Pieces are far smaller than the extents of a
 * restore, so those that follow each other in a target are one call.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../domain/errors.ts';
import { openSealed, unpackInto } from '../sealing/opening.ts';
import { writeFully } from './target-writes.ts';
import type { ScatterPieces, ScatterResult, ScatterTask } from './tasks.ts';

/** Buffers of one call: the system takes 1,024. */
const PARTS_MAX = 1024;

/** A thread's buffer for the plain bytes at hand; it grows to the largest body. */
let room = Buffer.alloc(0);

export function scatterTask({ body, isPacked, plainBytes, digest, pieces, fds }: ScatterTask): ScatterResult {
  try {
    // Opened where it lies: it was moved here, and nobody else has it.
    const unsealed = openSealed(body, body.sealed);
    if (unsealed === null) return { kind: 'refused', why: 'sealed' };
    const plain = isPacked ? unpackInto(unsealed, roomFor(plainBytes)) : unsealed;
    if (plain === null || plain.length !== plainBytes || !blake3(plain).equals(digest)) return { kind: 'refused', why: 'form' };
    return { kind: 'written', bytes: scatter(plain, pieces, fds) };
  } finally {
    // free-buffer.ts says why it is not left to the garbage collector.
    body.sealed.buffer.transfer(0);
  }
}

function roomFor(bytes: number): Buffer {
  if (room.length < bytes) room = Buffer.allocUnsafeSlow(bytes);
  return room.subarray(0, bytes);
}

function scatter(plain: Uint8Array, { count, targets, offsets, lengths, places }: ScatterPieces, fds: readonly number[]): number {
  let bytes = 0;
  for (let i = 0; i < count;) {
    const [target, offset] = [targets[i] ?? 0, offsets[i] ?? 0];
    const parts: Uint8Array[] = [];
    let at = offset;
    for (; i < count && targets[i] === target && offsets[i] === at && parts.length < PARTS_MAX; i++) {
      const [place = 0, length = 0] = [places[i], lengths[i]];
      if (place + length > plain.length) throw new HoldfastError('INTERNAL', 'a piece lies outside its body', { place, length });
      parts.push(plain.subarray(place, place + length));
      at += length;
    }
    const fd = fds[target];
    if (fd === undefined) throw new HoldfastError('INTERNAL', 'a piece of no target', { target });
    writeFully(fd, parts, offset);
    bytes += at - offset;
  }
  return bytes;
}

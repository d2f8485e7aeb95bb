/**
 * Takes values that somebody else has encoded into open packs: decode, check against the name, seal. A body that has not
 * exactly as many plain bytes as an extent, or other bytes than its name says, is refused, and nothing of it is kept.
 *
 * A body is decoded into a buffer of one extent, so one that claims to be small and is not ends there. One that is encoded
 * as the pack wants it is sealed as it is: compressing again would be two thirds of the work.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_MAX } from '../../domain/limits.ts';
import { decodeBody, fitsCodec, type EncodedBody } from '../sealing/blob.ts';
import { encoderOf, fillingOf, sealInto } from './seal-task.ts';
import { FINGERPRINT_BYTES, type TakeResult, type TakeTask } from './tasks.ts';

/** A thread's buffer for the plain bytes at hand. */
let room: Buffer | undefined;

/** The plain bytes of a body that is what its name says, or null. Valid until the next call. */
function openTaken(body: EncodedBody, name: Buffer, extentBytes: number): Buffer | null {
  room ??= Buffer.allocUnsafeSlow(EXTENT_BYTES_MAX);
  try {
    const plain = decodeBody(body, name, 0, room.subarray(0, extentBytes));
    return plain.length === extentBytes && blake3(plain).equals(name) ? plain : null;
  } catch (error) {
    if (error instanceof HoldfastError) return null;
    throw error;
  }
}

export function takeTask(task: TakeTask): TakeResult {
  const fillings = task.packs.map(fillingOf);
  const refused: number[] = [];
  const tally = { encoded: 0 };
  task.bodies.forEach((body, position) => {
    const name = Buffer.from(task.names.buffer, task.names.byteOffset + position * FINGERPRINT_BYTES, FINGERPRINT_BYTES);
    const plain = openTaken(body, name, task.extentBytes);
    if (plain === null) {
      refused.push(position);
      for (const filling of fillings) if (filling.target.wants[filling.lengths.length] === position) filling.lengths.push(0);
    } else {
      const encode = encoderOf(plain, tally);
      sealInto(fillings, position, name, (wanted) => (fitsCodec(body, wanted) ? body : encode(wanted)));
    }
    // It was moved here, and nobody else has it (free-buffer.ts says why it is not left to the garbage collector).
    body.bytes.buffer.transfer(0);
  });
  return { lengths: fillings.map((filling) => filling.lengths), refused, ...tally };
}

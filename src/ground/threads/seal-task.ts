/**
 * Encodes each value of a batch once for every codec in use, and seals the result into the open pack of each destination
 * that wants it. The packs' owner has made sure that even incompressible values fit.
 *
 * Value by value rather than pack by pack: a body is sealed for all destinations while it is warm, and only one body a
 * codec exists at a time.
 */
import { BODY_BYTES_MAX, encodeBody, sealBlob, type Codec, type EncodedBody } from '../sealing/blob.ts';
import { slotFingerprint, type PackTarget, type SealResult, type SealTask } from './tasks.ts';

interface Filling {
  readonly target: PackTarget;
  readonly pack: Uint8Array;
  readonly lengths: number[];
  end: number;
}

export const fillingOf = (target: PackTarget): Filling => ({
  target,
  pack: new Uint8Array(target.buffer),
  lengths: [],
  end: target.offset,
});

/** Seals one value into every pack whose next wanted position it is. `bodyOf` encodes at most once per codec. */
export function sealInto(
  fillings: readonly Filling[],
  position: number,
  fingerprint: Uint8Array,
  bodyOf: (codec: Codec) => EncodedBody,
): void {
  for (const filling of fillings) {
    if (filling.target.wants[filling.lengths.length] !== position) continue;
    const length = sealBlob(filling.pack, filling.end, filling.target.key, fingerprint, bodyOf(filling.target.codec));
    filling.lengths.push(length);
    filling.end += length;
  }
}

/** One buffer a codec and thread, for the body at hand. */
const rooms = new Map<Codec, Buffer>();

function roomFor(codec: Codec): Buffer {
  const known = rooms.get(codec) ?? Buffer.allocUnsafeSlow(BODY_BYTES_MAX);
  rooms.set(codec, known);
  return known;
}

/** Encodes one value, at most once per codec; counts in `tally` how often a compressor ran. */
export function encoderOf(plain: Uint8Array, tally: { encoded: number }): (codec: Codec) => EncodedBody {
  const bodies = new Map<Codec, EncodedBody>();
  return (codec) => {
    const known = bodies.get(codec);
    if (known !== undefined) return known;
    if (codec !== 'raw') tally.encoded++;
    const body = encodeBody(plain, 'extent', codec, codec === 'raw' ? undefined : roomFor(codec));
    bodies.set(codec, body);
    return body;
  };
}

export function sealTask(task: SealTask): SealResult {
  const slot = Buffer.from(task.slot);
  const fillings = task.packs.map(fillingOf);
  const tally = { encoded: 0 };
  task.values.forEach((place, position) => {
    const plain = slot.subarray(place * task.extentBytes, (place + 1) * task.extentBytes);
    sealInto(fillings, position, slotFingerprint(slot, place), encoderOf(plain, tally));
  });
  return { lengths: fillings.map((filling) => filling.lengths), ...tally };
}

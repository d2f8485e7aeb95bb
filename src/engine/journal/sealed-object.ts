/**
 * The frame of a batch or seal: a place in a journal, and two sections sealed apart (docs/journal.md, section 4).
 *
 *     "HFJ1" | kind | codec | features u16 | journal id 16 | epoch u64 | index u64 | H u32 | B u32 | salt 32 | head H | body B
 *
 * Invariant: what opens was written in this place of this journal. The place is part of the key and of the associated data,
 * the name is not: a copy below b/ has the same bytes. A seal and a batch race for one name, so the salt makes each object a
 * key of its own. The head is first: a reader gets it with one read of the first bytes, without asking for the size.
 *
 * A flipped bit in the frame looks like another place, a newer version or another length. Before any of that is said the frame
 * that was expected is tried: what opens with it was damaged.
 */
import { hkdfSync } from 'node:crypto';
import { HoldfastError } from '../../domain/errors.ts';
import { sealAt } from '../../ground/sealing/closing.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { isNewer, upgradeRequired } from '../../ground/sealing/magic.ts';
import { openSealed, TAG_BYTES, type Sealed } from '../../ground/sealing/opening.ts';

const MAGIC = Buffer.from('HFJ1');
const KINDS = ['batch', 'seal'] as const;
const PLACE_END = 40;
const SALT_AT = 48;
export const FRAME_BYTES = 80;
const HEAD = 0;
const BODY = 1;

/** Where an object stands; the journal is that of the key. */
export interface Place {
  readonly epoch: number;
  readonly index: number;
}

export interface SealedParts extends Place {
  readonly kind: (typeof KINDS)[number];
  /** How the body is packed; the caller's to say and to know. */
  readonly codec: number;
  readonly head: Uint8Array;
  /** Empty: there is none. */
  readonly body: Uint8Array;
}

/** The stored bytes. `key.repositoryId` is the journal's id; `salt` is 32 random bytes, never used twice. */
export function sealObject(key: SealingKey, parts: SealedParts, salt: Uint8Array): Buffer {
  const bodyBytes = parts.body.length === 0 ? 0 : parts.body.length + TAG_BYTES;
  const frame = frameOf(key, parts);
  frame.writeUInt8(KINDS.indexOf(parts.kind) + 1, 4);
  frame.writeUInt8(parts.codec, 5);
  frame.writeUInt32BE(parts.head.length + TAG_BYTES, 40);
  frame.writeUInt32BE(bodyBytes, 44);
  frame.set(salt, SALT_AT);
  const headBytes = parts.head.length + TAG_BYTES;
  const stored = Buffer.allocUnsafeSlow(FRAME_BYTES + headBytes + bodyBytes);
  frame.copy(stored);
  const under = { key: keyOf(key, frame), associated: frame.subarray(0, SALT_AT) };
  sealAt({ ...under, nonce: nonceOf(HEAD), plain: parts.head }, stored, FRAME_BYTES);
  if (bodyBytes > 0) sealAt({ ...under, nonce: nonceOf(BODY), plain: parts.body }, stored, FRAME_BYTES + headBytes);
  return stored;
}

/** A frame with what is expected in it, and the rest zero. */
function frameOf(key: SealingKey, { epoch, index }: Place): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES);
  frame.set(MAGIC, 0);
  frame.set(key.repositoryId, 8);
  frame.writeBigUInt64BE(BigInt(epoch), 24);
  frame.writeBigUInt64BE(BigInt(index), 32);
  return frame;
}

const keyOf = (key: SealingKey, frame: Buffer): Buffer => {
  const info = Buffer.concat([Buffer.from('holdfast journal'), frame.subarray(0, PLACE_END)]);
  return Buffer.from(hkdfSync('sha256', key.dataKey, frame.subarray(SALT_AT), info, 32));
};

const nonceOf = (section: number): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt8(section, 11);
  return nonce;
};

/** The plain bytes, or null when they were not sealed under this frame. */
const unseal = (key: SealingKey, frame: Buffer, section: number, sealed: Buffer): Buffer | null =>
  openSealed({ key: keyOf(key, frame), nonce: nonceOf(section), associated: frame.subarray(0, SALT_AT), sealed });

/** A head that has been opened. */
export interface OpenedHead {
  readonly kind: SealedParts['kind'];
  readonly codec: number;
  readonly head: Buffer;
  /** Length of the whole object. */
  readonly sizeBytes: number;
}

export type Why = 'truncated' | 'length' | 'sealed' | 'form' | 'journal' | 'place';

/** An object of a journal that is refused, with the reason by name. */
export const refusedObject = (code: 'DAMAGED' | 'BATCH_FOREIGN', object: string, why: Why): HoldfastError =>
  new HoldfastError(code, `${object} is ${WORDS[why]}`, { object, why });

const WORDS: Readonly<Record<Why, string>> = {
  truncated: 'cut short',
  length: 'longer than it says',
  sealed: 'not what was written',
  form: 'not of the form of a batch or seal',
  journal: 'an object of another journal',
  place: 'an object of another epoch or index',
};

/** How many of the first bytes hold the head, as far as the frame can be believed; null when these are not even a frame. */
export const headEnd = (prefix: Buffer): number | null => (prefix.length < FRAME_BYTES ? null : FRAME_BYTES + prefix.readUInt32BE(40));

/**
 * Opens the head of the object read under the name `object`, of which `stored` are the first bytes or all.
 * DAMAGED, BATCH_FOREIGN or UPGRADE_REQUIRED, with `details.why`.
 */
export function openHead(key: SealingKey, place: Place, object: string, stored: Buffer): OpenedHead {
  if (stored.length < FRAME_BYTES) throw refusedObject('DAMAGED', object, 'truncated');
  const frame = stored.subarray(0, FRAME_BYTES);
  const sealed = stored.subarray(FRAME_BYTES, FRAME_BYTES + frame.readUInt32BE(40));
  const expected = expectedFrame(key, place, frame);
  if (!frame.equals(expected)) throw strangeFrame(key, object, frame, expected, sealed);
  if (sealed.length < frame.readUInt32BE(40)) throw refusedObject('DAMAGED', object, 'truncated');
  const head = unseal(key, frame, HEAD, sealed);
  if (head === null) throw refusedObject('DAMAGED', object, 'sealed');
  const kind = KINDS[frame.readUInt8(4) - 1];
  // Under the tag, so nobody's accident.
  if (kind === undefined) throw upgradeRequired(object, object);
  return { kind, codec: frame.readUInt8(5), head, sizeBytes: FRAME_BYTES + frame.readUInt32BE(40) + frame.readUInt32BE(44) };
}

/** The body of an object whose head was opened, still sealed: a view of `stored`, which is all of it. Null when it has none. */
export function sealedBody(key: SealingKey, object: string, stored: Buffer): Sealed | null {
  const frame = stored.subarray(0, FRAME_BYTES);
  const [headBytes, bodyBytes] = [frame.readUInt32BE(40), frame.readUInt32BE(44)];
  const from = FRAME_BYTES + headBytes;
  if (stored.length !== from + bodyBytes) throw refusedObject('DAMAGED', object, stored.length < from + bodyBytes ? 'truncated' : 'length');
  if (bodyBytes === 0) return null;
  return { key: keyOf(key, frame), nonce: nonceOf(BODY), associated: frame.subarray(0, SALT_AT), sealed: stored.subarray(from) };
}

/** Opens the same. Empty when it has none. */
export function openBody(key: SealingKey, object: string, stored: Buffer): Buffer {
  const closed = sealedBody(key, object, stored);
  if (closed === null) return Buffer.alloc(0);
  const body = openSealed(closed);
  if (body === null) throw refusedObject('DAMAGED', object, 'sealed');
  return body;
}

/** The frame as it should be here: what place and version decide is set, what the object itself says is kept. */
function expectedFrame(key: SealingKey, place: Place, frame: Buffer): Buffer {
  const expected = Buffer.from(frame);
  frameOf(key, place).copy(expected, 0, 0, 4);
  expected.writeUInt16BE(0, 6);
  frameOf(key, place).copy(expected, 8, 8, PLACE_END);
  return expected;
}

function strangeFrame(key: SealingKey, object: string, frame: Buffer, expected: Buffer, sealed: Buffer): HoldfastError {
  if (unseal(key, expected, HEAD, sealed) !== null) return refusedObject('DAMAGED', object, 'sealed');
  if (isNewer(frame, MAGIC)) return upgradeRequired(object, object);
  if (!MAGIC.equals(frame.subarray(0, 4))) return refusedObject('DAMAGED', object, 'form');
  if (frame.readUInt16BE(6) !== 0) return upgradeRequired(object, object);
  if (!frame.subarray(8, 24).equals(key.repositoryId)) return refusedObject('BATCH_FOREIGN', object, 'journal');
  const elsewhere = unseal(key, frame, HEAD, sealed) !== null;
  return elsewhere ? refusedObject('BATCH_FOREIGN', object, 'place') : refusedObject('DAMAGED', object, 'sealed');
}

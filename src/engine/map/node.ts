/**
 * A map node: up to 256 children's fingerprints, and its canonical bytes.
 *
 *     "HFN" 1 | level u8 | 0 0 0 | bitmap 32 | fingerprints of the present children, 32 bytes each
 *
 * Bit i of the bitmap (byte i >> 3, bit i & 7) says that child i is there. An absent child is a region of zeros; a node
 * without children is never written, its parent lacks it instead. So equal content has equal nodes, and the root's
 * fingerprint identifies the volume. A node is at most 8,232 bytes, an extent at least 16 KiB: their fingerprints never meet.
 *
 * In memory a node is its children as one buffer of 256 x 32 bytes, all zero where absent.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../domain/errors.ts';
import { MAP_FANOUT, MAP_HEIGHT } from '../../domain/limits.ts';
import { isNewer, upgradeRequired } from '../../ground/sealing/magic.ts';

export const FINGERPRINT_BYTES = 32;
export const CHILDREN_BYTES = MAP_FANOUT * FINGERPRINT_BYTES;
const HEADER = 8;
const BITMAP = 32;
const MAGIC = Buffer.from('HFN\x01', 'latin1');

/** The fingerprint that stands for "nothing but zeros": no value has it. */
export const ABSENT: Buffer = Buffer.alloc(FINGERPRINT_BYTES);
export const isAbsent = (fingerprint: Uint8Array): boolean => ABSENT.equals(fingerprint);

export const fingerprintOf = (plain: Uint8Array): Buffer => blake3(Buffer.from(plain.buffer, plain.byteOffset, plain.length));

export const childOf = (children: Buffer, i: number): Buffer => children.subarray(i * FINGERPRINT_BYTES, (i + 1) * FINGERPRINT_BYTES);

/** Canonical bytes of the node, or null when it has no children. */
export function encodeNode(level: number, children: Buffer): Buffer | null {
  const bitmap = Buffer.alloc(BITMAP);
  const present: Buffer[] = [];
  for (let i = 0; i < MAP_FANOUT; i++) {
    const child = childOf(children, i);
    if (isAbsent(child)) continue;
    bitmap[i >> 3] = (bitmap[i >> 3] ?? 0) | (1 << (i & 7));
    present.push(child);
  }
  if (present.length === 0) return null;
  return Buffer.concat([MAGIC, Uint8Array.of(level, 0, 0, 0), bitmap, ...present]);
}

export interface DecodedNode {
  readonly level: number;
  readonly children: Buffer;
  /** Numbers of the children that are there, ascending. */
  readonly present: readonly number[];
  /** Length of the canonical bytes; what follows in the blob are locators. */
  readonly sizeBytes: number;
}

/** Parses canonical bytes (anything may follow them). DAMAGED when they are not a node. */
export function decodeNode(bytes: Uint8Array): DecodedNode {
  const level = bytes[4] ?? 0;
  if (isNewer(bytes, MAGIC)) throw upgradeRequired('a map node', 'map node');
  if (bytes.length < HEADER + BITMAP || !MAGIC.equals(bytes.subarray(0, 4)) || level < 1 || level > MAP_HEIGHT)
    throw new HoldfastError('DAMAGED', 'a map node is not of the expected form', { sizeBytes: bytes.length });
  const children = Buffer.alloc(CHILDREN_BYTES);
  const present: number[] = [];
  let at = HEADER + BITMAP;
  for (let i = 0; i < MAP_FANOUT; i++) {
    if (((bytes[HEADER + (i >> 3)] ?? 0) & (1 << (i & 7))) === 0) continue;
    if (at + FINGERPRINT_BYTES > bytes.length) throw new HoldfastError('DAMAGED', 'a map node is cut short', { sizeBytes: bytes.length });
    children.set(bytes.subarray(at, at + FINGERPRINT_BYTES), i * FINGERPRINT_BYTES);
    present.push(i);
    at += FINGERPRINT_BYTES;
  }
  return { level, children, present, sizeBytes: at };
}

/**
 * Where a value lies: pack, offset, stored length. 24 bytes: pack id 16 | offset u32 | length u32.
 *
 * The truth is the index. Beside each child of a map node stands a copy as a hint (a locator), so that restoring one
 * volume reads that volume and not the index; a hint may be stale, and a miss asks the index.
 */
import { PACK_ID_BYTES } from './object-names.ts';

export interface Location {
  /** 16 bytes; see object-names.ts. */
  readonly pack: Buffer;
  readonly offset: number;
  readonly length: number;
}

export const LOCATION_BYTES = PACK_ID_BYTES + 8;

export function writeLocation(into: Buffer, at: number, location: Location): void {
  into.set(location.pack, at);
  into.writeUInt32BE(location.offset, at + PACK_ID_BYTES);
  into.writeUInt32BE(location.length, at + PACK_ID_BYTES + 4);
}

/** The location at `at`, or null where none is known (length zero). */
export function readLocation(from: Buffer, at: number): Location | null {
  const length = from.readUInt32BE(at + PACK_ID_BYTES + 4);
  return length === 0 ? null : { pack: from.subarray(at, at + PACK_ID_BYTES), offset: from.readUInt32BE(at + PACK_ID_BYTES), length };
}

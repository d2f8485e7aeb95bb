import { blake3 } from '@napi-rs/blake-hash';

/** BLAKE3-256 of an object's stored bytes, hex: how records name what they refer to, checkable without a key. */
export const digestOf = (stored: Uint8Array): string =>
  blake3(Buffer.from(stored.buffer, stored.byteOffset, stored.length)).toString('hex');

/**
 * A pack: one object of up to 16 MiB of blobs of one kind, and a directory at its end.
 *
 *     "HFPACK" 0 1 | blob ... | directory | trailer
 *     directory = AES-256-GCM over entries of 40 bytes: fingerprint 32 | offset u32 | stored length u32
 *     trailer   = directory length u32 | entries u32 | "HFPKEND" 1
 *
 * The key is HKDF-SHA256(data key, "holdfast pack " + name); a blob's nonce is its offset, the directory's has its first
 * byte set, which no offset can. Integers are big-endian. The directory is what a resumed attempt, a collector and a
 * stranger read; a reader that has a locator needs neither it nor the trailer.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { HoldfastError } from '../../domain/errors.ts';
import type { PackKey } from '../../ground/sealing/blob.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { isNewer, upgradeRequired } from '../../ground/sealing/magic.ts';

export const PACK_HEADER = Buffer.from('HFPACK\0\x01', 'latin1');
const END = Buffer.from('HFPKEND\x01', 'latin1');
export const TRAILER_BYTES = 16;
const ENTRY_BYTES = 40;
const TAG = 16;
const DIRECTORY_NONCE = Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

export interface PackEntry {
  /** 32 bytes. */
  readonly fingerprint: Buffer;
  readonly offset: number;
  /** Stored bytes, codec and tag included. */
  readonly length: number;
}

export const directoryBytes = (entries: number): number => entries * ENTRY_BYTES + TAG + TRAILER_BYTES;

export const packKeyOf = (key: SealingKey, name: string): PackKey => ({
  key: Buffer.from(hkdfSync('sha256', key.dataKey, Buffer.alloc(0), `holdfast pack ${name}`, 32)),
  repositoryId: key.repositoryId,
});

const associated = (packKey: PackKey, entries: number): Buffer =>
  Buffer.concat([packKey.repositoryId, Buffer.from(`directory ${entries}`)]);

/** The sealed directory and trailer that end a pack. */
export function sealDirectory(packKey: PackKey, entries: readonly PackEntry[]): Buffer {
  const plain = Buffer.alloc(entries.length * ENTRY_BYTES);
  entries.forEach((entry, i) => {
    plain.set(entry.fingerprint, i * ENTRY_BYTES);
    plain.writeUInt32BE(entry.offset, i * ENTRY_BYTES + 32);
    plain.writeUInt32BE(entry.length, i * ENTRY_BYTES + 36);
  });
  const cipher = createCipheriv('aes-256-gcm', packKey.key, DIRECTORY_NONCE);
  cipher.setAAD(associated(packKey, entries.length));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.writeUInt32BE(sealed.length, 0);
  trailer.writeUInt32BE(entries.length, 4);
  trailer.set(END, 8);
  return Buffer.concat([sealed, trailer]);
}

export interface Trailer {
  readonly offset: number;
  readonly length: number;
  readonly entries: number;
  /** It says that a newer version wrote it, which is for openDirectory to judge: no tag covers these bytes. */
  readonly newer: boolean;
}

/** Where the directory lies, from the last 16 bytes of a pack. DAMAGED when they are no trailer, UPGRADE_REQUIRED when they are a newer one. */
export function parseTrailer(trailer: Uint8Array, packBytes: number, name: string): Trailer {
  const view = Buffer.from(trailer.buffer, trailer.byteOffset, trailer.length);
  const length = view.length === TRAILER_BYTES ? view.readUInt32BE(0) : -1;
  const entries = view.length === TRAILER_BYTES ? view.readUInt32BE(4) : -1;
  const offset = packBytes - TRAILER_BYTES - length;
  const newer = isNewer(view.subarray(8), END);
  const fits = length === entries * ENTRY_BYTES + TAG && offset >= PACK_HEADER.length;
  if (newer && !fits) throw upgradeRequired(`pack ${name}`, name);
  if (!fits || !(newer || END.equals(view.subarray(8))))
    throw new HoldfastError('DAMAGED', `pack ${name} is cut short or not a pack`, { object: name, sizeBytes: packBytes });
  return { offset, length, entries, newer };
}

/**
 * Opens a directory read from a pack. DAMAGED when it is not what was written; one that opens under a trailer that calls itself
 * newer is damaged there, one that does not was written by a newer version.
 */
export function openDirectory(packKey: PackKey, sealed: Uint8Array, trailer: Trailer, name: string): PackEntry[] {
  const opened = unsealDirectory(packKey, sealed, trailer.entries, name, trailer.newer);
  if (trailer.newer) throw new HoldfastError('DAMAGED', `the trailer of pack ${name} is not what was written`, { object: name });
  return opened;
}

function unsealDirectory(packKey: PackKey, sealed: Uint8Array, entries: number, name: string, newer: boolean): PackEntry[] {
  try {
    const decipher = createDecipheriv('aes-256-gcm', packKey.key, DIRECTORY_NONCE);
    decipher.setAAD(associated(packKey, entries));
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
    const plain = Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG)), decipher.final()]);
    return Array.from({ length: entries }, (_, i) => ({
      fingerprint: plain.subarray(i * ENTRY_BYTES, i * ENTRY_BYTES + 32),
      offset: plain.readUInt32BE(i * ENTRY_BYTES + 32),
      length: plain.readUInt32BE(i * ENTRY_BYTES + 36),
    }));
  } catch (cause) {
    if (newer) throw upgradeRequired(`pack ${name}`, name);
    throw new HoldfastError('DAMAGED', `the directory of pack ${name} does not open`, { object: name }, cause);
  }
}

/**
 * A segment of a replica's log, to the byte (docs/replica.md, section 4): a header that binds it to a replica, then entries, each a put or a delete.
 *
 * Invariant: the digest of an entry binds it to its segment, whose beginning is random, and to its number. So whatever verifies was
 * appended here under this number; nothing left over from another life of the disk passes.
 */
import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../../domain/errors.ts';
import { isNewer, upgradeRequired } from '../../../ground/sealing/magic.ts';
import { BATCH_LENGTH_MAX, NAME_LENGTH_MAX } from '../../../ground/stores/object-name.ts';
import { OBJECT_BYTES_MAX } from '../../../ground/stores/replica-wire.ts';

const MAGIC = Buffer.from('HFP1');
const CONTEXT = 'holdfast replica';
const DIGESTED = 48;
const ENTRY_DIGESTED = 72;
export const SEGMENT_HEADER_BYTES = 80;
export const ENTRY_HEAD_BYTES = 104;
const NAMES_BYTES_MAX = BATCH_LENGTH_MAX * (NAME_LENGTH_MAX + 1);
const NO_DIGEST = Buffer.alloc(32);

const KINDS = ['put', 'create', 'delete'] as const;

export interface Entry {
  readonly number: number;
  /** `create`: a put if absent that was told 'created'. */
  readonly kind: (typeof KINDS)[number];
  /** One of a put. */
  readonly names: readonly string[];
  /** Entries up to this number are to be moved first. */
  readonly after: number;
  /** Of the body, and its BLAKE3; of a delete 0 and zeros. */
  readonly sizeBytes: number;
  readonly digest: Buffer;
}

const headerDigest = (bytes: Buffer): Buffer => blake3(Buffer.concat([Buffer.from(CONTEXT), bytes.subarray(0, DIGESTED)]));

/** `replica` and `random` are 16 bytes each; `first` the number of the first entry. */
export function encodeSegmentHeader(replica: Uint8Array, first: number, random: Uint8Array): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.set(MAGIC, 0);
  bytes.set(replica, 8);
  bytes.set(random, 24);
  bytes.writeBigUInt64BE(BigInt(first), 40);
  bytes.set(headerDigest(bytes), DIGESTED);
  return bytes;
}

export const digestOfSegment = (header: Buffer): Buffer => header.subarray(DIGESTED, SEGMENT_HEADER_BYTES);

/** The number of its first entry, or null when these bytes are no header. DAMAGED: of another replica; UPGRADE_REQUIRED. */
export function decodeSegmentHeader(bytes: Buffer, replica: Uint8Array, path: string): number | null {
  if (bytes.length < SEGMENT_HEADER_BYTES || !headerDigest(bytes).equals(digestOfSegment(bytes))) return null;
  if (isNewer(bytes, MAGIC)) throw upgradeRequired(path, path);
  if (!MAGIC.equals(bytes.subarray(0, 4))) return null;
  if (!bytes.subarray(8, 24).equals(replica)) throw new HoldfastError('DAMAGED', `${path} is of another replica`, { object: path });
  return Number(bytes.readBigUInt64BE(40));
}

/** What stands before the body. */
export function encodeEntry(segment: Uint8Array, { number, kind, names, after, sizeBytes, digest }: Entry): Buffer {
  const text = Buffer.from(names.join('\n'), 'latin1');
  const bytes = Buffer.alloc(ENTRY_HEAD_BYTES + text.length);
  bytes.writeUInt8(KINDS.indexOf(kind) + 1, 0);
  bytes.writeUInt32BE(text.length, 4);
  bytes.writeBigUInt64BE(BigInt(number), 8);
  bytes.writeBigUInt64BE(BigInt(after), 16);
  bytes.writeUInt32BE(sizeBytes, 32);
  bytes.set(kind === 'delete' ? NO_DIGEST : digest, 40);
  bytes.set(text, ENTRY_HEAD_BYTES);
  bytes.set(entryDigest(segment, bytes), ENTRY_DIGESTED);
  return bytes;
}

const entryDigest = (segment: Uint8Array, bytes: Buffer): Buffer =>
  new Blake3Hasher()
    .update(Buffer.from(segment))
    .update(bytes.subarray(0, ENTRY_DIGESTED))
    .update(bytes.subarray(ENTRY_HEAD_BYTES))
    .digestBuffer();

/** The number that a head says, or null: it does not look like one. */
export function numberOf(head: Buffer): number | null {
  const kind = head.readUInt8(0);
  if (kind < 1 || kind > KINDS.length || head.readUIntBE(1, 3) !== 0 || head.readUInt32BE(36) !== 0) return null;
  const number = Number(head.readBigUInt64BE(8));
  return Number.isSafeInteger(number) ? number : null;
}

/** Bytes of the names that follow a head, or null when no entry begins here. */
export function namesBytes(head: Buffer): number | null {
  if (head.length < ENTRY_HEAD_BYTES) return null;
  const [kind, names, body] = [head.readUInt8(0), head.readUInt32BE(4), head.readUInt32BE(32)];
  return kind < 1 || kind > KINDS.length || names === 0 || names > NAMES_BYTES_MAX || body > OBJECT_BYTES_MAX ? null : names;
}

/** The entry of a head and its names, or null when it is not the one that was appended here under this number. */
export function decodeEntry(segment: Uint8Array, number: number, bytes: Buffer): Entry | null {
  if (!entryDigest(segment, bytes).equals(bytes.subarray(ENTRY_DIGESTED, ENTRY_HEAD_BYTES))) return null;
  if (Number(bytes.readBigUInt64BE(8)) !== number) return null;
  const kind = KINDS[bytes.readUInt8(0) - 1] ?? 'put';
  return {
    ...{ number, kind },
    names: bytes.toString('latin1', ENTRY_HEAD_BYTES).split('\n'),
    after: Number(bytes.readBigUInt64BE(16)),
    sizeBytes: bytes.readUInt32BE(32),
    digest: Buffer.from(bytes.subarray(40, ENTRY_DIGESTED)),
  };
}

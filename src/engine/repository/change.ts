/**
 * A change part: what one record changes, in binary rows. The record names the root part by name and digest; the root part
 * names the others, so a record stays small whatever the size of the volume.
 *
 *     "HFC1" | rows: diff u32, values u32, minus u32, packs u32, parts u32
 *     diff   72 B  position 8 (level u8 | index u56) | old 32 | new 32        zero where absent
 *     value  56 B  fingerprint 32 | location 24                               COMMIT: brought; REPLACE, HEAL: moved to
 *     minus  36 B  fingerprint 32 | runs u32                                  RECLAIM: runs that end
 *     pack   24 B  pack id 16 | kind u8 | blobs u24 | bytes u32               packs that the values lie in
 *     part         name length u8 | name | digest 32
 *
 * Diff rows within one subtree stand together, subtrees ascending, rows of levels 3 and 4 last; within a group they ascend by
 * position. A part is bounded by PART_ROWS_MAX rows, so a reader never holds more than one part of each change.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { ENVELOPE_BYTES_MAX, GROUP_TOP, MAP_FANOUT, SUBTREE_LEVEL } from '../../domain/limits.ts';
import { isNewer, upgradeRequired } from '../../ground/sealing/magic.ts';
import { FINGERPRINT_BYTES } from '../map/node.ts';
import { LOCATION_BYTES, readLocation, writeLocation, type Location } from './location.ts';

/** A position of the map and its value before and after. Absent values are ABSENT (32 zero bytes). */
export interface DiffRow {
  readonly level: number;
  readonly index: number;
  readonly old: Buffer;
  readonly new: Buffer;
}
export interface ValueRow {
  readonly fingerprint: Buffer;
  readonly location: Location;
}
export interface MinusRow {
  readonly fingerprint: Buffer;
  readonly runs: number;
}
export interface PackRow {
  readonly id: Buffer;
  readonly kind: 'extent' | 'node';
  readonly blobs: number;
  readonly bytes: number;
}
export interface PartRef {
  readonly name: string;
  readonly digest: string;
}
export interface ChangePart {
  readonly diff: readonly DiffRow[];
  readonly values: readonly ValueRow[];
  readonly minus: readonly MinusRow[];
  readonly packs: readonly PackRow[];
  readonly parts: readonly PartRef[];
}

const DIFF = 72;
const VALUE = FINGERPRINT_BYTES + LOCATION_BYTES;
const MINUS = 36;
const PACK = 24;
const HEADER = 24;
const MAGIC = Buffer.from('HFC1');
/** 262,144 rows of 72 bytes are 19 MB: well under an envelope's bound, four full subtrees. */
export const PART_ROWS_MAX = 262_144;

export const emptyPart: ChangePart = { diff: [], values: [], minus: [], packs: [], parts: [] };

/** The subtree that a position belongs to; GROUP_TOP for the levels above, which a commit writes. */
export const groupOf = (level: number, index: number): number =>
  level > SUBTREE_LEVEL ? GROUP_TOP : Math.floor(index / MAP_FANOUT ** (SUBTREE_LEVEL - level));

export const comparePositions = (a: DiffRow, b: DiffRow): number =>
  groupOf(a.level, a.index) - groupOf(b.level, b.index) || a.level - b.level || a.index - b.index;

export function encodeChangePart(part: ChangePart): Buffer {
  const names = part.parts.map((ref) => Buffer.from(ref.name));
  const size =
    HEADER +
    part.diff.length * DIFF +
    part.values.length * VALUE +
    part.minus.length * MINUS +
    part.packs.length * PACK +
    names.reduce((sum, name) => sum + 1 + name.length + 32, 0);
  if (size > ENVELOPE_BYTES_MAX) throw new HoldfastError('INTERNAL', 'a change part outgrew its bound', { sizeBytes: size });
  const out = Buffer.alloc(size);
  out.set(MAGIC);
  [part.diff, part.values, part.minus, part.packs, part.parts].forEach((rows, i) => out.writeUInt32BE(rows.length, 4 + 4 * i));
  let at = HEADER;
  for (const row of part.diff) {
    out.writeUInt8(row.level, at);
    out.writeUIntBE(row.index, at + 2, 6);
    out.set(row.old, at + 8);
    out.set(row.new, at + 40);
    at += DIFF;
  }
  for (const row of part.values) {
    out.set(row.fingerprint, at);
    writeLocation(out, at + FINGERPRINT_BYTES, row.location);
    at += VALUE;
  }
  for (const row of part.minus) {
    out.set(row.fingerprint, at);
    out.writeUInt32BE(row.runs, at + FINGERPRINT_BYTES);
    at += MINUS;
  }
  for (const row of part.packs) {
    out.set(row.id, at);
    out.writeUInt8(row.kind === 'node' ? 1 : 0, at + 16);
    out.writeUIntBE(row.blobs, at + 17, 3);
    out.writeUInt32BE(row.bytes, at + 20);
    at += PACK;
  }
  part.parts.forEach((ref, i) => {
    const name = names[i] ?? Buffer.alloc(0);
    out.writeUInt8(name.length, at);
    out.set(name, at + 1);
    out.write(ref.digest, at + 1 + name.length, 'hex');
    at += 1 + name.length + 32;
  });
  return out;
}

/** Parses a part. DAMAGED when its counts and its length disagree. */
export function decodeChangePart(bytes: Buffer, name: string): ChangePart {
  const damaged = (): HoldfastError => new HoldfastError('DAMAGED', `${name} is not a change part`, { object: name });
  if (isNewer(bytes, MAGIC)) throw upgradeRequired(name, name);
  if (bytes.length < HEADER || !MAGIC.equals(bytes.subarray(0, 4))) throw damaged();
  const count = (i: number): number => bytes.readUInt32BE(4 + 4 * i);
  const fixed = count(0) * DIFF + count(1) * VALUE + count(2) * MINUS + count(3) * PACK;
  if (HEADER + fixed + count(4) * 33 > bytes.length) throw damaged();
  let at = HEADER;
  const rows = <T>(n: number, size: number, read: (at: number) => T): T[] => {
    const out = Array.from({ length: n }, (_, i) => read(at + i * size));
    at += n * size;
    return out;
  };
  const slice = (from: number, length: number): Buffer => bytes.subarray(from, from + length);
  const diff = rows(count(0), DIFF, (p) => ({
    level: bytes.readUInt8(p),
    index: bytes.readUIntBE(p + 2, 6),
    old: slice(p + 8, 32),
    new: slice(p + 40, 32),
  }));
  const values = rows(count(1), VALUE, (p) => {
    const location = readLocation(bytes, p + FINGERPRINT_BYTES);
    if (location === null) throw damaged();
    return { fingerprint: slice(p, 32), location };
  });
  const minus = rows(count(2), MINUS, (p) => ({ fingerprint: slice(p, 32), runs: bytes.readUInt32BE(p + 32) }));
  const packs = rows(count(3), PACK, (p) => ({
    id: slice(p, 16),
    kind: bytes.readUInt8(p + 16) === 1 ? ('node' as const) : ('extent' as const),
    blobs: bytes.readUIntBE(p + 17, 3),
    bytes: bytes.readUInt32BE(p + 20),
  }));
  const parts: PartRef[] = [];
  for (let i = 0; i < count(4); i++) {
    const length = bytes[at];
    if (length === undefined || at + 33 + length > bytes.length) throw damaged();
    parts.push({ name: slice(at + 1, length).toString(), digest: slice(at + 1 + length, 32).toString('hex') });
    at += 33 + length;
  }
  if (at !== bytes.length) throw damaged();
  return { diff, values, minus, packs, parts };
}

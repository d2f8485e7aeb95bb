/**
 * The four compressions of Kafka's record batches, opened: gzip and zstd by Node, LZ4 and Snappy here, for Node has neither and whoever
 * archives does not choose how others produce.
 *
 * What comes from outside says how long it is: no batch opens to more than RECORDS_BYTES_MAX.
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { HoldfastError } from '../../domain/errors.ts';
import { RECORDS_BYTES_MAX } from '../../domain/limits.ts';

const damaged = (what: string, cause?: unknown): HoldfastError =>
  new HoldfastError('DAMAGED', `compressed Kafka records cannot be opened: ${what}`, {}, cause);

/** Opens the records of a batch by the compression that its attributes name. DAMAGED. */
export function decompress(codec: number, bytes: Buffer): Buffer {
  if (codec === 0 || bytes.length === 0) return bytes;
  const open = CODECS[codec];
  if (open === undefined) throw new HoldfastError('RECORD_INVALID', `no compression of Kafka has the number ${codec}`, { codec });
  try {
    return open(bytes);
  } catch (error) {
    throw error instanceof HoldfastError ? error : damaged('the bytes do not fit', error);
  }
}

const CODECS: Readonly<Record<number, (bytes: Buffer) => Buffer>> = {
  1: (bytes) => gunzipSync(bytes, { maxOutputLength: RECORDS_BYTES_MAX }),
  2: openSnappy,
  3: openLz4Frame,
  4: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: RECORDS_BYTES_MAX }),
};

/** Bytes that grow, and of which some repeat what came before. */
class Output {
  #bytes: Buffer;
  #length = 0;

  constructor(expected: number) {
    this.#bytes = Buffer.allocUnsafe(Math.min(Math.max(expected, 256), RECORDS_BYTES_MAX));
  }

  get length(): number {
    return this.#length;
  }

  append(source: Buffer, from: number, to: number): void {
    if (from < 0 || to < from || to > source.length) throw damaged('it ends too early');
    this.#reserve(to - from);
    source.copy(this.#bytes, this.#length, from, to);
    this.#length += to - from;
  }

  /** Repeats `count` bytes from `distance` back; they may reach into themselves. */
  repeat(distance: number, count: number, since = 0): void {
    if (distance <= 0 || distance > this.#length - since) throw damaged('it refers to before its beginning');
    this.#reserve(count);
    const bytes = this.#bytes;
    let at = this.#length;
    if (distance >= count) bytes.copyWithin(at, at - distance, at - distance + count);
    else for (let i = 0; i < count; i++, at++) bytes[at] = bytes[at - distance] ?? 0;
    this.#length += count;
  }

  result(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    const wanted = this.#length + more;
    if (wanted > RECORDS_BYTES_MAX) throw damaged(`it opens to more than ${RECORDS_BYTES_MAX} bytes`);
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.min(Math.max(wanted, 2 * this.#bytes.length), RECORDS_BYTES_MAX));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

/** As the Java library frames it (a header, then blocks with their lengths), or one bare block. */
function openSnappy(bytes: Buffer): Buffer {
  const output = new Output(2 * bytes.length);
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) {
    openSnappyBlock(bytes, output);
    return output.result();
  }
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length;) {
    const length = bytes.readInt32BE(at);
    if (length < 0 || at + 4 + length > bytes.length) throw damaged('it ends too early');
    openSnappyBlock(bytes.subarray(at + 4, at + 4 + length), output);
    at += 4 + length;
  }
  return output.result();
}

function openSnappyBlock(block: Buffer, output: Output): void {
  const since = output.length;
  let at = 0;
  let length = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = block.readUInt8(at++);
    length += (byte & 0x7f) * shift;
    if (byte < 0x80) break;
  }
  while (at < block.length) {
    const tag = block.readUInt8(at++);
    const upper = tag >>> 2;
    if ((tag & 3) === 0) {
      const extra = upper < 60 ? 0 : upper - 59;
      const count = 1 + (extra === 0 ? upper : block.readUIntLE(at, extra));
      at += extra;
      output.append(block, at, at + count);
      at += count;
    } else if ((tag & 3) === 1) {
      output.repeat(((tag >>> 5) << 8) | block.readUInt8(at++), 4 + (upper & 7), since);
    } else {
      const width = (tag & 3) === 2 ? 2 : 4;
      output.repeat(block.readUIntLE(at, width), 1 + upper, since);
      at += width;
    }
  }
  if (output.length - since !== length) throw damaged('it is shorter than it says');
}

const LZ4_MAGIC = 0x184d2204;
const LZ4_STORED = 0x80000000;

/** A frame of LZ4: magic, flags, then blocks until one of length 0. Sums inside are skipped, for the batch has one of its own. */
function openLz4Frame(bytes: Buffer): Buffer {
  if (bytes.readUInt32LE(0) !== LZ4_MAGIC) throw damaged('it is no frame of LZ4');
  const flags = bytes.readUInt8(4);
  const hasSize = (flags & 0x08) !== 0;
  const blockSums = (flags & 0x10) !== 0;
  const independent = (flags & 0x20) !== 0;
  const output = new Output(3 * bytes.length);
  for (let at = 7 + (hasSize ? 8 : 0) + ((flags & 0x01) !== 0 ? 4 : 0); ;) {
    const word = bytes.readUInt32LE(at);
    at += 4;
    if (word === 0) return output.result();
    const length = word % LZ4_STORED;
    if (at + length > bytes.length) throw damaged('it ends too early');
    if (word >= LZ4_STORED) output.append(bytes, at, at + length);
    else openLz4Block(bytes.subarray(at, at + length), output, independent ? output.length : 0);
    at += length + (blockSums ? 4 : 0);
  }
}

function openLz4Block(block: Buffer, output: Output, since: number): void {
  let at = 0;
  /** 15 in the token: more bytes follow, until one that is not 255. */
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    if (nibble < 15) return length;
    for (;;) {
      const byte = block.readUInt8(at++);
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < block.length) {
    const token = block.readUInt8(at++);
    const literals = lengthOf(token >>> 4);
    output.append(block, at, at + literals);
    at += literals;
    if (at >= block.length) return;
    const distance = block.readUInt16LE(at);
    at += 2;
    output.repeat(distance, 4 + lengthOf(token & 15), since);
  }
}

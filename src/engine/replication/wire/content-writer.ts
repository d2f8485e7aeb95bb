/** The content of one frame, field after field, behind its head. What does not fit its field is a mistake of ours. */
import { HoldfastError } from '../../../domain/errors.ts';
import type { KnownBase } from '../frames.ts';
import { HEAD_BYTES, NAME_BYTES, PAGES_MAX, SPEECH_BYTES_MAX, type FrameKind } from './bounds.ts';
import { ZEROS } from './content-reader.ts';

const mistake = (what: string): HoldfastError => new HoldfastError('INTERNAL', what);

const NO_SNAPSHOT = '\0'.repeat(26);
const BYTES_FIRST = 256;

export class ContentWriter {
  #bytes: Buffer;
  #at = HEAD_BYTES;

  /** `bytes`: how much it will be, if that is known. */
  constructor(bytes: number = BYTES_FIRST) {
    this.#bytes = Buffer.allocUnsafe(HEAD_BYTES + bytes);
  }

  u8(value: number): this {
    return this.#whole(value, 1);
  }

  u16(value: number): this {
    return this.#whole(value, 2);
  }

  u32(value: number): this {
    return this.#whole(value, 4);
  }

  u48(value: number): this {
    return this.#whole(value, 6);
  }

  u64(value: number): this {
    return this.u32(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }

  /** 64 hex digits, as 32 bytes. */
  name(hex: string): this {
    const at = this.#pass(NAME_BYTES);
    if (hex.length !== 2 * NAME_BYTES || this.#bytes.write(hex, at, 'hex') !== NAME_BYTES) throw mistake('a name has not 64 hex digits');
    return this;
  }

  text(text: string): this {
    const length = Buffer.byteLength(text);
    this.u16(length);
    const at = this.#pass(length);
    this.#bytes.write(text, at, 'utf8');
    return this;
  }

  /** For people to read: what is too long is cut, between two characters. */
  speech(text: string): this {
    const bytes = new Uint8Array(SPEECH_BYTES_MAX);
    const { written } = new TextEncoder().encodeInto(text, bytes);
    this.u16(written);
    const at = this.#pass(written);
    this.#bytes.set(bytes.subarray(0, written), at);
    return this;
  }

  latin(text: string): this {
    const at = this.#pass(text.length);
    this.#bytes.write(text, at, 'latin1');
    return this;
  }

  base(base: KnownBase | null): this {
    return this.latin(base?.snapshot ?? NO_SNAPSHOT).name(base?.root ?? ZEROS);
  }

  pages(pages: readonly number[]): this {
    const at = this.#pass(PAGES_MAX / 8);
    this.#bytes.fill(0, at, this.#at);
    for (const page of pages) {
      if (!(Number.isInteger(page) && page >= 0 && page < PAGES_MAX)) throw mistake(`there is no page ${page}`);
      this.#bytes[at + (page >> 3)] = (this.#bytes[at + (page >> 3)] ?? 0) | (1 << (page & 7));
    }
    return this;
  }

  /** The frame. `bodyBytes`: what is sent behind it and belongs to it. */
  frame(kind: FrameKind, flags: number, bodyBytes = 0): Buffer {
    const length = this.#at - HEAD_BYTES + bodyBytes;
    if (length > kind.bytesMax) throw mistake(`a frame of kind ${kind.byte} has ${length} bytes and may have ${kind.bytesMax}`);
    this.#bytes.writeUInt8(kind.byte, 0);
    this.#bytes.writeUInt8(flags, 1);
    this.#bytes.writeUInt16BE(0, 2);
    this.#bytes.writeUInt32BE(length, 4);
    return this.#bytes.subarray(0, this.#at);
  }

  #whole(value: number, bytes: number): this {
    if (!(Number.isInteger(value) && value >= 0 && value < 256 ** bytes)) throw mistake(`${value} does not fit ${bytes} bytes`);
    const at = this.#pass(bytes);
    this.#bytes.writeUIntBE(value, at, bytes);
    return this;
  }

  /** Makes room for so many bytes, perhaps in another buffer; where they go. */
  #pass(length: number): number {
    const at = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#at));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

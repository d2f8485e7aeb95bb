/**
 * The content of one frame, field after field. Whatever does not fit is FRAME_INVALID: nothing that a peer sends may end in another
 * error, and nothing is read beyond the content.
 */
import { isUtf8 } from 'node:buffer';
import { HoldfastError } from '../../../domain/errors.ts';
import { LINEAGE_PATTERN, SNAPSHOT_ID_PATTERN, type Lineage, type SnapshotId } from '../../../domain/ids.ts';
import type { KnownBase } from '../frames.ts';
import { NAME_BYTES, PAGES_MAX } from './bounds.ts';

const SNAPSHOT_BYTES = 26;
export const ZEROS = '0'.repeat(2 * NAME_BYTES);

/** For what a peer may not say. The message names the field and never what it held. */
export const invalid = (what: string): HoldfastError => new HoldfastError('FRAME_INVALID', what);

export class ContentReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#pass(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#pass(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#pass(4));
  }

  u48(): number {
    return this.#bytes.readUIntBE(this.#pass(6), 6);
  }

  /** A u64 that a number can hold exactly. */
  u64(): number {
    const value = this.u32() * 2 ** 32 + this.u32();
    if (!Number.isSafeInteger(value)) throw invalid('a number is too large');
    return value;
  }

  /** 32 bytes, as 64 hex digits. */
  name(): string {
    const at = this.#pass(NAME_BYTES);
    return this.#bytes.toString('hex', at, at + NAME_BYTES);
  }

  /** Length u16 and so many bytes of UTF-8. */
  text(): string {
    const length = this.u16();
    const at = this.#pass(length);
    const bytes = this.#bytes.subarray(at, at + length);
    if (!isUtf8(bytes)) throw invalid('a text is not UTF-8');
    return bytes.toString('utf8');
  }

  /** A text of at most so many UTF-16 units. */
  words(max: number): string {
    const text = this.text();
    if (text.length > max) throw invalid('a text is too long');
    return text;
  }

  snapshot(): SnapshotId {
    const text = this.#latin(SNAPSHOT_BYTES);
    if (!SNAPSHOT_ID_PATTERN.test(text)) throw invalid('a snapshot id is not one');
    return text as SnapshotId;
  }

  lineage(): Lineage {
    const text = this.text();
    if (!LINEAGE_PATTERN.test(text)) throw invalid('a lineage is not one');
    return text as Lineage;
  }

  base(): KnownBase {
    return { snapshot: this.snapshot(), root: this.name() };
  }

  /** A base, or zeros throughout: there is none. */
  baseOrNone(): KnownBase | null {
    const length = SNAPSHOT_BYTES + NAME_BYTES;
    if (this.left < length || this.#bytes.subarray(this.#at, this.#at + length).some((byte) => byte !== 0)) return this.base();
    this.#pass(length);
    return null;
  }

  /** 512 bits, lowest first. */
  pages(): number[] {
    const at = this.#pass(PAGES_MAX / 8);
    const pages: number[] = [];
    for (let page = 0; page < PAGES_MAX; page++) if (((this.#bytes[at + (page >> 3)] ?? 0) >> (page & 7)) & 1) pages.push(page);
    return pages;
  }

  /** Refuses a count of rows that the rest of the content does not hold exactly. */
  rows(count: number, rowBytes: number): number {
    if (this.left !== count * rowBytes) throw invalid('a count does not fit the length');
    return count;
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.#bytes.subarray(this.#pass(this.left));
  }

  end(): void {
    if (this.left > 0) throw invalid('a frame is longer than its content');
  }

  #latin(length: number): string {
    const at = this.#pass(length);
    return this.#bytes.toString('latin1', at, at + length);
  }

  /** Where the next so many bytes begin; they are there. */
  #pass(length: number): number {
    if (this.left < length) throw invalid('a frame is shorter than its content');
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

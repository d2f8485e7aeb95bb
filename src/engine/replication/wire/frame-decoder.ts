/**
 * Frames out of bytes that come in pieces, cut anywhere.
 *
 * A frame that lies in one piece is read where it lies; one that is cut, or that keeps a view of its content, is put together in a
 * buffer of its length, which is known, and was held against the bound of its kind, from its first 8 bytes. So at most one frame is
 * kept, a byte is copied once at the most, and no frame refers to a piece: whoever brought that may use it again or free it. What is
 * not a frame is FRAME_INVALID, and nothing after it is heard.
 */
import { HEAD_BYTES } from './bounds.ts';
import { ContentReader, invalid } from './content-reader.ts';

/** One kind, as its reader knows it. */
export interface FrameReader<Frame> {
  readonly bytesMax: number;
  /** The bits that may be set. */
  readonly flags: number;
  /** What it reads may be a view of the content, which then is alone in its buffer. */
  readonly keepsContent?: boolean;
  read(content: ContentReader, flags: number): Frame;
}

interface Head<Frame> {
  readonly reader: FrameReader<Frame>;
  readonly flags: number;
  readonly length: number;
}

export class FrameDecoder<Frame> {
  readonly #readers: ReadonlyMap<number, FrameReader<Frame>>;
  /** What is there of a head that was cut. */
  readonly #headBytes = Buffer.alloc(HEAD_BYTES);
  #headFilled = 0;
  /** Of the frame that was cut in its content. */
  #head: Head<Frame> | null = null;
  #content = Buffer.alloc(0);
  #contentFilled = 0;
  #broken = false;

  constructor(readers: ReadonlyMap<number, FrameReader<Frame>>) {
    this.#readers = readers;
  }

  /** The frames that end in this piece, one after the other; what a caller does not ask for is not heard. */
  *push(piece: Buffer): Generator<Frame, void> {
    if (this.#broken) throw invalid('nothing is heard after what was no frame');
    // Stays so if anything is thrown below, or the caller stops.
    this.#broken = true;
    let at = 0;
    for (;;) {
      if (this.#head === null) {
        at = this.#passHead(piece, at);
        if (this.#head === null) break;
      }
      const { reader, flags, length } = this.#head;
      const whole = this.#contentFilled === 0 && piece.length - at >= length && reader.keepsContent !== true;
      const end = Math.min(piece.length, at + length - this.#contentFilled);
      if (!whole) this.#keep(piece.subarray(at, end), length);
      const content = whole ? piece.subarray(at, end) : this.#content;
      at = end;
      if (!whole && this.#contentFilled < length) break;
      this.#forget();
      const fields = new ContentReader(content);
      const frame = reader.read(fields, flags);
      fields.end();
      yield frame;
    }
    this.#broken = false;
  }

  /** There are no more bytes. */
  end(): void {
    if (this.#headFilled > 0 || this.#head !== null) throw invalid('the last frame is cut');
  }

  /** Bytes that are kept of a frame that is not whole. */
  get keptBytes(): number {
    return this.#headFilled + this.#content.length;
  }

  /** Takes what is there of a head; where it ends. */
  #passHead(piece: Buffer, at: number): number {
    if (this.#headFilled === 0 && piece.length - at >= HEAD_BYTES) {
      this.#head = this.#judge(piece, at);
      return at + HEAD_BYTES;
    }
    const taken = piece.copy(this.#headBytes, this.#headFilled, at, at + HEAD_BYTES - this.#headFilled);
    this.#headFilled += taken;
    if (this.#headFilled === HEAD_BYTES) {
      this.#headFilled = 0;
      this.#head = this.#judge(this.#headBytes, 0);
    }
    return at + taken;
  }

  #judge(bytes: Buffer, at: number): Head<Frame> {
    const reader = this.#readers.get(bytes.readUInt8(at));
    const flags = bytes.readUInt8(at + 1);
    const length = bytes.readUInt32BE(at + 4);
    if (reader === undefined) throw invalid('a frame is of a kind that is not known here');
    if ((flags & ~reader.flags) !== 0) throw invalid('a frame has a flag that is not known here');
    if (bytes.readUInt16BE(at + 2) !== 0) throw invalid('bytes that must be zero are not');
    if (length > reader.bytesMax) throw invalid('a frame is longer than its kind may be');
    return { reader, flags, length };
  }

  #keep(part: Buffer, length: number): void {
    // A head alone costs nothing.
    if (part.length === 0) return;
    if (this.#contentFilled === 0) this.#content = Buffer.allocUnsafeSlow(length);
    part.copy(this.#content, this.#contentFilled);
    this.#contentFilled += part.length;
  }

  #forget(): void {
    this.#head = null;
    this.#content = Buffer.alloc(0);
    this.#contentFilled = 0;
  }
}

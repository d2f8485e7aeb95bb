/** Copies of what is written, in blocks that many share: a buffer for each write costs more than its copy does. */
const BLOCK_BYTES = 1024 * 1024;

export class Arena {
  #block = Buffer.alloc(0);
  #at = 0;

  /** `length` bytes from `from` on of buffers that lie end to end. A block is let go when all that is in it is. */
  copy(parts: readonly Buffer[], from: number, length: number): Buffer {
    const into = this.#room(length);
    let done = 0;
    let skip = from;
    for (const part of parts) {
      if (done === length) break;
      if (skip < part.length) done += part.copy(into, done, skip, skip + length - done);
      skip = Math.max(0, skip - part.length);
    }
    return into;
  }

  #room(length: number): Buffer {
    if (length > BLOCK_BYTES / 2) return Buffer.allocUnsafeSlow(length);
    if (this.#block.length - this.#at < length) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#at = 0;
    }
    this.#at += length;
    return this.#block.subarray(this.#at - length, this.#at);
  }
}

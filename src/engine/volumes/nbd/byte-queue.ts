/**
 * Bytes as they come from a socket, to be taken in other pieces than they came in, without joining them; what lies one behind
 * the other in memory is one piece.
 */
export class ByteQueue {
  #chunks: Buffer[] = [];
  /** Bytes of the first chunk that are taken. */
  #taken = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#length += chunk.length;
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.buffer === chunk.buffer && last.byteOffset + last.length === chunk.byteOffset)
      this.#chunks[this.#chunks.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + chunk.length);
    else this.#chunks.push(chunk);
  }

  /** The next n bytes in one piece: a view where they lie in one, a copy where they do not. For headers. */
  take(n: number): Buffer {
    const parts = this.takeParts(n);
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, n);
  }

  /** The next n bytes as views, in order. */
  takeParts(n: number): Buffer[] {
    if (n > this.#length) throw new RangeError(`${n} bytes were asked of ${this.#length}`);
    const parts: Buffer[] = [];
    this.#length -= n;
    for (let left = n; left > 0;) {
      const first = this.#chunks[0];
      if (first === undefined) break;
      const length = Math.min(left, first.length - this.#taken);
      parts.push(first.subarray(this.#taken, this.#taken + length));
      left -= length;
      this.#taken += length;
      if (this.#taken === first.length) {
        this.#chunks.shift();
        this.#taken = 0;
      }
    }
    return parts;
  }

  /** Forgets everything. */
  clear(): void {
    this.#chunks = [];
    this.#taken = 0;
    this.#length = 0;
  }
}

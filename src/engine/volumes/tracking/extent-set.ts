export interface ExtentPiece {
  readonly at: number;
  readonly length: number;
  readonly inside: boolean;
}

/** A set of extents (or regions) of one volume: a bit each, lowest first. */
export class ExtentSet {
  readonly count: number;
  readonly bits: Buffer;

  constructor(count: number, bits: Buffer = Buffer.alloc(Math.ceil(count / 8))) {
    this.count = count;
    this.bits = bits;
  }

  has(index: number): boolean {
    return (((this.bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
  }

  add(index: number): void {
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) | (1 << (index & 7));
  }

  /** Adds [from, to). */
  addRange(from: number, to: number): void {
    let at = from;
    for (; at < to && (at & 7) !== 0; at++) this.add(at);
    if (to - at >= 8) {
      const whole = to - (to & 7);
      this.bits.fill(0xff, at >> 3, whole >> 3);
      at = whole;
    }
    for (; at < to; at++) this.add(at);
  }

  /** Whether all of [from, to) is in it. */
  hasRange(from: number, to: number): boolean {
    for (let at = from; at < to; at++) if (!this.has(at)) return false;
    return true;
  }

  addAll(other: ExtentSet): void {
    for (let i = 0; i < this.bits.length; i++) this.bits[i] = (this.bits[i] ?? 0) | (other.bits[i] ?? 0);
  }

  clear(): void {
    this.bits.fill(0);
  }

  /** A range of bytes by whether its extents are in the set. */
  *pieces(offset: number, length: number, extentBytes: number): Generator<ExtentPiece> {
    const end = offset + length;
    for (let at = offset; at < end;) {
      let extent = Math.floor(at / extentBytes);
      const inside = this.has(extent);
      while (extent * extentBytes < end && this.has(extent) === inside) extent++;
      const until = Math.min(end, extent * extentBytes);
      yield { at, length: until - at, inside };
      at = until;
    }
  }

  /** Runs of neighbours, ascending: [from, to). */
  *runs(): Generator<readonly [number, number]> {
    for (let at = 0; at < this.count;) {
      if ((at & 7) === 0 && this.bits[at >> 3] === 0) {
        at += 8;
        continue;
      }
      if (!this.has(at)) {
        at++;
        continue;
      }
      const from = at;
      while (at < this.count && this.has(at)) at++;
      yield [from, at];
    }
  }
}

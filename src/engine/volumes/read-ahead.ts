/** Notices a reader that goes from front to back, and says which extents it will ask for next. */
export class ReadAhead {
  readonly #extents: number;
  readonly #ahead: number;
  #last = -1;

  /** `extents`: of the volume; `ahead`: at once. */
  constructor(extents: number, ahead: number) {
    this.#extents = extents;
    this.#ahead = ahead;
  }

  /** Extents from to to are read now. */
  *after(from: number, to: number): Generator<number> {
    const isSequential = from === this.#last || from === this.#last + 1;
    this.#last = to;
    if (!isSequential) return;
    for (let next = to + 1; next <= Math.min(this.#extents - 1, to + this.#ahead); next++) yield next;
  }
}

/**
 * So many of a thing a minute, of each token: an allowance that is full at first and grows back steadily. What is full again is
 * forgotten, so that it holds at most what was used within a minute.
 */
const MINUTE_MS = 60_000;

interface Used {
  readonly count: number;
  readonly atMs: number;
}

export class Allowance {
  readonly #perMinute: number;
  readonly #nowMs: () => number;
  readonly #used = new Map<string, Used>();

  constructor(perMinute: number, nowMs: () => number) {
    this.#perMinute = perMinute;
    this.#nowMs = nowMs;
  }

  /** Takes one, whether it is there or not. */
  take(token: string): void {
    const count = this.#usedNow(token) + 1;
    this.#used.delete(token);
    for (const [oldest] of this.#used) {
      if (this.#usedNow(oldest) > 0) break;
      this.#used.delete(oldest);
    }
    this.#used.set(token, { count, atMs: this.#nowMs() });
  }

  /** Milliseconds until there is one; 0 if there is. */
  waitMs(token: string): number {
    const over = this.#usedNow(token) - (this.#perMinute - 1);
    return over <= 0 ? 0 : Math.ceil((over * MINUTE_MS) / this.#perMinute);
  }

  #usedNow(token: string): number {
    const used = this.#used.get(token);
    if (used === undefined) return 0;
    return Math.max(0, used.count - ((this.#nowMs() - used.atMs) * this.#perMinute) / MINUTE_MS);
  }
}

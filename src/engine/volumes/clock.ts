/** Time as a served volume uses it; an argument, so that tests need not wait. */
export interface Clock {
  /** Of no particular beginning, never backwards. */
  nowMs(): number;
  /** Calls `then` after so long, unless what it answers is called before. */
  after(ms: number, then: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

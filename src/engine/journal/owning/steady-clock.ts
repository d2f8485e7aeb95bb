/**
 * Time that only goes forward, and never by much at once: how old a batch is decides whether a member is given up, and a clock that
 * is set by a day must not do that.
 *
 * It counts what passes while somebody looks: whoever has something to wait for looks at least every second.
 */
const STEP_MS_MAX = 5000;

export interface SteadyClock {
  nowMs(): number;
}

export function createSteadyClock(wall: () => number): SteadyClock {
  let seen = wall();
  let passed = 0;
  return {
    nowMs() {
      const now = wall();
      passed += Math.min(Math.max(now - seen, 0), STEP_MS_MAX);
      seen = now;
      return passed;
    },
  };
}

/**
 * How many retries a store is worth: at most a share of its calls, and a few to begin with.
 *
 * Without one, every caller of a dead store tries as often as it may, and the store that comes back meets a multiple of its
 * usual load. With one, retries mend the odd lost answer, and a store that fails for longer is given back to the workflow,
 * which waits in minutes, not in milliseconds.
 */
export interface RetryBudgetOptions {
  /** Retries earned by each call. */
  readonly share: number;
  /** The most that can be saved up. */
  readonly burst: number;
}

export interface RetryBudget {
  called(): void;
  /** Whether there is a retry to be had; takes it. */
  take(): boolean;
}

export function createRetryBudget({ share, burst }: RetryBudgetOptions): RetryBudget {
  let tokens = burst;
  return {
    called: () => {
      tokens = Math.min(burst, tokens + share);
    },
    take: () => {
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}

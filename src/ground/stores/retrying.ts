/**
 * Tries again what was unclear, and settles what became of it.
 *
 * The point is the put-if-absent whose answer was lost. It may have taken effect; tried again, it is told 'exists', and
 * that may be its own object. So an 'exists' after an unclear attempt is looked at: equal bytes are ours, and the answer is
 * 'created'. Callers for whom it matters who wrote (the log) put a nonce into the bytes, so that equal means own.
 *
 * Invariants: 'created' and 'exists' are always true. When it stays unclear the caller is told so: a definite refusal
 * (full, denied) of a later attempt does not turn an unclear put into one that did not happen. Only STORE_UNREACHABLE is
 * tried again; a full store does not empty itself within milliseconds. Waits grow exponentially, with full jitter.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { ObjectStore } from './object-store.ts';
import { createRetryBudget, type RetryBudgetOptions } from './retry-budget.ts';
import { sleep, type Sleep } from './sleep.ts';

export interface RetryOptions {
  readonly attempts: number;
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  readonly budget: RetryBudgetOptions;
  readonly sleep: Sleep;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly onRetry: (error: HoldfastError) => void;
}

/**
 * Waits of at most 0.1, 0.2, 0.4 and 0.8 s: three quarters of a second on average before the caller hears of it. The budget
 * lets a store restart: that breaks all calls in flight (32, see open-store.ts), and each may need three tries.
 */
const RETRY_DEFAULTS: RetryOptions = {
  attempts: 5,
  baseDelayMs: 100,
  maxDelayMs: 5000,
  budget: { share: 0.1, burst: 100 },
  sleep,
  random: Math.random,
  onRetry: () => undefined,
};

export function withRetry(store: ObjectStore, options: Partial<RetryOptions> = {}): ObjectStore {
  const { attempts, baseDelayMs, maxDelayMs, sleep: pause, random, onRetry, ...rest } = { ...RETRY_DEFAULTS, ...options };
  const budget = createRetryBudget(rest.budget);

  /** `attempt` is told what was unclear about the one before it. */
  const retry = async <T>(signal: AbortSignal | undefined, attempt: (unclear: HoldfastError | undefined) => Promise<T>): Promise<T> => {
    budget.called();
    let unclear: HoldfastError | undefined;
    for (let count = 1; ; count++) {
      try {
        return await attempt(unclear);
      } catch (error) {
        if (signal?.aborted === true || !isHoldfastError(error, 'STORE_UNREACHABLE')) throw error;
        if (count >= attempts || !budget.take()) throw error;
        unclear = error;
        onRetry(error);
      }
      await pause(random() * Math.min(maxDelayMs, baseDelayMs * 2 ** (count - 1)), signal);
    }
  };

  return {
    put: (name, bytes, putOptions = {}) =>
      retry(putOptions.signal, async (unclear) => {
        let answer: 'created' | 'exists';
        try {
          answer = await store.put(name, bytes, putOptions);
        } catch (error) {
          throw unclear === undefined ? error : stillUnclear(error, unclear);
        }
        if (answer === 'created' || unclear === undefined) return answer;
        const there = await store.get(name, putOptions);
        if (there === null) throw new HoldfastError('STORE_UNREACHABLE', `${name} was taken, and is gone`, { name });
        return there.equals(bytes) ? 'created' : 'exists';
      }),
    get: (name, getOptions) => retry(getOptions?.signal, () => store.get(name, getOptions)),
    head: (name, headOptions) => retry(headOptions?.signal, () => store.head(name, headOptions)),
    list: (prefix, listOptions) => retry(listOptions?.signal, () => store.list(prefix, listOptions)),
    delete: (names, deleteOptions) => retry(deleteOptions?.signal, () => store.delete(names, deleteOptions)),
    describe: () => store.describe(),
  };
}

/** An attempt was refused, but an earlier one may have gone through. */
function stillUnclear(refusal: unknown, unclear: HoldfastError): unknown {
  if (!isHoldfastError(refusal, 'STORE_FULL', 'STORE_DENIED')) return refusal;
  return new HoldfastError('STORE_UNREACHABLE', `${unclear.message}; then: ${refusal.message}`, { ...unclear.details }, refusal);
}

/**
 * Who of several controllers relays: the one whose name stands in the newest register (engine/events/position.ts).
 *
 * A holder puts a register at least every RENEW_MS; who has seen the same one for TAKEOVER_MS by its own clock takes over. No clocks are
 * compared, and nothing rests on it: two relays at once send everything twice, under the same ids and each in order.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { NumberedRegister, Register, Registers } from '../../engine/events/position.ts';

export interface TenureTimes {
  readonly renewMs: number;
  readonly takeoverMs: number;
  /** Between two looks of a bystander. */
  readonly lookMs: number;
}
export const TENURE_TIMES: TenureTimes = { renewMs: 20_000, takeoverMs: 60_000, lookMs: 5_000 };

export interface TenureParts {
  readonly registers: Registers;
  /** `<host>/<pid>`. */
  readonly self: string;
  /** Whether a holder is known to be no more: a process of this host that has ended. */
  isGone(holder: string): boolean;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  readonly times: TenureTimes;
}

/** Waits until the register may be taken over; returns the newest one. Rejects as the store does. */
export async function awaitTurn(
  { registers, self, isGone, sleep, times }: TenureParts,
  signal: AbortSignal,
): Promise<NumberedRegister | null> {
  let found = await registers.newest();
  for (let waitedMs = 0; found !== null && !signal.aborted;) {
    const { holder } = found.register;
    if (holder === null || holder === self || isGone(holder) || waitedMs >= times.takeoverMs) return found;
    await sleep(times.lookMs, signal);
    waitedMs += times.lookMs;
    if ((await registers.newestNumber()) === found.k) continue;
    found = await registers.newest();
    waitedMs = 0;
  }
  return found;
}

export interface Tenure {
  /** Puts what `register` says whenever it has changed, at most once in `everyMs`; ends when somebody else has taken over, or the signal is aborted. */
  hold(everyMs: number, signal: AbortSignal): Promise<'superseded' | 'ended'>;
}

/**
 * Takes the register over and keeps it. `current` is asked for what to put; `changes` counts what has changed in it. Rejects when it cannot be
 * taken over; once it is held, a store that is away only delays what is noted.
 */
export async function takeTenure(
  { registers, self, sleep, times }: TenureParts,
  found: NumberedRegister | null,
  current: () => Omit<Register, 'holder'>,
  changes: () => number,
  onFailure: (error: unknown) => void,
): Promise<Tenure | null> {
  let k = (found?.k ?? 0) + 1;
  let noted = changes();
  if (!(await registers.put(k, { ...current(), holder: self }))) return null;

  const put = async (holder: string | null): Promise<boolean> => {
    const seen = changes();
    if (!(await registers.put(k + 1, { ...current(), holder }))) return false;
    k += 1;
    noted = seen;
    return true;
  };

  return {
    async hold(everyMs, signal) {
      let idleMs = 0;
      while (!signal.aborted) {
        await sleep(everyMs, signal);
        idleMs += everyMs;
        if (signal.aborted || (changes() === noted && idleMs < times.renewMs)) continue;
        try {
          if (!(await put(self))) return 'superseded';
          idleMs = 0;
        } catch (error) {
          if (!isHoldfastError(error)) throw error;
          onFailure(error);
        }
      }
      try {
        await put(null);
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        onFailure(error);
      }
      return 'ended';
    },
  };
}

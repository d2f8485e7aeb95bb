/**
 * Runs steps one after the other. The first that fails is the last that runs; each has a deadline, and an interruption ends
 * the one under way. Never throws for a step's sake: what happened is in the reports.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { Outcome, Step, StepReport } from './step.ts';

/** What whoever watches is told. */
export interface StepDisplay {
  begin(step: { readonly name: string; readonly title: string }): void;
  note(text: string): void;
  end(report: StepReport): void;
}

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly display: StepDisplay;
  /** Milliseconds that only go forward. */
  readonly now: () => number;
  /** Longest time of one step: far above what any takes, so that a demo that hangs ends with a word. */
  readonly stepMsMax: number;
}

const NOTHING: Outcome = { figures: {}, lines: [] };

export async function runSteps<Context>(
  steps: readonly Step<Context>[],
  context: Context,
  options: RunOptions,
): Promise<readonly StepReport[]> {
  const reports: StepReport[] = [];
  for (const { name, title, run } of steps) {
    const begunMs = options.now();
    options.display.begin({ name, title });
    let outcome = NOTHING;
    let error: StepReport['error'] = null;
    try {
      outcome = await bounded(() => run(context), options);
    } catch (thrown) {
      const { code, message } = asError(thrown);
      error = { code, message };
    }
    const report = { name, title, ok: error === null, seconds: (options.now() - begunMs) / 1000, ...outcome, error };
    reports.push(report);
    options.display.end(report);
    if (error !== null) break;
  }
  return reports;
}

function asError(thrown: unknown): HoldfastError {
  if (isHoldfastError(thrown)) return thrown;
  return new HoldfastError('INTERNAL', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown), {}, thrown);
}

/** Longest wait for a step that was given up: what it has begun should have ended before things are cleared away under it. */
const SETTLE_MS = 5_000;

async function bounded(work: () => Promise<Outcome>, { signal, stepMsMax }: RunOptions): Promise<Outcome> {
  const over = Promise.withResolvers<never>();
  const interrupt = (): void => over.reject(asError(signal.reason));
  const timer = setTimeout(() => over.reject(new HoldfastError('INTERNAL', `took longer than ${stepMsMax / 1000} s`)), stepMsMax);
  signal.addEventListener('abort', interrupt);
  if (signal.aborted) interrupt();
  const working = work();
  try {
    return await Promise.race([working, over.promise]);
  } catch (error) {
    await Promise.race([working.catch(() => undefined), sleep(SETTLE_MS)]);
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', interrupt);
  }
}

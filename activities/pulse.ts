/**
 * The pulse of an activity: heartbeats with how far it is, and the signal that ends it.
 *
 * Every activity beats, not only the long ones: a worker that was killed in the middle of a commit or a collection must be
 * missed within seconds, and not when the hours are over that such a step may take. It beats by the clock, not by the byte: a
 * store that hangs must not look like a dead worker, and a dead worker must.
 */
import { Context } from '@temporalio/activity';
import type { UnitProgress } from '../src/domain/jobs.ts';
import type { OnProgress } from '../src/engine/transfer/progress.ts';

const BEAT_MS = 1000;

/** What a beat carries, by activity under way. */
const carried = new WeakMap<Context, UnitProgress>();

/** Beats until it is disposed of: around every activity. */
export function keepBeating(): Disposable {
  const context = Context.current();
  const timer = setInterval(() => context.heartbeat(carried.get(context)), BEAT_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

export interface Pulse {
  readonly progress: OnProgress;
  readonly signal: AbortSignal;
}

/** For bulk activities: beats carry how far the unit is, and the transfer ends when the activity is cancelled. */
export function startPulse(unit: number): Pulse {
  const context = Context.current();
  let doneBytes = 0;
  let totalBytes = 0;
  const note = (): void => void carried.set(context, { unit, doneBytes, totalBytes });
  note();
  context.heartbeat(carried.get(context));
  return {
    signal: context.cancellationSignal,
    progress(event) {
      if (event.kind === 'settled') {
        doneBytes += event.bytes;
        totalBytes = event.ofBytes;
      } else if (event.kind === 'written' || event.kind === 'got') {
        // Restores and verifications have no total to tell: what moves is what has been done.
        doneBytes += event.bytes;
        totalBytes = Math.max(totalBytes, doneBytes);
      } else return;
      note();
    },
  };
}

/** For activities that watch work that another process does: beats carry how far it says that it is. */
export function startCount(): (doneBytes: number, totalBytes: number) => void {
  const context = Context.current();
  return (doneBytes, totalBytes) => void carried.set(context, { unit: 0, doneBytes, totalBytes });
}

/**
 * The pulse of a bulk activity: heartbeats with how far it is, and the signal that ends it.
 *
 * It beats by the clock, not by the byte: a store that hangs must not look like a dead worker, and a dead worker must.
 */
import { Context } from '@temporalio/activity';
import type { UnitProgress } from '../src/domain/jobs.ts';
import type { OnProgress } from '../src/engine/transfer/progress.ts';

const BEAT_MS = 1000;

export interface Pulse extends Disposable {
  readonly progress: OnProgress;
  readonly signal: AbortSignal;
}

export function startPulse(unit: number): Pulse {
  const context = Context.current();
  let doneBytes = 0;
  let totalBytes = 0;
  const beat = (): void => context.heartbeat({ unit, doneBytes, totalBytes } satisfies UnitProgress);
  const timer = setInterval(beat, BEAT_MS);
  beat();
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
      }
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

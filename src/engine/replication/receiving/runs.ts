/**
 * Messages of an exchange, taken together where that is cheaper: pages that are made durable with one sync, data that is
 * checked in one task. A run is of one kind, and data of one turn, so that one receipt answers it.
 */
import { SLOT_FINGERPRINTS, TASK_VALUES_MAX } from '../../../ground/threads/tasks.ts';
import type { DataFrame, ReferencesFrame, SessionMessageFrame } from '../frames.ts';
import { PAGES_A_NOTE } from './limits.ts';

export type Run =
  | { readonly kind: 'REFERENCES'; readonly frames: ReferencesFrame[] }
  | { readonly kind: 'DATA'; readonly frames: DataFrame[]; bodyBytes: number }
  | { readonly kind: 'ONE'; readonly frame: Exclude<SessionMessageFrame, ReferencesFrame | DataFrame> };

/** Takes a frame into an open run; false: it begins the next one. */
function joins(run: Run | null, frame: SessionMessageFrame): boolean {
  if (run?.kind === 'REFERENCES' && frame.kind === 'REFERENCES' && run.frames.length < PAGES_A_NOTE) {
    run.frames.push(frame);
    return true;
  }
  if (run?.kind !== 'DATA' || frame.kind !== 'DATA' || frame.turn !== run.frames[0]?.turn) return false;
  if (run.frames.length >= TASK_VALUES_MAX || run.bodyBytes + frame.body.length > SLOT_FINGERPRINTS) return false;
  run.frames.push(frame);
  run.bodyBytes += frame.body.length;
  return true;
}

function begin(frame: SessionMessageFrame): Run {
  switch (frame.kind) {
    case 'REFERENCES':
      return { kind: 'REFERENCES', frames: [frame] };
    case 'DATA':
      return { kind: 'DATA', frames: [frame], bodyBytes: frame.body.length };
    default:
      return { kind: 'ONE', frame };
  }
}

export async function* runsOf(frames: AsyncIterable<SessionMessageFrame>): AsyncGenerator<Run> {
  let run: Run | null = null;
  for await (const frame of frames) {
    if (joins(run, frame)) continue;
    if (run !== null) yield run;
    run = begin(frame);
  }
  if (run !== null) yield run;
}

/**
 * Waits for a job and shows how it goes. Leaving is harmless at any moment: Ctrl-C ends this process and not the job, and says
 * how to come back or to cancel.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../domain/errors.ts';
import type { JobStatus } from '../../domain/jobs.ts';
import { createDisplay } from './job-progress.ts';
import type { JobClient, JobView } from './jobs.ts';
import type { Session } from './session.ts';

/** Short at first, for whoever waits for a disk; then as often as a person reads. */
const POLL_MS_FIRST = 50;
const POLL_MS = 500;
/** As shells say it: 128 and SIGINT. */
export const INTERRUPTED_EXIT = 130;

export type Watched =
  | { readonly kind: 'ended'; readonly result: unknown }
  /** `until` was reached; the job goes on. */
  | { readonly kind: 'left'; readonly progress: JobStatus }
  | { readonly kind: 'interrupted' };

export interface WatchOptions {
  readonly id: string;
  readonly runId?: string;
  /** Leave when this holds, though the job goes on. */
  readonly until?: (progress: JobStatus) => boolean;
}

export async function watchJob(session: Session, { id, runId, until }: WatchOptions): Promise<Watched> {
  const jobs = await session.jobs();
  const display = createDisplay(session.terminal, id);
  const ended = new AbortController();
  let stopListening = (): void => undefined;
  const interrupted = new Promise<Watched>((resolve) => {
    stopListening = session.terminal.onInterrupt(() => resolve({ kind: 'interrupted' }));
  });
  const result = jobs.result(id, runId).then((value): Watched => ({ kind: 'ended', result: value }));
  const polling = poll(jobs, { id, ...(runId === undefined ? {} : { runId }) }, ended.signal, (view) => {
    display.show(view, Date.now());
    return view.progress !== null && until?.(view.progress) === true ? view.progress : null;
  });
  const left = polling.then((progress): Watched | Promise<Watched> => (progress === null ? result : { kind: 'left', progress }));
  // Whichever of them loses may still reject; it is the winner's word that counts.
  for (const loser of [result, left]) loser.catch(() => undefined);
  try {
    const watched = await Promise.race([result, left, interrupted]);
    display.stop();
    if (watched.kind === 'interrupted') sayHowToComeBack(session, id);
    return watched;
  } finally {
    display.stop();
    ended.abort();
    stopListening();
  }
}

async function poll(
  jobs: JobClient,
  { id, runId }: Pick<WatchOptions, 'id' | 'runId'>,
  signal: AbortSignal,
  onView: (view: JobView) => JobStatus | null,
): Promise<JobStatus | null> {
  for (let waitMs = POLL_MS_FIRST; !signal.aborted; waitMs = Math.min(POLL_MS, waitMs * 1.5)) {
    try {
      const reached = onView(await jobs.look(id, runId));
      if (reached !== null) return reached;
    } catch (error) {
      // A server that is away for a moment only means that there is nothing new to show.
      if (!isHoldfastError(error, 'TEMPORAL_UNREACHABLE')) throw error;
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }
  return null;
}

function sayHowToComeBack(session: Session, id: string): void {
  session.say(`the job goes on as ${id}`);
  session.say(`  watch it again:  holdfast job wait ${id}`);
  session.say(`  cancel it:       holdfast job cancel ${id}`);
  session.fail(INTERRUPTED_EXIT);
}

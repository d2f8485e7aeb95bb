/**
 * Shows a job's progress to whoever waits: a moving bar on a terminal, plain lines in a log (when the phase changes, when
 * something holds the job up, and every ten seconds).
 */
import { SingleBar } from 'cli-progress';
import type { JobView } from './jobs.ts';
import { createEstimator, type Estimate } from './progress-estimate.ts';
import { formatBytes, formatDuration } from './quantities.ts';
import type { Terminal } from './terminal.ts';

export interface ProgressDisplay {
  show(view: JobView, nowMs: number): void;
  stop(): void;
}

const LINE_EVERY_MS = 10_000;
/** A step that no worker took for so long is worth a word. */
const UNTAKEN_MS = 5_000;
/** Resolution of the bar. */
const STEPS = 1000;

/** What holds a job up, in words; null: nothing does. */
export function hindrance({ status, progress, steps, begunMs }: JobView, nowMs: number): string | null {
  if (status !== 'RUNNING') return null;
  if (progress?.paused) return `paused: ${progress.paused.store}: ${progress.paused.reason}`;
  if (progress?.state === 'paused') return 'paused';
  const failing = steps.find((step) => step.failure !== null);
  if (failing?.failure) return `${failing.failure.code}: ${failing.failure.message.split('\n')[0] ?? ''} (attempt ${failing.attempt})`;
  const untaken = steps.find(
    (step) => step.state === 'scheduled' && step.attempt === 1 && nowMs - (step.scheduledMs ?? nowMs) > UNTAKEN_MS,
  );
  if (untaken) return `no worker has taken ${untaken.activity} yet; \`holdfast doctor\` shows which are there`;
  if (progress === null && steps.length === 0 && nowMs - begunMs > UNTAKEN_MS) return 'no worker answers; `holdfast up` starts them';
  return null;
}

export function progressLine(view: JobView, estimate: Estimate, nowMs: number): string {
  const { progress } = view;
  const parts = [
    progress?.phase ?? 'starting',
    estimate.fraction === null ? null : `${Math.floor(estimate.fraction * 100)} %`,
    estimate.doneBytes === 0 ? null : formatBytes(estimate.doneBytes),
    progress === null || progress.sentBytes === 0 ? null : `${formatBytes(progress.sentBytes)} sent`,
    estimate.bytesPerSecond === null || estimate.bytesPerSecond <= 0 ? null : `${formatBytes(estimate.bytesPerSecond)}/s`,
    estimate.leftMs === null ? null : `${formatDuration(estimate.leftMs)} left`,
    hindrance(view, nowMs),
  ];
  return parts.filter((part) => part !== null && part !== '').join(', ');
}

function createBar(stream: NodeJS.WriteStream): ProgressDisplay {
  const bar = new SingleBar({ format: '{bar} {line}', barsize: 24, stream, hideCursor: true, clearOnComplete: true, etaBuffer: 2 });
  const estimate = createEstimator();
  bar.start(STEPS, 0, { line: 'starting' });
  return {
    show(view, nowMs) {
      const now = estimate({ atMs: nowMs, progress: view.progress, units: view.units });
      bar.update(Math.floor((now.fraction ?? 0) * STEPS), { line: progressLine(view, now, nowMs) });
    },
    stop: () => bar.stop(),
  };
}

function createLines(write: (line: string) => void): ProgressDisplay {
  const estimate = createEstimator();
  let shown = { phase: '', hindrance: null as string | null, atMs: -Infinity };
  return {
    show(view, nowMs) {
      const now = estimate({ atMs: nowMs, progress: view.progress, units: view.units });
      const phase = view.progress?.phase ?? '';
      const held = hindrance(view, nowMs);
      if (phase === shown.phase && held === shown.hindrance && nowMs - shown.atMs < LINE_EVERY_MS) return;
      if (view.progress === null && held === null) return;
      shown = { phase, hindrance: held, atMs: nowMs };
      write(progressLine(view, now, nowMs));
    },
    stop: () => undefined,
  };
}

export const createDisplay = (terminal: Terminal, label: string): ProgressDisplay =>
  terminal.bar === null ? createLines((line) => terminal.err(`${label}: ${line}\n`)) : createBar(terminal.bar);

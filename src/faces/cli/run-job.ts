/**
 * Starts a job and stays until it ends, or leaves at once with --detach: what every job-starting command does.
 */
import { JOB_SCHEMAS, parseInput } from '../../domain/job-inputs.ts';
import type { JobInputs, JobKind, JobStatus } from '../../domain/jobs.ts';
import { renderError } from './render-error.ts';
import { readResult } from './job-results.ts';
import type { StartedJob } from './jobs.ts';
import type { Session } from './session.ts';
import { watchJob } from './watch-job.ts';

export interface RunOptions {
  readonly detach?: boolean;
  /** Leave when this holds though the job goes on; `left` says in words what it waits for. */
  readonly until?: (progress: JobStatus) => boolean;
  readonly left?: (progress: JobStatus, started: StartedJob) => readonly string[];
}

export interface JobReport {
  readonly job: string;
  readonly runId: string;
  readonly joined: boolean;
  readonly state: 'started' | 'done' | 'waiting' | 'interrupted' | 'failed';
  readonly result?: unknown;
  /** Of a job that goes on. */
  readonly status?: JobStatus;
  readonly error?: unknown;
}

interface Reported {
  readonly report: JobReport;
  readonly lines: readonly string[];
}

/** Starts a job; ARGUMENT_INVALID before anything is asked of a server. */
export async function startJob<Kind extends JobKind>(session: Session, kind: Kind, input: JobInputs[Kind]): Promise<StartedJob> {
  parseInput(JOB_SCHEMAS[kind], kind, input);
  const started = await (await session.jobs()).start(kind, input);
  if (started.joined) session.say(`joined ${started.id}, which runs already with the options that it was begun with`);
  return started;
}

async function follow(session: Session, started: StartedJob, options: RunOptions): Promise<Reported> {
  const { id, runId, joined } = started;
  const base = { job: id, runId, joined };
  if (options.detach === true)
    return {
      report: { ...base, state: 'started' },
      lines: [`${joined ? 'joined' : 'started'} ${id}; \`holdfast job wait ${id}\` watches it`],
    };
  const watched = await watchJob(session, { id, runId, ...(options.until ? { until: options.until } : {}) });
  switch (watched.kind) {
    case 'ended': {
      const { lines, exitCode } = readResult(started.kind, watched.result);
      session.fail(exitCode);
      return { report: { ...base, state: 'done', result: watched.result }, lines };
    }
    case 'left':
      return {
        report: { ...base, state: 'waiting', status: watched.progress },
        lines: options.left?.(watched.progress, started) ?? [`${id} waits`],
      };
    case 'interrupted':
      return { report: { ...base, state: 'interrupted' }, lines: [] };
  }
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

export async function runJob<Kind extends JobKind>(
  session: Session,
  kind: Kind,
  input: JobInputs[Kind],
  options: RunOptions,
): Promise<void> {
  const { report, lines } = await follow(session, await startJob(session, kind, input), options);
  session.print(report, () => textOf(lines));
}

/** Several of one kind: all are started, then each is followed; one that fails does not hide the others. */
export async function runJobs<Kind extends JobKind>(
  session: Session,
  kind: Kind,
  inputs: readonly JobInputs[Kind][],
  options: RunOptions,
): Promise<void> {
  const started: StartedJob[] = [];
  for (const input of inputs) started.push(await startJob(session, kind, input));
  const reports: JobReport[] = [];
  const lines: string[] = [];
  for (const job of started) {
    try {
      const reported = await follow(session, job, options);
      reports.push(reported.report);
      lines.push(...reported.lines);
      if (reported.report.state === 'interrupted') break;
    } catch (error) {
      const { text, exitCode } = renderError(error, session.settings);
      session.fail(exitCode);
      session.terminal.err(text);
      reports.push({
        job: job.id,
        runId: job.runId,
        joined: job.joined,
        state: 'failed',
        error: JSON.parse(renderError(error, { json: true, verbose: false }).text),
      });
    }
  }
  session.print(reports, () => textOf(lines));
}

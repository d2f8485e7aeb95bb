/**
 * What every job keeps: its status (query, current details, search attributes) and its line in the catalog's book.
 *
 * The Temporal UI shows the details as a page: what is going on, how far it is, what it waits for. They are markdown, made
 * from the status, so that the page and the query cannot disagree.
 */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  CancellationScope,
  ContinueAsNew,
  defineQuery,
  isCancellation,
  setCurrentDetails,
  setHandler,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Failure, JobInputs, JobKind, JobStatus } from '../src/domain/jobs.ts';
import { STATUS_QUERY } from '../src/domain/jobs.ts';
import { isErrorCode, messageOf } from '../src/domain/errors.ts';
import { short } from './queues.ts';

const VOLUME = defineSearchAttributeKey('HoldfastVolume', SearchAttributeType.KEYWORD);
const STORE = defineSearchAttributeKey('HoldfastStore', SearchAttributeType.KEYWORD);
const STATE = defineSearchAttributeKey('HoldfastState', SearchAttributeType.KEYWORD);

export const statusQuery = defineQuery<JobStatus>(STATUS_QUERY);

export interface Book<Kind extends JobKind = JobKind> {
  readonly kind: Kind;
  readonly status: JobStatus;
  update(changes: Partial<JobStatus>): void;
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

const page = (title: string, status: JobStatus): string =>
  [
    `**${title}**: ${status.state}, ${status.phase}`,
    status.totalUnits > 0
      ? `\n| subtrees | read | sent |\n| --- | --- | --- |\n| ${status.doneUnits} of ${status.totalUnits} | ${mib(status.readBytes)} | ${mib(status.sentBytes)} |`
      : '',
    status.replication
      ? `\n| named | sent | on the wire | asked again | proven subtrees |\n| --- | --- | --- | --- | --- |\n| ${status.replication.referenced} (${mib(status.replication.logicalBytes)}) | ${status.replication.sent} (${mib(status.replication.uniqueBytes)}) | ${mib(status.replication.wireBytes)} | ${status.replication.askedAgain} | ${status.replication.verified} |`
      : '',
    status.paused ? `\nPaused by **${status.paused.store}**: ${status.paused.reason}` : '',
    status.snapshot ? `\nSnapshot \`${status.snapshot}\`` : '',
    ...status.uris.map((uri) => `\nServed at \`${uri}\``),
  ].join('\n');

interface Subject<Kind extends JobKind> {
  readonly kind: Kind;
  readonly title: string;
  readonly volume: string;
  /** Null: the job has none of its own. */
  readonly store: string | null;
}

/** What a job answers to from its first moment is set up between this and `runJob`: the first thing that a job waits for. */
export function openBook<Kind extends JobKind>({ kind, title, volume, store }: Subject<Kind>): Book<Kind> {
  let status: JobStatus = {
    kind,
    state: 'running',
    phase: 'starting',
    doneUnits: 0,
    totalUnits: 0,
    readBytes: 0,
    sentBytes: 0,
    paused: null,
    snapshot: null,
    uris: [],
  };
  setHandler(statusQuery, () => status);
  upsertSearchAttributes([
    { key: VOLUME, value: volume },
    ...(store === null ? [] : [{ key: STORE, value: store }]),
    { key: STATE, value: status.state },
  ]);
  setCurrentDetails(page(title, status));
  return {
    kind,
    get status() {
      return status;
    },
    update(changes) {
      if (changes.state !== undefined && changes.state !== status.state) upsertSearchAttributes([{ key: STATE, value: changes.state }]);
      status = { ...status, ...changes };
      setCurrentDetails(page(title, status));
    },
  };
}

/** Runs a job: notes its beginning and its end in the catalog, and ends with its result. */
export async function runJob<Kind extends JobKind, Result>(
  book: Book<Kind>,
  input: JobInputs[Kind],
  work: (book: Book) => Promise<Result>,
  summarise: (result: Result) => string,
): Promise<Result> {
  const { workflowId } = workflowInfo();
  await short.beginJob(workflowId, book.kind, input);
  try {
    const result = await work(book);
    await short.endJob(workflowId, 'done', summarise(result));
    book.update({ state: 'done', phase: summarise(result), paused: null });
    return result;
  } catch (error) {
    // Not its end: the next run of the same job goes on with its line in the book.
    if (error instanceof ContinueAsNew) throw error;
    const cancelled = isCancellation(error);
    const failure = failureOf(error);
    await CancellationScope.nonCancellable(() =>
      short.endJob(workflowId, cancelled ? 'cancelled' : 'failed', `${failure.code}: ${failure.message}`),
    );
    if (cancelled) throw error;
    throw ApplicationFailure.create({
      message: failure.message,
      type: failure.code,
      nonRetryable: true,
      cause: error instanceof Error ? error : undefined,
    });
  }
}

/** The code and message at the bottom of what Temporal has wrapped. */
export function failureOf(error: unknown): Failure {
  let at: unknown = error;
  while ((at instanceof ActivityFailure || at instanceof ChildWorkflowFailure) && at.cause) at = at.cause;
  if (at instanceof ApplicationFailure) return { code: at.type && isErrorCode(at.type) ? at.type : 'INTERNAL', message: at.message };
  if (at instanceof TimeoutFailure) return { code: 'STORE_UNREACHABLE', message: 'no answer in time' };
  if (isCancellation(error)) return { code: 'JOB_CANCELLED', message: 'the job was cancelled' };
  return { code: 'INTERNAL', message: messageOf(at) };
}

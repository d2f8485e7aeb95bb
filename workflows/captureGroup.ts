/**
 * Captures volumes of one host at one moment: all are frozen together, then each is captured as ever, from its view.
 *
 * A capture of one of them that runs already is of another moment, and the group is refused. One that fails does not stop the
 * others: what they commit is of the moment all the same.
 */
import { ApplicationFailure, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { CancellationScope, executeChild, log, ParentClosePolicy } from '@temporalio/workflow';
import type { GroupMember } from '../activities/serving.ts';
import { newSnapshotId } from '../src/domain/ids.ts';
import type { CaptureGroupInput } from '../src/domain/job-inputs.ts';
import { hostQueue, JOB_IDS, type CaptureGroupResult, type CaptureResult } from '../src/domain/jobs.ts';
import { failureOf, openBook, runJob, type Book } from './book.ts';
import type { captureSnapshot } from './captureSnapshot.ts';
import { brief, briefWithin, short } from './queues.ts';

const RELEASE_WITHIN_MS = 60_000;

export function captureGroup(input: CaptureGroupInput): Promise<CaptureGroupResult> {
  const names = input.volumes.join(', ');
  return runJob(
    openBook({ kind: 'captureGroup', title: `Capture of ${names} at one moment`, volume: input.volumes.join(','), store: 'all' }),
    input,
    (book) => captureAll(input, book),
    ({ captures }) => captures.map(({ volume, snapshot }) => `${volume} ${snapshot}`).join(', '),
  );
}

async function captureAll(input: CaptureGroupInput, book: Book): Promise<CaptureGroupResult> {
  const { node, volumes } = await short.planGroup(input);
  const queue = hostQueue(node);
  const members: GroupMember[] = volumes.map(({ name, path }) => ({
    ...{ volume: name, path },
    snapshot: newSnapshotId(Date.now(), Math.random),
  }));
  book.update({ phase: `waiting for host ${node}` });
  const moment = await brief(queue).freezeGroup(members);
  book.update({ phase: 'capturing', totalUnits: members.length });
  const ended = await Promise.allSettled(members.map((member) => captureOne({ ...member, moment }, input, book)));
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed === undefined) return { captures: ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])) };
  await CancellationScope.nonCancellable(() => briefWithin(queue, RELEASE_WITHIN_MS).releaseGroup(members)).catch((error: unknown) =>
    log.warn('views are let go by the next capture', { code: failureOf(error).code }),
  );
  throw failed.reason;
}

async function captureOne(
  { volume, snapshot, moment }: GroupMember & { readonly moment: string },
  { label }: CaptureGroupInput,
  book: Book,
): Promise<CaptureResult> {
  const input = { volume, snapshot, moment, ...(label === undefined ? {} : { label }) };
  try {
    const result = await executeChild<typeof captureSnapshot>('captureSnapshot', {
      workflowId: JOB_IDS.captureSnapshot(input),
      args: [input],
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    });
    book.update({ doneUnits: book.status.doneUnits + 1, readBytes: book.status.readBytes + result.readBytes });
    return result;
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw ApplicationFailure.nonRetryable(`a capture of ${volume} runs already, and is of another moment`, 'CONTENTION', { volume });
  }
}

/**
 * What Temporal's client throws, as errors of the table: the one translation at this edge.
 *
 * A failure arrives wrapped (WorkflowFailed > ActivityFailure > ... > ApplicationFailure); the innermost ApplicationFailure
 * whose type is a code of ours is what happened, and its first detail holds the facts.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  isGrpcServiceError,
  ServerFailure,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { TimeoutType } from '@temporalio/common';
import { z } from 'zod';
import { HoldfastError, isErrorCode, isHoldfastError, type ErrorDetails } from '../../domain/errors.ts';

/** Status codes of gRPC that are met here. */
const GRPC = { CANCELLED: 1, INVALID_ARGUMENT: 3, DEADLINE_EXCEEDED: 4, NOT_FOUND: 5, FAILED_PRECONDITION: 9, UNAVAILABLE: 14 } as const;

const detailsSchema = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string()), z.array(z.number())]),
);

function detailsOf(failure: ApplicationFailure): ErrorDetails {
  const parsed = detailsSchema.safeParse(failure.details?.[0]);
  return parsed.success ? parsed.data : {};
}

/** A failure of a workflow, an activity or an update as what it means. */
export function translateFailure(failure: unknown): HoldfastError {
  let innermost: ApplicationFailure | null = null;
  for (let at: unknown = failure, depth = 0; at instanceof Error && depth < 16; at = at.cause, depth++) {
    if (at instanceof ApplicationFailure) {
      if (isErrorCode(at.type ?? '')) return new HoldfastError(codeOf(at), at.message, detailsOf(at), at.cause);
      innermost = at;
    } else if (at instanceof CancelledFailure) return new HoldfastError('JOB_CANCELLED', 'the job was cancelled');
    else if (at instanceof TerminatedFailure) return new HoldfastError('JOB_CANCELLED', `the job was terminated: ${at.message}`);
    else if (at instanceof TimeoutFailure) return timedOut(at);
    else if (at instanceof ServerFailure) return new HoldfastError('INTERNAL', `Temporal ended the job: ${at.message}`);
    else if (!(
      at instanceof ActivityFailure ||
      at instanceof ChildWorkflowFailure ||
      at instanceof WorkflowFailedError ||
      at instanceof WorkflowUpdateFailedError
    ))
      break;
  }
  const message = innermost?.message ?? (failure instanceof Error ? failure.message : String(failure));
  return new HoldfastError('INTERNAL', message, innermost?.type == null ? {} : { type: innermost.type }, failure);
}

const codeOf = ({ type }: ApplicationFailure) => (type != null && isErrorCode(type) ? type : 'INTERNAL');

function timedOut(failure: TimeoutFailure): HoldfastError {
  const waited = failure.timeoutType === TimeoutType.SCHEDULE_TO_START;
  return waited
    ? new HoldfastError('NODE_UNAVAILABLE', 'no worker took the work in time')
    : new HoldfastError('INTERNAL', `a step of the job took longer than it may (${String(failure.timeoutType)})`, {}, failure);
}

export interface Asked {
  readonly address: string;
  readonly namespace: string;
  /** The job that the call was about. */
  readonly job?: string;
}

/** An error of a call to the server. */
export function translateCall(error: unknown, { address, namespace, job }: Asked): unknown {
  if (isHoldfastError(error)) return error;
  if (error instanceof WorkflowNotFoundError)
    return new HoldfastError('JOB_NOT_FOUND', `no job ${job ?? ''} is running`, job === undefined ? {} : { job });
  if (error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError) return translateFailure(error);
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return unreached('no worker answered in time', address, error);
  const service = grpcOf(error);
  if (service === null) return error;
  const { code, details } = service;
  if (code === GRPC.NOT_FOUND && /namespace/i.test(details))
    return new HoldfastError('CONFIG_INVALID', `${address} has no namespace ${namespace}`, { field: 'HOLDFAST_TEMPORAL_NAMESPACE' }, error);
  if (code === GRPC.NOT_FOUND) return new HoldfastError('JOB_NOT_FOUND', `no job ${job ?? ''}`, job === undefined ? {} : { job });
  if (code === GRPC.INVALID_ARGUMENT && /search attribute/i.test(details))
    return new HoldfastError(
      'CONFIG_INVALID',
      `the Temporal server lacks search attributes: ${details}`,
      { field: 'search attributes' },
      error,
    );
  const unreachable: readonly number[] = [GRPC.UNAVAILABLE, GRPC.DEADLINE_EXCEEDED, GRPC.CANCELLED];
  return unreachable.includes(code) ? unreached(details, address, error) : error;
}

const unreached = (reason: string, address: string, cause: unknown): HoldfastError =>
  new HoldfastError('TEMPORAL_UNREACHABLE', `the Temporal server at ${address} does not answer: ${reason}`, { address }, cause);

/** The gRPC error itself, or the one that a ServiceError of the SDK wraps. */
function grpcOf(error: unknown): { readonly code: number; readonly details: string } | null {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (isGrpcServiceError(at)) return { code: at.code, details: at.details };
  }
  return null;
}

/** Whether a query failed because nobody could answer it now: no worker, too late, or not that kind of workflow. */
export function isUnanswered(error: unknown): boolean {
  if (error instanceof Error && error.name === 'QueryNotRegisteredError') return true;
  const service = grpcOf(error);
  const unanswered: readonly number[] = [
    GRPC.DEADLINE_EXCEEDED,
    GRPC.FAILED_PRECONDITION,
    GRPC.CANCELLED,
    GRPC.INVALID_ARGUMENT,
    GRPC.NOT_FOUND,
  ];
  return service !== null && unanswered.includes(service.code);
}

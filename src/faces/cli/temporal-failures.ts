/**
 * What Temporal's client throws, as errors of the table: the one translation at this edge.
 *
 * A failure arrives wrapped (WorkflowFailed > ActivityFailure > ... > ApplicationFailure); the innermost ApplicationFailure
 * whose type is a code of ours is what happened, and its first detail holds the facts.
 */
import {
  ApplicationFailure,
  CancelledFailure,
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
const GRPC = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  FAILED_PRECONDITION: 9,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

const detailsSchema = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string()), z.array(z.number())]),
);

function detailsOf(failure: ApplicationFailure): ErrorDetails {
  const parsed = detailsSchema.safeParse(failure.details?.[0]);
  return parsed.success ? parsed.data : {};
}

/** A failure of a workflow, an activity or an update as what it means. */
function translateFailure(failure: unknown): HoldfastError {
  const chain = causesOf(failure);
  const coded = chain.filter((at) => at instanceof ApplicationFailure && isErrorCode(at.type ?? '')) as readonly ApplicationFailure[];
  const [first] = coded;
  // The workflow's own failure says the code, the activity's below it has the facts.
  if (first) return new HoldfastError(codeOf(first), first.message, Object.assign({}, ...coded.map(detailsOf)) as ErrorDetails);
  for (const at of chain) {
    if (at instanceof CancelledFailure) return new HoldfastError('JOB_CANCELLED', 'the job was cancelled');
    if (at instanceof TerminatedFailure) return new HoldfastError('JOB_CANCELLED', `the job was terminated: ${at.message}`);
    if (at instanceof TimeoutFailure) return timedOut(at);
  }
  const last = chain.findLast((at) => at instanceof ApplicationFailure || at instanceof ServerFailure) ?? chain.at(-1);
  return new HoldfastError('INTERNAL', last?.message ?? String(failure), {}, failure);
}

const CAUSES_MAX = 16;

function causesOf(failure: unknown): readonly Error[] {
  const chain: Error[] = [];
  for (let at: unknown = failure; at instanceof Error && chain.length < CAUSES_MAX; at = at.cause) chain.push(at);
  return chain;
}

const codeOf = ({ type }: ApplicationFailure) => (typeof type === 'string' && isErrorCode(type) ? type : 'INTERNAL');

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
  if (code === GRPC.UNAUTHENTICATED || code === GRPC.PERMISSION_DENIED)
    return new HoldfastError('TEMPORAL_DENIED', `the Temporal server at ${address} refuses: ${details}`, { address, namespace }, error);
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

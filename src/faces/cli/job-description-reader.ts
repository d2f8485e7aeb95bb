/**
 * What Temporal says of a running workflow, read into plain data: state, the progress that activities heartbeat, and what
 * holds a step up. Everything here comes over the wire from another version of something, so it is parsed, and what does not
 * fit is left out: progress is decoration and must not fail a command.
 */
import { defaultPayloadConverter, type Payload, type WorkflowExecutionDescription } from '@temporalio/client';
import { z } from 'zod';
import type { JobStatus, UnitProgress } from '../../domain/jobs.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { JOB_IDS, type JobKind } from '../../domain/jobs.ts';

export interface PendingStep {
  readonly activity: string;
  readonly state: 'scheduled' | 'started' | 'other';
  readonly attempt: number;
  readonly scheduledMs: number | null;
  /** What the last attempt failed with. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

export interface Described {
  readonly id: string;
  readonly runId: string;
  readonly kind: string;
  readonly status: string;
  readonly begunMs: number;
  readonly endedMs: number | null;
  readonly units: readonly UnitProgress[];
  readonly steps: readonly PendingStep[];
}

const unitSchema = z.object({ unit: z.number(), doneBytes: z.number(), totalBytes: z.number() });
const statusSchema = z.object({
  kind: z.custom<JobKind>((value) => typeof value === 'string' && Object.hasOwn(JOB_IDS, value)),
  state: z.enum(['running', 'paused', 'waiting', 'done']),
  phase: z.string(),
  doneUnits: z.number(),
  totalUnits: z.number(),
  readBytes: z.number(),
  sentBytes: z.number(),
  paused: z.object({ store: z.string(), reason: z.string() }).nullable(),
  snapshot: z
    .string()
    .transform((text) => text as SnapshotId)
    .nullable(),
  /** A job of an older worker serves nothing. */
  uris: z.array(z.string()).default([]),
  replication: z
    .object({
      ...{ logicalBytes: z.number(), uniqueBytes: z.number(), wireBytes: z.number(), referenced: z.number() },
      ...{ sent: z.number(), askedAgain: z.number(), rounds: z.number(), verified: z.number() },
    })
    .optional(),
});

export function readStatus(answer: unknown): JobStatus | null {
  const parsed = statusSchema.safeParse(answer);
  return parsed.success ? parsed.data : null;
}

type RawDescription = WorkflowExecutionDescription['raw'];
type RawActivity = NonNullable<RawDescription['pendingActivities']>[number];

function readUnit(activity: RawActivity): UnitProgress | null {
  const payload: Payload | undefined = activity.heartbeatDetails?.payloads?.[0];
  if (payload === undefined) return null;
  const parsed = unitSchema.safeParse(fromPayload(payload));
  return parsed.success ? parsed.data : null;
}

function fromPayload(payload: Payload): unknown {
  try {
    return defaultPayloadConverter.fromPayload(payload);
  } catch {
    // Written by another converter: no progress is shown.
    return null;
  }
}

const STATES = { 1: 'scheduled', 2: 'started' } as const;
const stateOf = (state: unknown): PendingStep['state'] => (state === 1 || state === 2 ? STATES[state] : 'other');

function readStep(activity: RawActivity): PendingStep {
  const { activityType, attempt, scheduledTime, lastFailure } = activity;
  return {
    activity: activityType?.name ?? '',
    state: stateOf(activity.state),
    attempt: attempt ?? 1,
    scheduledMs: scheduledTime ? Number(scheduledTime.seconds ?? 0) * 1000 : null,
    failure: lastFailure ? { code: lastFailure.applicationFailureInfo?.type ?? 'INTERNAL', message: lastFailure.message ?? '' } : null,
  };
}

export function readDescription(description: WorkflowExecutionDescription): Described {
  const pending = description.raw.pendingActivities ?? [];
  return {
    id: description.workflowId,
    runId: description.runId,
    kind: description.type,
    status: description.status.name,
    begunMs: description.startTime.getTime(),
    endedMs: description.closeTime?.getTime() ?? null,
    units: pending.map(readUnit).filter((unit) => unit !== null),
    steps: pending.map(readStep),
  };
}

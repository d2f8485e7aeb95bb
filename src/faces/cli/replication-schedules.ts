/**
 * Policies by the clock as schedules of Temporal, under the name of the job that they start. A schedule is made anew from the catalog
 * whenever it is asked for, so that one that was lost or changed by hand is right again.
 */
import { ScheduleNotFoundError, ScheduleOverlapPolicy, type Client } from '@temporalio/client';
import { JOB_IDS, QUEUE } from '../../domain/jobs.ts';
import type { ReplicationPolicy } from '../../engine/catalog/replication-policies.ts';

export type ScheduledPolicy = Pick<ReplicationPolicy, 'volume' | 'receiver' | 'everyMs'>;

/** Runs that were due while Temporal was away: one of them is enough, and it is soon due again. */
const CATCHUP_MS = 60_000;

export async function setSchedule(client: Client, { volume, receiver, everyMs }: ScheduledPolicy): Promise<void> {
  const scheduleId = JOB_IDS.replicateSnapshot({ volume, receiver });
  try {
    await client.schedule.getHandle(scheduleId).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
  if (everyMs === null) return;
  await client.schedule.create({
    scheduleId,
    spec: { intervals: [{ every: everyMs }] },
    action: {
      type: 'startWorkflow',
      workflowType: 'runPolicy',
      ...{ workflowId: `policy.${scheduleId}`, taskQueue: QUEUE, args: [{ volume, receiver }] },
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCHUP_MS },
  });
}

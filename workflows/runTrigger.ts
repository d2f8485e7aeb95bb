/**
 * What an event from outside starts, once: its id is made of the trigger and the event, and Temporal takes an id that was used no second time.
 * The job that it asks for runs under its business id, as one of its own; one that runs already is joined.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { getExternalWorkflowHandle, ParentClosePolicy, startChild } from '@temporalio/workflow';
import type { ReplicateInput } from '../src/domain/job-inputs.ts';
import { JOB_IDS, SNAPSHOT_NOW_UPDATE, SNAPSHOT_TABLE, type TriggerInput } from '../src/domain/jobs.ts';
import type { StoreName, VolumeName } from '../src/domain/ids.ts';
import { startReplication } from './policies.ts';

const IDS: Readonly<Record<string, (input: never) => string>> = JOB_IDS;

/** Fails where a table is to be snapshotted that nobody archives. */
export async function runTrigger({ job, input }: TriggerInput): Promise<'started' | 'joined'> {
  if (job === SNAPSHOT_TABLE) {
    const { table } = input as { readonly table: string };
    await getExternalWorkflowHandle(JOB_IDS.archiveTable({ table })).signal(SNAPSHOT_NOW_UPDATE);
    return 'joined';
  }
  if (job === 'replicateSnapshot') {
    const { volume, receiver, store } = input as ReplicateInput;
    // A session that runs is told to look again, so that no event is forgotten.
    return startReplication({ volume: volume as VolumeName, receiver, from: (store ?? null) as StoreName | null });
  }
  try {
    const workflowId = IDS[job]?.(input as never);
    await startChild(job, {
      ...(workflowId === undefined ? {} : { workflowId }),
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    });
    return 'started';
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return 'joined';
    throw error;
  }
}

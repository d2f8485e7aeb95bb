/**
 * What policies start: sessions with receivers, each under its business id, as jobs of their own that outlive whoever started them.
 *
 * One that runs already is told to look again, and a session for the newest snapshot follows it. So no capture is forgotten
 * and no two sessions of a lineage get into each other's way.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { getExternalWorkflowHandle, isCancellation, log, ParentClosePolicy, startChild } from '@temporalio/workflow';
import type { ReplicationPolicy } from '../activities/replication.ts';
import type { VolumeName } from '../src/domain/ids.ts';
import { JOB_IDS, LOOK_AGAIN_SIGNAL } from '../src/domain/jobs.ts';
import { messageOf } from '../src/domain/errors.ts';
import { short } from './queues.ts';
import type { replicateSnapshot } from './replicateSnapshot.ts';

/** A run that ends between the start and the signal is started after all. */
const STARTS_MAX = 3;

/** Starts the session that a policy, or an event, asks for. */
export async function startReplication({
  volume,
  receiver,
  from,
}: Pick<ReplicationPolicy, 'volume' | 'receiver' | 'from'>): Promise<'started' | 'joined'> {
  const input = { volume, receiver, ...(from === null ? {} : { store: from }) };
  const workflowId = JOB_IDS.replicateSnapshot(input);
  for (let starts = 1; ; starts++) {
    try {
      await startChild<typeof replicateSnapshot>('replicateSnapshot', {
        ...{ workflowId, args: [input], parentClosePolicy: ParentClosePolicy.ABANDON },
      });
      return 'started';
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
    try {
      await getExternalWorkflowHandle(workflowId).signal(LOOK_AGAIN_SIGNAL);
      return 'joined';
    } catch (error) {
      if (isCancellation(error) || starts >= STARTS_MAX) throw error;
    }
  }
}

/** After a commit. The capture is done whatever becomes of this: a session that was not started is in what `replicate status` says to lack. */
export async function replicateAfterCapture(volume: VolumeName): Promise<void> {
  for (const policy of await short.replicationPolicies(volume)) {
    if (!policy.afterCapture) continue;
    try {
      await startReplication(policy);
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('a capture is not replicated', { volume, receiver: policy.receiver, reason: messageOf(error) });
    }
  }
}

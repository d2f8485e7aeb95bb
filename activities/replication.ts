/** Activities of sessions with a receiver, from the sender's side (system B): parse, call the system, translate errors. */
import { activityInfo, Context } from '@temporalio/activity';
import type { SnapshotId, VolumeName } from '../src/domain/ids.ts';
import { parseInput, replicateInput, type ReplicateInput } from '../src/domain/job-inputs.ts';
import type { ReplicationFigures } from '../src/domain/replication.ts';
import { policiesOf, type ReplicationPolicy } from '../src/engine/catalog/replication-policies.ts';
import {
  closeReplication,
  confirmReplication,
  noteReplicated,
  openReplication,
  replicateRound,
  type OpenedReplication,
  type OpenSessionOf,
  type RoundOutcome,
  type SenderCall,
} from '../src/systems/replication/sender.ts';
import { planReplication, type ReplicationPlan } from '../src/systems/replication/sender-plan.ts';
import { translated } from './failure.ts';
import { ownerNow } from './owner.ts';
import { startCount } from './pulse.ts';
import type { ActivityParts } from './shipping.ts';

/** What these activities take and give, for the workflow that calls them. */
export type { OpenedReplication, OpenSessionOf, ReplicationPlan, ReplicationPolicy, RoundOutcome };

export const createReplicationActivities = ({ home, threads }: Pick<ActivityParts, 'home' | 'threads'>) => {
  const callNow = (): SenderCall => {
    const count = startCount();
    return {
      ...{ threads, run: ownerNow(), signal: Context.current().cancellationSignal },
      onProgress: ({ uniqueBytes }) => count(uniqueBytes, 0),
    };
  };
  return translated({
    planReplication: (input: ReplicateInput): Promise<ReplicationPlan> =>
      planReplication(home, parseInput(replicateInput, 'replicateSnapshot', input)),

    /** What a volume is replicated to by itself. */
    async replicationPolicies(volume: VolumeName): Promise<readonly ReplicationPolicy[]> {
      return policiesOf(await home.catalog.sync(), volume);
    },

    /** `after`: attempts before this opening; a try of it that comes again is one more. */
    openReplication: (plan: ReplicationPlan, after: number): Promise<OpenedReplication> =>
      openReplication(home, plan, after + activityInfo().attempt, callNow()),

    /** `first`: the number of this round's first try; tries are calls of their own. */
    replicateRound: (plan: ReplicationPlan, opened: OpenSessionOf, subtrees: readonly number[], first: number): Promise<RoundOutcome> =>
      replicateRound(home, plan, opened, { subtrees, number: first + activityInfo().attempt - 1 }, callNow()),

    confirmReplication: (plan: ReplicationPlan, opened: OpenSessionOf): Promise<ReplicationFigures> =>
      confirmReplication(home, plan, opened, callNow()),

    noteReplicated: (plan: ReplicationPlan, takenMs: number, figures: ReplicationFigures): Promise<void> =>
      noteReplicated(home, plan, takenMs, figures),

    closeReplication: (plan: ReplicationPlan, failed: OpenSessionOf | null): Promise<SnapshotId | null> =>
      closeReplication(home, plan, failed, callNow()),
  });
};

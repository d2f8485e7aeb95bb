/**
 * What a schedule of Temporal starts, for the schedule gives its workflows ids of its own: the job that is due, under its business id.
 * The policy is looked up now; one that was removed meanwhile starts nothing.
 */
import type { VolumeName } from '../src/domain/ids.ts';
import { startReplication } from './policies.ts';
import { short } from './queues.ts';

export interface PolicyName {
  readonly volume: VolumeName;
  readonly receiver: string;
}

export async function runPolicy({ volume, receiver }: PolicyName): Promise<'started' | 'joined' | 'removed'> {
  const policy = (await short.replicationPolicies(volume)).find((one) => one.receiver === receiver);
  return policy === undefined ? 'removed' : startReplication(policy);
}

/** What an operator asks a replica of this machine. */
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import { askStatus } from '../../../ground/processes/status-socket.ts';
import type { ReplicaFolder } from './folder.ts';
import type { ServingStatus } from './serving.ts';

/** REPLICA_NOT_RUNNING when none serves this folder. */
export async function askReplica({ root, controlSocket }: ReplicaFolder): Promise<ServingStatus> {
  try {
    return (await askStatus(controlSocket)) as ServingStatus;
  } catch (cause) {
    throw new HoldfastError('REPLICA_NOT_RUNNING', `no replica runs on ${root}: ${messageOf(cause)}`, { folder: root }, cause);
  }
}

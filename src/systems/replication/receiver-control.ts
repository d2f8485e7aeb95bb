/** What an operator asks a receiver of this machine. Operators have no token, and what one sender may see of its own sessions is the transport's affair. */
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { askStatus, serveStatus } from '../../ground/processes/status-socket.ts';
import type { SessionStatus } from '../../engine/replication/receiving/receiving.ts';

export interface ReceiverStatus {
  readonly url: string;
  readonly connections: number;
  readonly sessions: readonly SessionStatus[];
  /** The last ones that have ended, the newest first. */
  readonly ended: readonly SessionStatus[];
}

/** The caller has made sure that no other receiver is alive on the socket. */
export const serveReceiverControl = (socketPath: string, status: () => ReceiverStatus): Promise<AsyncDisposable> =>
  serveStatus(socketPath, status);

/** RECEIVER_UNREACHABLE when none runs here. Both ends are this build's: the answer is taken as it is. */
export async function askReceiver(socketPath: string): Promise<ReceiverStatus> {
  try {
    return (await askStatus(socketPath)) as ReceiverStatus;
  } catch (cause) {
    const why = messageOf(cause);
    throw new HoldfastError('RECEIVER_UNREACHABLE', `no receiver runs in this installation: ${why}`, { socket: socketPath }, cause);
  }
}

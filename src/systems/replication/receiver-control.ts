/**
 * What an operator asks a receiver of this machine, over a Unix socket that only its user can open: `GET /status`. Operators have no
 * token, and what one sender may see of its own sessions is the transport's affair.
 */
import { createServer, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { listenPrivately } from '../../ground/processes/control-socket.ts';
import type { SessionStatus } from '../../engine/replication/receiving/receiving.ts';

export interface ReceiverStatus {
  readonly url: string;
  readonly connections: number;
  readonly sessions: readonly SessionStatus[];
  /** The last ones that have ended, the newest first. */
  readonly ended: readonly SessionStatus[];
}

const ANSWER_WITHIN_MS = 10_000;

/** The caller has made sure that no other receiver is alive on the socket. */
export async function serveReceiverControl(socketPath: string, status: () => ReceiverStatus): Promise<AsyncDisposable> {
  const server = createServer(({ method, url }, response) => {
    const isKnown = method === 'GET' && url === '/status';
    const body = isKnown ? status() : { code: 'ARGUMENT_INVALID', message: 'a receiver knows GET /status' };
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  return listenPrivately(server, socketPath);
}

/** RECEIVER_UNREACHABLE when none runs here. Both ends are this build's: the answer is taken as it is. */
export async function askReceiver(socketPath: string): Promise<ReceiverStatus> {
  try {
    return await new Promise((resolve, reject) => {
      const sent = request({ socketPath, path: '/status', agent: false, timeout: ANSWER_WITHIN_MS }, (response) => {
        json(response).then((answer) => resolve(answer as ReceiverStatus), reject);
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
      sent.on('error', reject);
      sent.end();
    });
  } catch (cause) {
    const why = messageOf(cause);
    throw new HoldfastError('RECEIVER_UNREACHABLE', `no receiver runs in this installation: ${why}`, { socket: socketPath }, cause);
  }
}

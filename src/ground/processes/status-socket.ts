/**
 * What an operator asks a process of this machine, over a Unix socket that only its user can open: `GET /status`, a JSON document. Both ends are this
 * build's: the answer is taken as it is.
 */
import { createServer, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { listenPrivately } from './control-socket.ts';

const ANSWER_WITHIN_MS = 10_000;

/** The caller has made sure that no other process is alive on the socket. */
export async function serveStatus(socketPath: string, status: () => object): Promise<AsyncDisposable> {
  const server = createServer(({ method, url }, response) => {
    const isKnown = method === 'GET' && url === '/status';
    const body = isKnown ? status() : { code: 'ARGUMENT_INVALID', message: 'what is known here is GET /status' };
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  return listenPrivately(server, socketPath);
}

/** Rejects with whatever stands against it, when nobody answers. */
export async function askStatus(socketPath: string): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/status', agent: false, timeout: ANSWER_WITHIN_MS }, (response) => {
      json(response).then(resolve, reject);
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end();
  });
}

/** What comes back of a request, for whoever asks a server that it does not trust. */
import type { ClientRequest, IncomingMessage } from 'node:http';

/** What a peer says in words goes to somebody's terminal: without anything that would steer it. */
export const printable = (words: string): string => words.replace(/\p{C}+/gu, ' ');

export const responseTo = (request: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request.once('response', resolve).once('error', reject);
    request.once('close', () => reject(new Error('the connection was closed')));
  });

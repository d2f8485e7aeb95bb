/**
 * Free ports of the loopback interface.
 *
 * Between being found free and being bound by the server a port can be taken by somebody else: rare, and then the server
 * ends while it starts, with a message that says so. All ports of one call differ, because they are held until all are found.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server } from 'node:net';

export const LOOPBACK = '127.0.0.1';

async function listen(port: number): Promise<Server | null> {
  const server = createServer();
  server.listen(port, LOOPBACK);
  return once(server, 'listening').then(
    () => server,
    () => null,
  );
}

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};

/** One free port for each wish: the port wished for if it is free, else any (a wish of 0 is for any). */
export async function freePorts<const Wishes extends readonly number[]>(wishes: Wishes): Promise<{ -readonly [K in keyof Wishes]: number }>;
export async function freePorts(wishes: readonly number[]): Promise<readonly number[]> {
  const held: Server[] = [];
  try {
    for (const wish of wishes) {
      const server = (await listen(wish)) ?? (await listen(0));
      if (server !== null) held.push(server);
    }
    return held.map(portOf);
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

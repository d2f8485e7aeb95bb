/**
 * Free ports of the loopback interface.
 *
 * Between being found free and being bound by the server a port can be taken by somebody else: rare, and then the server
 * ends while it starts, with a message that says so. Rare because they lie below those that the kernel gives to outgoing connections (from
 * 32,768 on): one of these may take any of its ports at any time, also that of a server which is started again at its old one.
 * All ports of one call differ, because they are held until all are found.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server } from 'node:net';

export const LOOPBACK = '127.0.0.1';

const PORTS = { from: 12_000, below: 32_768 } as const;
const TRIES = 50;

async function listen(port: number): Promise<Server | null> {
  const server = createServer();
  server.listen(port, LOOPBACK);
  return once(server, 'listening').then(
    () => server,
    () => null,
  );
}

/** At any port that is free. */
async function listenAnywhere(): Promise<Server | null> {
  for (let tries = 0; tries < TRIES; tries++) {
    const server = await listen(randomInt(PORTS.from, PORTS.below));
    if (server !== null) return server;
  }
  return listen(0);
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
      const server = (wish === 0 ? null : await listen(wish)) ?? (await listenAnywhere());
      if (server !== null) held.push(server);
    }
    return held.map(portOf);
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

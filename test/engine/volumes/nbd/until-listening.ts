/** A server of somebody else's is there when it listens: its socket is in the folder a moment before that, and refuses who comes then. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** As the kernel lists sockets (proc_pid_net(5)): number, references, protocol, flags, type, state, inode, path. */
const FLAGS = 3;
const LISTENS = '00010000';

const listens = (socket: string): boolean =>
  readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => line.endsWith(` ${socket}`) && line.split(/\s+/)[FLAGS] === LISTENS);

export async function untilListening(socket: string): Promise<void> {
  while (!listens(socket)) await sleep(10);
}

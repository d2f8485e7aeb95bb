/** A receiver, or another server of the product, as a process of its own, over real sockets, that can be killed and started again at the same port. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { workerArguments, type ProcessRole } from '../../../src/faces/cli/worker-entry.ts';
import { freePorts } from '../../../src/faces/stack/ports.ts';
import type { Variables } from '../../../src/ground/configuration/configuration.ts';

const READY = 'the receiver is serving';
const READY_WITHIN_MS = 60_000;

export interface ReceiverProcess {
  readonly log: () => string;
  readonly exit: Promise<readonly [number | null, NodeJS.Signals | null]>;
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<readonly [number | null, NodeJS.Signals | null]>;
}

/** Not waited for until it serves: it may refuse to. */
export const spawnReceiver = (variables: Variables): StartedProcess => spawnServer('receiver', READY, variables);

export type StartedProcess = ReceiverProcess & { readonly ready: Promise<void> };

/** `readyWhen`: what it says when it serves. */
export function spawnServer(role: ProcessRole, readyWhen: string, variables: Variables): StartedProcess {
  const child = spawn(process.execPath, [...workerArguments(role)], { env: variables, stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  let log = '';
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  void exit.then(() => process.off('exit', kill));
  const ready = new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${role} within ${READY_WITHIN_MS} ms: ${log}`)), READY_WITHIN_MS);
    child.stderr.on('data', (text: Buffer) => {
      log += text.toString();
      if (!log.includes(readyWhen)) return;
      clearTimeout(late);
      resolve();
    });
    void exit.then(([status]) => {
      clearTimeout(late);
      reject(new Error(`the ${role} ended with ${status}: ${log}`));
    });
  });
  ready.catch(() => undefined);
  return {
    ready,
    exit,
    log: () => log,
    end(signal) {
      child.kill(signal);
      return exit;
    },
  };
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts([0]);
  return port;
}

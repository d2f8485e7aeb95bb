/** A worker in the foreground, with this terminal; the command ends as the worker ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Variables } from '../../ground/configuration/configuration.ts';
import type { Session } from './session.ts';
import { workerVariables } from './standing-configuration.ts';
import { workerArguments, type ProcessRole } from './worker-entry.ts';

/** `chosen`: variables that the command's options stand for; undefined ones change nothing. */
export async function runWorker(session: Session, role: ProcessRole, chosen: Variables): Promise<void> {
  const given = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined));
  const env = { ...workerVariables(await session.configuration(), session.variables), ...given };
  const child = spawn(process.execPath, workerArguments(role), { stdio: 'inherit', env });
  // Ctrl-C reaches the worker by itself; a service manager tells this process, which passes it on.
  const ignore = session.terminal.onInterrupt(() => undefined);
  const pass = (): void => void child.kill('SIGTERM');
  process.on('SIGTERM', pass);
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    session.fail(code ?? 1);
  } finally {
    process.off('SIGTERM', pass);
    ignore();
  }
}

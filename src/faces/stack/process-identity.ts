/**
 * Tells a process from another one that was given its pid later.
 *
 * A pid alone says nothing after a crash or a restart of the machine: whoever has it now would be killed by `holdfast down`. A pid
 * together with the moment its process began (and, on Linux, the boot in which it did) names one process for good.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';

export const ProcessIdentity = z.object({ pid: z.int().positive(), began: z.string().min(1) }).readonly();
export type ProcessIdentity = z.infer<typeof ProcessIdentity>;

const POLL_MS = 50;
/** Positions in /proc/<pid>/stat, counted after the command's name, which may itself hold blanks and brackets. */
const STAT_STATE = 0;
const STAT_START_TICKS = 19;

const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);

async function beganOnLinux(pid: number): Promise<string | null> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ended = fields[STAT_STATE] === 'Z' || fields[STAT_STATE] === 'X';
    return ended ? null : `${boot.trim()} ${fields[STAT_START_TICKS] ?? ''}`;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}

async function beganByPs(pid: number): Promise<string | null> {
  const answer = await promisify(execFile)('ps', ['-o', 'stat=,lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  const [state, ...began] = answer.stdout.trim().split(/\s+/);
  return began.length === 0 || state?.startsWith('Z') === true ? null : began.join(' ');
}

/** Who has this pid now; null when nobody runs under it. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  const began = process.platform === 'linux' ? await beganOnLinux(pid) : await beganByPs(pid);
  return began === null ? null : { pid, began };
}

export const isAlive = async ({ pid, began }: ProcessIdentity): Promise<boolean> => (await identify(pid))?.began === began;

async function signal(identity: ProcessIdentity, name: 'SIGTERM' | 'SIGKILL', withinMs: number): Promise<boolean> {
  if (!(await isAlive(identity))) return true;
  try {
    process.kill(identity.pid, name);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
  const deadlineMs = performance.now() + withinMs;
  while (performance.now() < deadlineMs) {
    if (!(await isAlive(identity))) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Ends exactly this process: SIGTERM, then SIGKILL. False: it did not run any more. */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<boolean> {
  if (!(await isAlive(identity))) return false;
  if (!(await signal(identity, 'SIGTERM', graceMs))) await signal(identity, 'SIGKILL', graceMs);
  return true;
}

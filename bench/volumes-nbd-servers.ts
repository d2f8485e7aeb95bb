/** The servers that the NBD bench compares, each in a process of its own on a Unix socket; and fio, which puts load on one. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ServerAnswer, ServerOrder } from './volumes-nbd-server.ts';

export type ServerName = 'ours' | 'nbdkit' | 'qemu-nbd';

const EXPORTS: Readonly<Record<ServerName, string>> = { ours: 'disk', nbdkit: '', 'qemu-nbd': 'disk' };

/** As it says it; null: it is not on this machine. */
export function versionOf(program: string): string | null {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? (/\d+\.\d+[\d.]*/.exec(stdout)?.[0] ?? '') : null;
}

function start(name: ServerName, image: string, socket: string, folder: string): ChildProcess {
  switch (name) {
    case 'ours': {
      const args = [path.join(import.meta.dirname, 'volumes-nbd-server.ts'), image, socket, path.join(folder, 'state')];
      return spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    }
    case 'nbdkit':
      return spawn('nbdkit', ['-f', '-U', socket, 'file', image], { stdio: 'inherit' });
    case 'qemu-nbd':
      return spawn('qemu-nbd', ['-t', '-e', '8', '-k', socket, '-f', 'raw', '-x', 'disk', image], { stdio: 'inherit' });
  }
}

export interface RunningServer extends AsyncDisposable {
  readonly socket: string;
  readonly uri: string;
  /** Its processor time so far, in milliseconds. */
  cpuMs(): number;
  /** Ours alone takes orders; the milliseconds that one took. */
  order(order: ServerOrder): Promise<number>;
}

/** Ticks of /proc/PID/stat are hundredths of a second. */
const TICK_MS = 10;
const READY_MS = 200;

export async function runServer(name: ServerName, image: string, folder: string): Promise<RunningServer> {
  const socket = path.join(folder, `${name}.sock`);
  const child = start(name, image, socket, folder);
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`${name} has ended`);
    await sleep(20);
  }
  await sleep(READY_MS);
  return {
    socket,
    uri: `nbd+unix:///${EXPORTS[name]}?socket=${socket}`,
    cpuMs() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    },
    async order(order) {
      const answered = once(child, 'message') as Promise<[ServerAnswer]>;
      child.send(order);
      return (await answered)[0].ms;
    },
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      rmSync(socket, { force: true });
    },
  };
}

export interface Load {
  readonly name: string;
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
}

interface FioJob {
  readonly read: { readonly iops: number };
  readonly write: { readonly iops: number };
}

/** Operations a second. */
export async function fio(uri: string, of: Load, seconds: number, folder: string, more: readonly string[] = []): Promise<number> {
  const { stdout } = await promisify(execFile)(
    'fio',
    [
      ...['--name=bench', '--ioengine=nbd', `--uri=${uri}`, `--rw=${of.rw}`, `--bs=${of.blockBytes}`, `--iodepth=${of.depth}`],
      ...['--time_based', `--runtime=${seconds}`, '--output-format=json', ...more],
    ],
    { cwd: folder },
  );
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly FioJob[] };
  return Math.max(...jobs.map((job) => Math.max(job.read.iops, job.write.iops)));
}

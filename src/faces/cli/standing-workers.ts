/**
 * The workers that `holdfast up` starts and `holdfast down` stops: a controller, a node, a disk server and an archiver of tables, detached.
 *
 * Beside the stack's own notes lies one a worker, with the process it means (pid and moment of its beginning, so nobody else is
 * ever stopped for it). A worker is ready when Temporal sees it poll: its identity ends in its pid; a disk server when it answers. Changed under the stack's
 * lock, so that two `up` at once start one of each.
 */
import path from 'node:path';
import { z } from 'zod';
import { isHoldfastError } from '../../domain/errors.ts';
import { hostQueue, QUEUE, QUEUE_TABLES } from '../../domain/jobs.ts';
import { openHost } from '../../engine/volumes/host.ts';
import type { Configuration, Variables } from '../../ground/configuration/configuration.ts';
import { readNote, writeNote } from '../../ground/notes/note.ts';
import { freePorts } from '../stack/ports.ts';
import { endProcess, identify, isAlive, ProcessIdentity } from '../stack/process-identity.ts';
import { withProcessLock } from '../../ground/processes/process-lock.ts';
import { ServerProcess } from '../stack/server-process.ts';
import type { JobClient } from './jobs.ts';
import { workerVariables } from './standing-configuration.ts';
import { workerArguments, type WorkerRole } from './worker-entry.ts';

const NoteSchema = z.object({ format: z.literal(1), process: ProcessIdentity.nullable(), metricsPort: z.int().nullable() }).readonly();
type Note = z.infer<typeof NoteSchema>;

export interface WorkerStatus {
  readonly worker: WorkerRole;
  readonly state: 'running' | 'stopped';
  readonly pid: number | null;
  readonly metricsUrl: string | null;
  readonly logFile: string;
}

const STOP_GRACE_MS = 15_000;
/** A bundle of workflows takes 3 s, ten times that on a busy machine. */
const READY_WITHIN_MS = 60_000;
/** Prometheus knows 9464 as the port of OpenTelemetry exporters. */
const METRICS_PORTS = { controller: 9464, node: 9465, disks: 9466, tables: 9467 } as const;
const METRICS_HOST = '127.0.0.1';

const filesOf = (folder: string, role: WorkerRole) => ({
  note: path.join(folder, 'stack', `worker-${role}.json`),
  log: path.join(folder, 'stack', `worker-${role}.log`),
  lock: path.join(folder, 'stack', 'workers.lock'),
});

const readWorkerNote = async (folder: string, role: WorkerRole): Promise<Note> =>
  (await readNote(filesOf(folder, role).note, NoteSchema, 'stop the worker by hand and remove the file')) ?? {
    format: 1,
    process: null,
    metricsPort: null,
  };

const writeWorkerNote = (folder: string, role: WorkerRole, note: Note): Promise<void> => writeNote(filesOf(folder, role).note, note);

export async function workerStatus({ folder }: Configuration, role: WorkerRole): Promise<WorkerStatus> {
  const { process: noted, metricsPort } = await readWorkerNote(folder, role);
  const running = noted !== null && (await isAlive(noted));
  return {
    worker: role,
    state: running ? 'running' : 'stopped',
    pid: running ? noted.pid : null,
    metricsUrl: running && metricsPort !== null ? `http://${METRICS_HOST}:${metricsPort}/metrics` : null,
    logFile: filesOf(folder, role).log,
  };
}

function queueOf(role: Exclude<WorkerRole, 'disks'>, host: string): { readonly queue: string; readonly kind: 'workflow' | 'activity' } {
  switch (role) {
    case 'controller':
      return { queue: QUEUE, kind: 'workflow' };
    case 'node':
      return { queue: hostQueue(host), kind: 'activity' };
    case 'tables':
      return { queue: QUEUE_TABLES, kind: 'activity' };
  }
}

/** Temporal sees it poll; the disk server, which Temporal does not know, answers. */
async function isServing({ folder, host }: Configuration, role: WorkerRole, identity: string | null, jobs: JobClient): Promise<boolean> {
  if (role !== 'disks') {
    const { queue, kind } = queueOf(role, host);
    return (await jobs.pollers(queue, kind)).some((poller) => poller.identity === identity);
  }
  const answer = await openHost(host, folder)
    .disks.list()
    .catch((error: unknown) => error);
  return !isHoldfastError(answer, 'DISKS_NOT_SERVED');
}

async function start(configuration: Configuration, role: WorkerRole, variables: Variables, jobs: JobClient): Promise<void> {
  const { folder, host } = configuration;
  const [metricsPort] = await freePorts([METRICS_PORTS[role]]);
  let identity: string | null = null;
  const recordPid = async (pid: number): Promise<void> => {
    identity = `${role}@${host}/${pid}`;
    await writeWorkerNote(folder, role, { format: 1, process: await identify(pid), metricsPort });
  };
  await ServerProcess.start({
    name: role,
    command: process.execPath,
    args: workerArguments(role),
    env: {
      ...workerVariables(configuration, variables),
      // A port of its own each, whatever the environment says for one worker.
      HOLDFAST_METRICS_PORT: String(metricsPort),
    },
    logFile: filesOf(folder, role).log,
    lifetime: { recordPid },
    isReady: () => isServing(configuration, role, identity, jobs),
    readyWithinMs: READY_WITHIN_MS,
    disposable: false,
  });
}

export interface StandingOptions {
  readonly configuration: Configuration;
  readonly roles: readonly WorkerRole[];
  readonly say: (line: string) => void;
}

const locked = <T>({ configuration, say }: StandingOptions, work: () => Promise<T>): Promise<T> =>
  withProcessLock(filesOf(configuration.folder, 'node').lock, () => say('another `holdfast up` or `down` is at work; waiting'), work);

/** Starts those that do not run; `restart` those that do, too. */
export const workersUp = (
  options: StandingOptions & { readonly variables: Variables; readonly jobs: JobClient; readonly restart: boolean },
): Promise<readonly WorkerStatus[]> =>
  locked(options, async () => {
    const { configuration, roles, variables, jobs, restart, say } = options;
    for (const role of roles) {
      if (restart) await stop(configuration, role);
      if ((await workerStatus(configuration, role)).state === 'running') continue;
      say(`starting the ${role}`);
      await start(configuration, role, variables, jobs);
    }
    return Promise.all(roles.map((role) => workerStatus(configuration, role)));
  });

async function stop({ folder }: Configuration, role: WorkerRole): Promise<boolean> {
  const note = await readWorkerNote(folder, role);
  if (note.process === null) return false;
  const stopped = await endProcess(note.process, STOP_GRACE_MS);
  await writeWorkerNote(folder, role, { ...note, process: null });
  return stopped;
}

/** Stops what `up` started; says what was stopped. */
export const workersDown = (options: StandingOptions): Promise<readonly WorkerRole[]> =>
  locked(options, async () => {
    const stopped: WorkerRole[] = [];
    for (const role of options.roles) if (await stop(options.configuration, role)) stopped.push(role);
    return stopped;
  });

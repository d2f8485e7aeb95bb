/**
 * The cast of the scenes with Temporal: a real server on a file, the real worker processes, an S3 server, two slow stores.
 *
 * Each of them can be killed and comes back as an operator would bring it back: the same file and port, the same folder, a new
 * process. Slow stores make a job long enough to be met in its middle.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { JOB_IDS, QUEUE, type JobInputs, type JobKind } from '../../src/domain/jobs.ts';
import type { FinderOptions } from '../../src/faces/stack/component.ts';
import { startTemporal, type RunningTemporal } from '../../src/faces/stack/temporal.ts';
import { initialiseFileStore } from '../../src/ground/stores/file-root.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { createInstallation, HOST, type Installation } from '../systems/installation.ts';
import { startFaultServer, type FaultServer } from './server.ts';

export type Role = 'node' | 'controller';

export interface Cast extends AsyncDisposable {
  readonly installation: Installation;
  readonly threads: Threads;
  readonly client: Client;
  readonly s3: FaultServer;
  start<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<WorkflowHandle>;
  /** SIGKILL; resolves when the process is gone. */
  kill(role: Role): Promise<void>;
  /** Ctrl-C; resolves with the exit status. */
  interrupt(role: Role): Promise<number | null>;
  begin(role: Role): void;
  killTemporal(): Promise<void>;
  beginTemporal(): Promise<void>;
  /** Waits until a store holds so many packs of a repository. */
  packsIn(store: string, repository: string, count: number): Promise<void>;
  logOf(role: Role): string;
}

/** Bytes a second that the stores take: `slow` is met in its middle, `crawl` outlasts the grace of a worker that is asked to stop. */
const PACES = { slow: 4 * 1024 * 1024, crawl: 1280 * 1024 } as const;
const ROOT = path.join(import.meta.dirname, '../..');
/** The first wait takes the start of the workers, and the bundle of the workflows. */
const WAIT_MS = 90_000;

export async function raiseCast(finder: FinderOptions): Promise<Cast> {
  await using stack = new AsyncDisposableStack();
  const served = await mkdtemp(path.join(tmpdir(), 'hf-faults-s3-'));
  stack.defer(() => rm(served, { recursive: true, force: true }));
  const s3 = stack.use(await startFaultServer(served, finder));
  const installation = stack.use(await createInstallation({ variables: s3.variables }));
  const { folder } = installation;
  const dataFile = path.join(folder, 'temporal.db');
  const logFile = path.join(folder, 'temporal.log');
  let temporal: RunningTemporal = await startTemporal({ dataFile, logFile }, finder);
  stack.defer(() => temporal.kill());
  const port = Number(temporal.address.split(':').at(-1));
  const threads = stack.use(new Threads({ count: 1 }));
  await installation.addStore('fast');
  for (const [store, bytesPerSecondMax] of Object.entries(PACES)) {
    await initialiseFileStore(installation.storeFolder(store));
    await installation.addStore(store, { bytesPerSecondMax, url: `file://${installation.storeFolder(store)}` });
  }
  await installation.addStore('s3', s3.place('s3'));
  const connection = await Connection.connect({ address: temporal.address });
  stack.defer(() => connection.close());
  const client = new Client({ connection, namespace: temporal.namespace });

  const workers = new Map<Role, ChildProcess>();
  const logOf = (role: Role): string => path.join(folder, `${role}.log`);
  const begin = (role: Role): void => {
    const log = openSync(logOf(role), 'a');
    const host = role === 'node' ? HOST : 'elsewhere';
    const env = { ...installation.variables, HOLDFAST_TEMPORAL_ADDRESS: temporal.address, HOLDFAST_HOST: host };
    const child = spawn(process.execPath, [path.join(ROOT, `workers/${role}.ts`)], { env, stdio: ['ignore', log, log] });
    closeSync(log);
    workers.set(role, child);
  };
  const end = async (role: Role, signal: 'SIGKILL' | 'SIGINT'): Promise<number | null> => {
    const child = workers.get(role);
    if (!child || child.exitCode !== null || child.signalCode !== null) return null;
    const exit = once(child, 'exit');
    child.kill(signal);
    const [status] = (await exit) as [number | null];
    return status;
  };
  stack.defer(async () => {
    for (const role of workers.keys()) await end(role, 'SIGKILL');
  });
  // A starter that ends in haste takes them along.
  const endAll = (): void => {
    for (const child of workers.values()) child.kill('SIGKILL');
  };
  process.once('exit', endAll);
  stack.defer(() => void process.off('exit', endAll));
  const lasting = stack.move();

  return {
    ...{ installation, threads, client, s3, begin, logOf },
    start: (kind, input) =>
      client.workflow.start(kind, {
        workflowId: JOB_IDS[kind](input as never),
        taskQueue: QUEUE,
        args: [input],
        workflowIdConflictPolicy: 'USE_EXISTING',
      }),
    kill: async (role) => void (await end(role, 'SIGKILL')),
    interrupt: (role) => end(role, 'SIGINT'),
    killTemporal: () => temporal.kill(),
    async beginTemporal() {
      temporal = await startTemporal({ dataFile, logFile, port }, finder);
    },
    async packsIn(store, repository, count) {
      const place = path.join(installation.storeFolder(store), 'repositories', repository, 'a');
      for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline; await sleep(25))
        if (packsBelow(place) >= count) return;
      throw new Error(`${store} has not got ${count} packs of ${repository}`);
    },
    [Symbol.asyncDispose]: () => lasting.disposeAsync(),
  };
}

function packsBelow(place: string): number {
  try {
    return readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((name) => /-p[0-9a-f]{4}$/.test(name)).length;
  } catch {
    // Not made yet.
    return 0;
  }
}

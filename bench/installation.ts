/**
 * An installation as a user has one, for the bench: Temporal, a controller and a node as processes, folder stores.
 *
 * What is timed is a workflow from its start to its result, so the figures include everything that a user waits for except
 * the command line itself. The node's peak memory is the kernel's (VmHWM).
 */
import { randomBytes } from 'node:crypto';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { repositoryName, storeName, volumeName } from '../src/domain/ids.ts';
import { QUEUE, STATUS_QUERY, type JobInputs, type JobKind, type JobResults, type JobStatus } from '../src/domain/jobs.ts';
import { workerFlags, type ProcessRole } from '../src/faces/cli/worker-entry.ts';
import { openHome, type Home } from '../src/engine/catalog/home.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import { readStackEnvironment } from '../src/faces/stack/environment.ts';
import { stderrProgress } from '../src/faces/stack/progress.ts';
import { startTemporal } from '../src/faces/stack/temporal.ts';

export interface Timed<T> {
  readonly seconds: number;
  readonly result: T;
}

export interface Installation extends AsyncDisposable {
  readonly folder: string;
  readonly home: Home;
  addStore(name: string): Promise<string>;
  addVolume(
    name: string,
    image: string,
    stores: readonly string[],
    options?: { readonly extentBytes?: number; readonly group?: string },
  ): Promise<void>;
  /** `beside`: something else goes on, which a sync of the disk before the clock would disturb. */
  run<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind], beside?: boolean): Promise<Timed<JobResults[Kind]>>;
  start<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<void>;
  /** Peak resident memory of the node since its start, in MiB. */
  nodePeakMib(): number;
  /** A new node process, so that its peak begins anew. */
  restartNode(): Promise<void>;
  /** A disk server, and its peak resident memory in MiB. */
  startDisks(): Promise<{ peakMib(): number }>;
  /** A worker that archives tables. */
  startTables(): { peakMib(): number };
  /** What a job serves, as soon as it does. */
  served<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<{ readonly uri: string; ended(): Promise<JobResults[Kind]> }>;
}

const HOST = 'bench';
const PASSPHRASE = 'a passphrase of the bench';

/** Before a clock starts: nobody pays for what somebody else has left to be written. */
export const settleDisk = (): void => void execFileSync('sync');

const node = createRequire(import.meta.url)
  .resolve('../package.json')
  .replace('package.json', 'node_modules/.bin/node');
const script = (name: string): string => path.join(import.meta.dirname, '..', 'workers', `${name}.ts`);

/** The home of a bench's folder, for what is done in its own process; each with a cache of its own. */
export const openBenchHome = (folder: string, cache: string): Promise<Home> =>
  openHome({
    ...{ url: `file://${folder}/home`, passphrase: 'env:HOLDFAST_PASSPHRASE', cacheDir: path.join(folder, cache) },
    variables: { ...process.env, HOLDFAST_PASSPHRASE: PASSPHRASE },
    environment: {
      writer: 'bench',
      nowMs: () => Date.now(),
      random: (n) => randomBytes(n),
      sleep: (ms) => sleep(ms),
      alarm: (message) => process.stderr.write(`${message}\n`),
    },
  });

export async function openInstallation(folder: string): Promise<Installation> {
  mkdirSync(folder, { recursive: true });
  const stack = new AsyncDisposableStack();
  const temporal = stack.use(
    await startTemporal(
      { namespace: 'holdfast', logFile: path.join(folder, 'temporal.log') },
      { environment: readStackEnvironment(process.env), progress: stderrProgress },
    ),
  );
  const variables = {
    ...process.env,
    ...{ HOLDFAST_HOME: folder, HOLDFAST_HOST: HOST, HOLDFAST_PASSPHRASE: PASSPHRASE },
    ...{ HOLDFAST_TEMPORAL_ADDRESS: temporal.address, UV_THREADPOOL_SIZE: '8' },
  };
  const home = stack.use(await openBenchHome(folder, 'bench-cache'));
  const spawnWorker = (name: ProcessRole): ChildProcess => {
    const log = openSync(path.join(folder, `${name}.log`), 'a');
    return spawn(node, [...workerFlags(name), script(name)], { env: variables, stdio: ['ignore', log, log] });
  };
  const end = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGTERM');
    for (let waited = 0; child.exitCode === null && child.signalCode === null && waited < 10_000; waited += 50) await sleep(50);
    child.kill('SIGKILL');
  };
  const controller = spawnWorker('controller');
  let host = spawnWorker('node');
  stack.defer(() => end(controller));
  stack.defer(() => end(host));
  const connection = await Connection.connect({ address: temporal.address });
  stack.defer(() => connection.close());
  const client = new Client({ connection, namespace: 'holdfast' });
  let serial = 0;
  const jobId = (kind: JobKind): string => `${kind}.${++serial}`;
  const installation: Installation = {
    folder,
    home,
    async addStore(name) {
      const root = path.join(folder, 'stores', name);
      mkdirSync(root, { recursive: true });
      await initialiseFileStore(root);
      const store = { name: storeName(name), url: `file://${root}`, endpoint: null, region: null, credentials: null };
      await home.catalog.append(() => ({
        kind: 'STORE_ADD',
        store: { ...store, passphrase: 'env:HOLDFAST_PASSPHRASE', codec: 'zstd-1', bytesPerSecondMax: null },
      }));
      return root;
    },
    async addVolume(name, image, stores, { extentBytes = 256 * 1024, group = name } = {}) {
      const volume = { name: volumeName(name), incarnation: 1, node: HOST, path: image, extentBytes, stores: stores.map(storeName) };
      await home.catalog.append(() => ({ kind: 'VOLUME_ADD', volume: { ...volume, repository: repositoryName(group), retired: false } }));
    },
    async run(kind, input, beside = false) {
      if (!beside) settleDisk();
      const begun = performance.now();
      const result: JobResults[typeof kind] = await client.workflow.execute(kind, {
        workflowId: jobId(kind),
        taskQueue: QUEUE,
        args: [input],
      });
      return { seconds: (performance.now() - begun) / 1000, result };
    },
    async start(kind, input) {
      await client.workflow.start(kind, { workflowId: jobId(kind), taskQueue: QUEUE, args: [input] });
    },
    nodePeakMib: () => peakMibOf(host),
    async startDisks() {
      const disks = spawnWorker('disks');
      stack.defer(() => end(disks));
      for (const socket = path.join(folder, 'disks', 'control.sock'); !existsSync(socket);) await sleep(50);
      return { peakMib: () => peakMibOf(disks) };
    },
    startTables() {
      const tables = spawnWorker('tables');
      stack.defer(() => end(tables));
      return { peakMib: () => peakMibOf(tables) };
    },
    async served(kind, input) {
      const handle = await client.workflow.start(kind, { workflowId: jobId(kind), taskQueue: QUEUE, args: [input] });
      for (;;) {
        const { uris } = await handle.query<JobStatus>(STATUS_QUERY);
        const [uri] = uris;
        // What a workflow returns is what jobs.ts says of its kind.
        if (uri !== undefined) return { uri, ended: () => handle.result() as never };
        await sleep(10);
      }
    },
    async restartNode() {
      await end(host);
      host = spawnWorker('node');
      await sleep(3000);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  await sleep(6000);
  return installation;
}

const peakMibOf = (child: ChildProcess): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${childOf(child.pid ?? 0)}/status`, 'utf8'))?.[1] ?? 0) / 1024);

/** The worker behind npm's launcher: the process itself where `node` is a binary. */
function childOf(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    return children.length === 1 ? Number(children[0]) : pid;
  } catch {
    return pid;
  }
}

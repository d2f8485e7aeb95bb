/**
 * The installation that the demo runs on: a Temporal server and two workers, all processes of this session on free loopback
 * ports, ended with it however it ends; and the environment of every command that talks to them.
 *
 * Secrets are made for the one run and travel in the environment: one passphrase for the catalog and one for each store, so
 * that a store is restored with its own address and its own passphrase and nothing else.
 */
import { readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';
import { workerArguments, type WorkerRole } from '../cli/worker-entry.ts';
import { ensureTemporal } from '../stack/components.ts';
import { readStackEnvironment, type StackEnvironment } from '../stack/environment.ts';
import type { Progress } from '../stack/progress.ts';
import { ServerProcess } from '../stack/server-process.ts';
import { startTemporal, type RunningTemporal } from '../stack/temporal.ts';
import { STORES, type DemoFolder, type DemoStore } from './demo-folder.ts';

type Variables = Readonly<Record<string, string | undefined>>;

export const VOLUME = 'volume';
const HOST = 'demo';
const CONTROLLER_HOST = 'outside';

/** What a worker logs when it is ready. */
const READY: Readonly<Record<WorkerRole, string>> = {
  controller: '"controller is serving"',
  node: '"node is serving"',
  disks: '"disks are served"',
  tables: '"tables is serving"',
};
const READY_WITHIN_MS = 60_000;
const WATCH_MS = 1_000;

export const passphraseVariable = (store: DemoStore): string => `${store.toUpperCase()}_PASSPHRASE`;
export const storeUrl = (folder: DemoFolder, store: DemoStore): string => `file://${folder.store(store)}`;

export interface InstallationOptions {
  readonly folder: DemoFolder;
  readonly variables: Variables;
  readonly ui: boolean;
  readonly secret: () => string;
  /** A worker has ended that nobody has ended. */
  readonly onDeath: (error: HoldfastError) => void;
  readonly progress: Progress;
}

export class Installation implements AsyncDisposable {
  readonly stack: StackEnvironment;
  readonly secrets: Readonly<Record<string, string>>;
  readonly #options: InstallationOptions;
  #temporal: RunningTemporal | null = null;
  readonly #workers = new Map<WorkerRole, ServerProcess>();
  readonly #watch: NodeJS.Timeout;
  #started = 0;

  constructor(options: InstallationOptions) {
    this.#options = options;
    this.#watch = setInterval(() => this.#lookForDead(), WATCH_MS).unref();
    this.stack = readStackEnvironment(options.variables);
    this.secrets = Object.fromEntries(['HOLDFAST_PASSPHRASE', ...STORES.map(passphraseVariable)].map((name) => [name, options.secret()]));
  }

  get temporal(): RunningTemporal {
    if (this.#temporal === null) throw new HoldfastError('INTERNAL', 'the demo asks for a Temporal server that it has not started');
    return this.#temporal;
  }

  /** What a machine has that knows nothing of Holdfast; its home is empty. */
  get bareVariables(): Variables {
    const { variables, folder } = this.#options;
    const foreign = Object.entries(variables).filter(([name]) => !/^(HOLDFAST|TEMPORAL|AWS)_/.test(name));
    return { ...Object.fromEntries(foreign), HOME: folder.inside('nobody'), HOLDFAST_HOME: folder.inside('nobody') };
  }

  /** Of commands and workers. */
  get variables(): Variables {
    return { ...this.bareVariables, ...this.secrets, ...this.settings };
  }

  /** What they need beside the secrets. */
  get settings(): Readonly<Record<string, string>> {
    return {
      HOLDFAST_HOME: this.#options.folder.home,
      HOLDFAST_HOST: HOST,
      ...(this.#temporal === null
        ? {}
        : { HOLDFAST_TEMPORAL_ADDRESS: this.#temporal.address, HOLDFAST_TEMPORAL_NAMESPACE: this.#temporal.namespace }),
    };
  }

  /** On data of its own, or on what is left of another time. */
  async startTemporal(dataFile = this.#options.folder.temporalData): Promise<void> {
    const { folder, ui, progress } = this.#options;
    this.#temporal = await startTemporal(
      {
        namespace: 'holdfast',
        dataFile,
        logFile: path.join(folder.logs, 'temporal.log'),
        ...(ui ? { ui: 'free' } : {}),
      },
      { environment: this.stack, progress },
    );
  }

  async stopTemporal(): Promise<void> {
    await this.#temporal?.stop();
    this.#temporal = null;
  }

  /** Temporal's own command: what a sceptic asks. */
  async temporalCommand(): Promise<string> {
    return (await ensureTemporal({ environment: this.stack, progress: this.#options.progress })).path;
  }

  /** Takes the server's data from it; what it held can still be looked at. */
  async wipeTemporal(): Promise<void> {
    await this.stopTemporal();
    const { temporalData, temporalDataBefore: before } = this.#options.folder;
    for (const suffix of ['', '-wal', '-shm'])
      await rename(temporalData + suffix, before + suffix).catch((error: unknown) => {
        if (suffix === '' || !(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
      });
  }

  async startWorker(role: WorkerRole): Promise<ServerProcess> {
    const logFile = path.join(this.#options.folder.logs, `${role}-${++this.#started}.log`);
    const worker = await ServerProcess.start({
      name: role,
      command: process.execPath,
      args: workerArguments(role),
      // Another host: a controller that shared the node's would also do its work, and nobody would miss a killed node.
      env: role === 'controller' ? { ...this.variables, HOLDFAST_HOST: CONTROLLER_HOST } : this.variables,
      logFile,
      lifetime: 'session',
      isReady: async () => (await readFile(logFile, 'utf8')).includes(READY[role]),
      readyWithinMs: READY_WITHIN_MS,
      // What it is doing goes on elsewhere or is done again: that is what is shown.
      disposable: true,
    });
    this.#workers.set(role, worker);
    return worker;
  }

  worker(role: WorkerRole): ServerProcess {
    const worker = this.#workers.get(role);
    if (worker === undefined) throw new HoldfastError('INTERNAL', `the demo asks for a ${role} that it has not started`);
    return worker;
  }

  #lookForDead(): void {
    for (const [role, worker] of this.#workers) {
      if (worker.isRunning) continue;
      this.#workers.delete(role);
      this.#options.onDeath(
        new HoldfastError('INTERNAL', `the ${role} has ended by itself; --keep leaves its log in ${this.#options.folder.logs}`, { role }),
      );
    }
  }

  /** kill -9. */
  async killWorker(role: WorkerRole): Promise<number> {
    const worker = this.worker(role);
    this.#workers.delete(role);
    await worker.kill();
    return worker.pid;
  }

  async stopWorker(role: WorkerRole): Promise<void> {
    const worker = this.worker(role);
    this.#workers.delete(role);
    await worker.stop();
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    this.#workers.clear();
    await this.stopTemporal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    await this.stopAll();
  }
}

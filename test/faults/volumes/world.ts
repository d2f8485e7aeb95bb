/**
 * The world of one run: an installation in a folder with two stores, the real disk server on it, and the disks with their models.
 *
 * The server is ended and begun again here, so that every model learns of it between the last answer of the old server and the
 * first of the new one.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { repositoryName, storeName, volumeName, type StoreName, type VolumeName } from '../../../src/domain/ids.ts';
import { CATALOG_PREFIX, openStoreOf, repositoryPrefix, type Home } from '../../../src/engine/catalog/home.ts';
import { ensureRepository } from '../../../src/engine/repository/format.ts';
import { openHost, type Host } from '../../../src/engine/volumes/host.ts';
import { initialiseFileStore } from '../../../src/ground/stores/file-root.ts';
import { openStore } from '../../../src/ground/stores/open-store.ts';
import { within } from '../../../src/ground/stores/within.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { environmentOf, HOST, openHomeIn, PASSPHRASE, storeRecordOf } from '../../systems/installation.ts';
import { noCounts, type Counts } from './counts.ts';
import type { Disk } from './disk.ts';
import { Clock } from './model.ts';
import { DisksProcess } from './server.ts';
import { messageOf, Violation } from './violation.ts';

export const REPOSITORY = repositoryName('vols');
export const STORES: readonly StoreName[] = [storeName('near'), storeName('far')];
const INSISTS_MS = 60_000;
/** `DISK_IN_USE`: the end of a connection is not known to the server yet. */
const PASSING = ['DISKS_NOT_SERVED', 'STORE_UNREACHABLE', 'CONTENTION', 'DISK_IN_USE'] as const;
const CHEAP = { random: randomBytes, scryptN: 2 };
/** What a store that was away has done to somebody is over after this. */
const AFTERMATH_MS = 5000;

export class World implements AsyncDisposable {
  readonly folder: string;
  readonly home: Home;
  readonly host: Host;
  readonly threads: Threads;
  readonly variables: NodeJS.ProcessEnv;
  readonly clock = new Clock();
  readonly counts: Counts = noCounts();
  readonly disks = new Set<Disk>();
  readonly trace: (line: string) => void;
  readonly #server: DisksProcess;
  readonly #ending = new AbortController();
  readonly #begunMs = performance.now();
  /** Whoever is cut off while it is so has not deserved it. */
  #serves = false;
  #restarts = 0;
  #strikes = 0;
  #struckUntilMs = -Infinity;
  #striking: Promise<unknown> = Promise.resolve();
  #changing: Promise<unknown> = Promise.resolve();
  #violation: Error | null = null;

  private constructor(of: Pick<World, 'folder' | 'home' | 'variables' | 'trace'>) {
    this.folder = of.folder;
    this.home = of.home;
    this.variables = of.variables;
    this.trace = of.trace;
    this.host = openHost(HOST, of.folder);
    this.threads = new Threads({ count: 1, bufferBytes: 48 * 1024 * 1024 });
    const logFile = path.join(of.folder, 'disks.log');
    this.#server = new DisksProcess({ variables: of.variables, logFile, host: this.host, onUnexpectedEnd: (one) => this.fail(one) });
  }

  static async make(trace: World['trace']): Promise<World> {
    const folder = mkdtempSync(path.join(tmpdir(), 'hf-chaos-'));
    const variables = {
      ...process.env,
      ...{ HOLDFAST_HOME: folder, HOLDFAST_HOST: HOST, HOLDFAST_PASSPHRASE: PASSPHRASE, HOLDFAST_METRICS_PORT: '0' },
      ...{ HOLDFAST_LOG_LEVEL: 'info', NODE_COMPILE_CACHE: path.join(tmpdir(), 'hf-faults-compiled') },
    };
    const environment = environmentOf('chaos', () => undefined);
    const homeStore = await openStore(`file://${path.join(folder, 'home')}`, { create: true, durability: 'os' });
    await ensureRepository(within(homeStore, CATALOG_PREFIX), 'catalog', PASSPHRASE, Date.now(), CHEAP);
    await homeStore[Symbol.asyncDispose]();
    const home = await openHomeIn(folder, variables, environment, {
      cacheDir: path.join(folder, 'cache.chaos'),
      retry: { attempts: 3, baseDelayMs: 20 },
    });
    for (const name of STORES) {
      await initialiseFileStore(storeFolderIn(folder, name));
      const record = storeRecordOf(name, `file://${storeFolderIn(folder, name)}`);
      await home.catalog.append(() => ({ kind: 'STORE_ADD', store: record }));
      await using store = await openStoreOf(record, { url: '', passphrase: '', cacheDir: '', variables, environment, durability: 'os' });
      await ensureRepository(within(store, repositoryPrefix(REPOSITORY)), REPOSITORY, PASSPHRASE, Date.now(), CHEAP);
    }
    const world = new World({ folder, home, variables, trace });
    world.#server.spawn();
    await world.#server.ready();
    world.#serves = true;
    return world;
  }

  // -- the run ------------------------------------------------------------------------------------------------------

  /** Aborted by the first violation. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get violation(): Error | null {
    return this.#violation;
  }

  fail(error: unknown): void {
    if (this.#violation !== null) return;
    this.#violation = error instanceof Error ? error : new Error(messageOf(error));
    this.note(`VIOLATION ${this.#violation.message}`);
    this.#ending.abort(this.#violation);
  }

  note(line: string): void {
    this.trace(`${((performance.now() - this.#begunMs) / 1000).toFixed(3).padStart(9)}  ${line}`);
  }

  logTail(): string {
    return this.#server.logTail();
  }

  /** Again until it succeeds: what waiting can mend is waited out. */
  async insist<T>(what: string, work: () => Promise<T>): Promise<T> {
    for (const deadline = performance.now() + INSISTS_MS; ; await sleep(100)) {
      this.signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        if (!isHoldfastError(error, ...PASSING)) throw error;
        if (performance.now() > deadline) throw new Violation(`${what} has not succeeded within ${INSISTS_MS} ms: ${messageOf(error)}`);
      }
    }
  }

  // -- the server ---------------------------------------------------------------------------------------------------

  /** Grows when the server ends: what spans that may have failed. */
  get restarts(): number {
    return this.#restarts;
  }

  get serves(): boolean {
    return this.#serves;
  }

  /** Ends it, tells the models, and begins it again after a while. */
  restart(manner: { readonly killAfterMs: number | null; readonly awayMs: number; readonly killAgainMs: number | null }): Promise<void> {
    return this.#exclusively(async () => {
      const how = await this.#end(manner.killAfterMs);
      if (how === 'stopped') this.counts.stops++;
      else this.counts.kills++;
      await sleep(manner.awayMs);
      this.#server.spawn();
      if (manner.killAgainMs !== null) {
        await sleep(manner.killAgainMs);
        await this.#end(0);
        this.counts.kills++;
        this.#server.spawn();
      }
      await this.#server.ready();
      this.#serves = true;
      this.note(`the disk server was ${how}${manner.killAgainMs === null ? '' : ', and killed again'}, and serves`);
    });
  }

  /** `work` while it is down after a clean stop. */
  whileStopped(work: () => Promise<void>): Promise<void> {
    return this.#exclusively(async () => {
      await this.#end(null);
      this.counts.stops++;
      await work();
      this.#server.spawn();
      await this.#server.ready();
      this.#serves = true;
    });
  }

  async #end(killAfterMs: number | null): Promise<'stopped' | 'killed'> {
    this.#serves = false;
    this.#restarts++;
    let how: 'stopped' | 'killed' = 'killed';
    if (killAfterMs === 0) await this.#server.kill();
    else how = await this.#server.stop(killAfterMs);
    // Answers that it gave count, however late they are read.
    await Promise.all([...this.disks].map((disk) => disk.hungUp()));
    await setImmediate();
    for (const { model } of this.disks) model.serverEnded(how);
    // What began while it ended has met its end, too.
    this.#restarts++;
    return how;
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#changing.then(work);
    this.#changing = run.catch(() => undefined);
    return run;
  }

  // -- the stores ---------------------------------------------------------------------------------------------------

  storeFolder(store: StoreName): string {
    return storeFolderIn(this.folder, store);
  }

  /** Times that a store was away so far. */
  get strikes(): number {
    return this.#strikes;
  }

  /** Something may fail for want of a store. */
  get isStruck(): boolean {
    return performance.now() < this.#struckUntilMs;
  }

  /** A store's folder is moved away for as long as `work` takes. One at a time. */
  whileAway<T>(store: StoreName, work: () => Promise<T>): Promise<T> {
    const run = this.#striking.then(async () => {
      const there = this.storeFolder(store);
      this.#strikes++;
      this.counts.strikes++;
      this.#struckUntilMs = Infinity;
      renameSync(there, `${there}.away`);
      try {
        return await work();
      } finally {
        renameSync(`${there}.away`, there);
        this.#struckUntilMs = performance.now() + AFTERMATH_MS;
      }
    });
    this.#striking = run.catch(() => undefined);
    return run;
  }

  async addVolume(name: string, file: string, extentBytes: number): Promise<VolumeName> {
    const volume = volumeName(name);
    await this.home.catalog.append(() => ({
      kind: 'VOLUME_ADD',
      volume: {
        name: volume,
        incarnation: 1,
        node: HOST,
        path: file,
        extentBytes,
        stores: [...STORES],
        repository: REPOSITORY,
        retired: false,
      },
    }));
    return volume;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error('the run has ended'));
    this.#serves = false;
    await this.#changing;
    await this.#server[Symbol.asyncDispose]();
    await this.threads[Symbol.asyncDispose]();
    await this.home[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const storeFolderIn = (folder: string, store: StoreName): string => path.join(folder, 'stores', store);

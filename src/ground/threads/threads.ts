/**
 * The worker threads of a process and the shared buffers that they work on.
 *
 * One pool a process, made where the process is wired and closed when it ends. The main thread does I/O and decides;
 * threads hash, compress, seal and open. A running task is never cut off: it takes milliseconds, and the buffers that it
 * was lent are not free before it has ended.
 */
import path from 'node:path';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { HoldfastError } from '../../domain/errors.ts';
import { MIB } from '../../domain/limits.ts';
import { BufferPool } from './buffers.ts';
import type { TaskName, TaskOutcome, Tasks } from './tasks.ts';

/**
 * Shared buffers of all jobs of a process. Three destinations on two threads reserve (2 + 2) x 3 packs of 16 MiB and 3
 * slots of 4 MiB: 204 MiB; with some 150 MiB for Node and Temporal the process stays under 512 MiB.
 */
export const BUFFER_BYTES_DEFAULT = 256 * MIB;

export interface ThreadsOptions {
  /** Default: one a core. */
  readonly count?: number;
  readonly bufferBytes?: number;
}

// The emitted package has .js files beside each other as the sources have .ts files.
const ENTRY = fileURLToPath(new URL(`./thread${path.extname(import.meta.url)}`, import.meta.url));

export class Threads implements AsyncDisposable {
  readonly count: number;
  readonly buffers: BufferPool;
  readonly #pool: Piscina<unknown, TaskOutcome<unknown>>;

  constructor(options: ThreadsOptions = {}) {
    this.count = options.count ?? availableParallelism();
    this.buffers = new BufferPool(options.bufferBytes ?? BUFFER_BYTES_DEFAULT);
    this.#pool = new Piscina({ filename: ENTRY, minThreads: this.count, maxThreads: this.count });
  }

  async run<Name extends TaskName>(name: Name, task: Parameters<Tasks[Name]>[0]): Promise<ReturnType<Tasks[Name]>> {
    const outcome = await this.#pool.run(task, { name });
    if (outcome.kind === 'failed') throw new HoldfastError(outcome.code, outcome.message, outcome.details);
    // The entry exports exactly the tasks of the table under their names.
    return outcome.result as ReturnType<Tasks[Name]>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }
}

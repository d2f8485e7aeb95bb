/**
 * The worker threads of a process and the shared buffers that they work on.
 *
 * One pool a process, made where the process is wired and closed when it ends. The main thread does I/O and decides;
 * threads hash, compress, seal and open. A task that was asked for is never cut off: it takes milliseconds, the buffers that it
 * was lent are not free before it has ended, and a thread that is ended while it loads native code (koffi, on its first task) takes the
 * process with it: SIGABRT from napi_throw, or SIGSEGV.
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
 * Shared buffers of all jobs of a process, by the thread: 120 MiB on two. With 100 to 160 MiB for Node and Temporal, some
 * 30 MiB a thread and the main thread's heap, a worker on two cores stays under 512 MiB.
 */
export const BUFFER_BYTES_PER_THREAD = 60 * MIB;

/** A task makes some hundred small objects and no large one; a small nursery keeps a thread's heap from growing to 40 MiB. */
const THREAD_YOUNG_MIB = 6;
const THREAD_OLD_MIB = 128;

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
  readonly #running = new Set<Promise<unknown>>();
  #isEnding = false;

  constructor(options: ThreadsOptions = {}) {
    this.count = options.count ?? availableParallelism();
    this.buffers = new BufferPool(options.bufferBytes ?? Math.max(2, this.count) * BUFFER_BYTES_PER_THREAD);
    this.#pool = new Piscina({
      filename: ENTRY,
      minThreads: this.count,
      maxThreads: this.count,
      resourceLimits: { maxYoungGenerationSizeMb: THREAD_YOUNG_MIB, maxOldGenerationSizeMb: THREAD_OLD_MIB },
    });
  }

  /** `moved`: buffers of the task that are the thread's from now on. */
  async run<Name extends TaskName>(
    name: Name,
    task: Parameters<Tasks[Name]>[0],
    moved: ArrayBuffer[] = [],
  ): Promise<ReturnType<Tasks[Name]>> {
    if (this.#isEnding) throw new Error('a task came after the end of the threads');
    const running = this.#pool.run(task, { name, transferList: moved });
    this.#running.add(running);
    const outcome = await running.finally(() => this.#running.delete(running));
    if (outcome.kind === 'failed') throw new HoldfastError(outcome.code, outcome.message, outcome.details);
    // The entry exports exactly the tasks of the table under their names.
    return outcome.result as ReturnType<Tasks[Name]>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    // Piscina's own close() ends the other threads when the first has nothing to do (5.3.2).
    await Promise.allSettled(this.#running);
    await this.#pool.destroy();
  }
}

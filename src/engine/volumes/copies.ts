/**
 * What frozen views of one volume keep: a sparse file each, every byte at its place.
 *
 * A file that a view has left is used again by the next one, if that comes soon: pages that the kernel has to find and clear cost a
 * writer more than the copy itself. What an earlier view left in it is nobody's: a view reads only what it has kept.
 */
import type { Clock } from './clock.ts';
import type { LiveFile } from './live-file.ts';

export interface CopiesFile {
  readonly file: LiveFile;
  /** For who can open files by their paths; null: it has none. */
  readonly path: string | null;
}

/** For so long a file that nobody uses takes room. */
const IDLE_MS = 60_000;

export class CopiesFiles implements AsyncDisposable {
  readonly #create: () => Promise<CopiesFile>;
  readonly #clock: Clock;
  readonly #used = new WeakSet<CopiesFile>();
  #idle: CopiesFile | null = null;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(create: () => Promise<CopiesFile>, clock: Clock) {
    this.#create = create;
    this.#clock = clock;
  }

  async take(): Promise<CopiesFile> {
    const idle = this.#idle;
    this.#idle = null;
    this.#cancel();
    return idle ?? this.#create();
  }

  /** Whether an earlier view has left something in it. */
  isUsed(copies: CopiesFile): boolean {
    return this.#used.has(copies);
  }

  async give(copies: CopiesFile): Promise<void> {
    this.#used.add(copies);
    if (this.#closed || this.#idle !== null) return copies.file[Symbol.asyncDispose]();
    this.#idle = copies;
    this.#cancel = this.#clock.after(IDLE_MS, () => void this.#drop().catch(() => undefined));
  }

  async #drop(): Promise<void> {
    const idle = this.#idle;
    this.#idle = null;
    this.#cancel();
    await idle?.file[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#drop();
  }
}

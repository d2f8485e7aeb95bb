/**
 * Shared buffers, pooled for the life of the process and bounded for all jobs together.
 *
 * A job reserves all that it will ever hold at once, before it starts, and takes and gives back within that. So the sum
 * over all jobs stays under the capacity, no job waits for another half-way, and two jobs cannot each hold what the other
 * lacks. A reservation above the capacity is admitted when nothing else runs: it is the job's own bound that holds then.
 *
 * Buffers are kept, not dropped, and come in two sizes only (slots and packs), so that there are never more than the largest
 * jobs held of each: touching fresh memory costs a quarter of the speed of copying into used memory, and
 * nothing tells the garbage collector how much hangs on a SharedArrayBuffer. The one that was made first is taken first: a job
 * that fills few buffers to their end always fills the same ones, and the others hold what a job of many has touched.
 *
 * They begin at a page, so that a store on a disk can write them past the page cache (stores/file-temp.ts).
 */
import { KIB } from '../../domain/limits.ts';

export interface Reservation extends Disposable {
  /** A buffer of `bytes` or a little more, with whatever bytes its last user left. */
  take(bytes: number): SharedArrayBuffer;
  give(buffer: SharedArrayBuffer): void;
}

interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
}

/** What Node has and the types of Node leave out. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum: number; shared: true }) => { readonly buffer: SharedArrayBuffer };
};
const WASM_PAGE_BYTES = 64 * KIB;

/** A shared buffer whose memory begins at a page: the memory of a WebAssembly module does, a plain one is 16 bytes off. */
function pageAligned(bytes: number): SharedArrayBuffer {
  const pages = bytes / WASM_PAGE_BYTES;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
  } catch (error) {
    // It reserves gigabytes of addresses, which a process may be forbidden. A plain buffer is written through the page cache.
    if (error instanceof RangeError) return new SharedArrayBuffer(bytes);
    throw error;
  }
}

export class BufferPool {
  readonly capacityBytes: number;
  /** By size, in the order of making. */
  readonly #made = new Map<number, SharedArrayBuffer[]>();
  readonly #inUse = new Set<SharedArrayBuffer>();
  readonly #waiting: Waiting[] = [];
  #reservedBytes = 0;
  #allocatedBytes = 0;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  /** Resolves in the order of the calls, when there is room. */
  async reserve(bytes: number, signal?: AbortSignal): Promise<Reservation> {
    signal?.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#fits(bytes)) await this.#turn(bytes, signal);
    else this.#reservedBytes += bytes;
    const out = new Set<SharedArrayBuffer>();
    let open = true;
    return {
      take: (size) => {
        const buffer = this.#take(size);
        out.add(buffer);
        return buffer;
      },
      give: (buffer) => {
        if (out.delete(buffer)) this.#inUse.delete(buffer);
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        for (const buffer of out) this.#inUse.delete(buffer);
        this.#reservedBytes -= bytes;
        this.#admitNext();
      },
    };
  }

  #fits(bytes: number): boolean {
    return this.#reservedBytes === 0 || this.#reservedBytes + bytes <= this.capacityBytes;
  }

  #take(atLeastBytes: number): SharedArrayBuffer {
    const bytes = Math.ceil(atLeastBytes / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
    const made = this.#made.get(bytes) ?? [];
    this.#made.set(bytes, made);
    const buffer = made.find((one) => !this.#inUse.has(one)) ?? this.#make(bytes, made);
    this.#inUse.add(buffer);
    return buffer;
  }

  #make(bytes: number, made: SharedArrayBuffer[]): SharedArrayBuffer {
    this.#allocatedBytes += bytes;
    const buffer = pageAligned(bytes);
    made.push(buffer);
    return buffer;
  }

  #turn(bytes: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal?.reason as Error);
        this.#admitNext();
      };
      const waiting: Waiting = {
        bytes,
        admit: () => {
          signal?.removeEventListener('abort', abort);
          this.#reservedBytes += bytes;
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  #admitNext(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.admit();
    }
  }
}

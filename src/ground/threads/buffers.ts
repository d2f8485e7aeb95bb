/**
 * Shared buffers, pooled for the life of the process and bounded for all jobs together.
 *
 * A job reserves all that it will ever hold at once, before it starts, and takes and gives back within that. So the sum
 * over all jobs stays under the capacity, no job waits for another half-way, and two jobs cannot each hold what the other
 * lacks. A reservation above the capacity is admitted when nothing else runs: it is the job's own bound that holds then.
 *
 * Buffers are kept, not dropped, and come in two sizes only (slots and packs), so that there are never more than the largest
 * jobs held of each: touching fresh memory costs a quarter of the speed of copying into used memory, and
 * nothing tells the garbage collector how much hangs on a SharedArrayBuffer.
 */
export interface Reservation extends Disposable {
  /** A buffer of `bytes`, with whatever bytes its last user left. */
  take(bytes: number): SharedArrayBuffer;
  give(buffer: SharedArrayBuffer): void;
}

interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
}

export class BufferPool {
  readonly capacityBytes: number;
  readonly #free = new Map<number, SharedArrayBuffer[]>();
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
        if (out.delete(buffer)) this.#free.get(buffer.byteLength)?.push(buffer);
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        for (const buffer of out) this.#free.get(buffer.byteLength)?.push(buffer);
        this.#reservedBytes -= bytes;
        this.#admitNext();
      },
    };
  }

  #fits(bytes: number): boolean {
    return this.#reservedBytes === 0 || this.#reservedBytes + bytes <= this.capacityBytes;
  }

  #take(bytes: number): SharedArrayBuffer {
    const free = this.#free.get(bytes) ?? [];
    this.#free.set(bytes, free);
    const kept = free.pop();
    if (kept !== undefined) return kept;
    this.#allocatedBytes += bytes;
    return new SharedArrayBuffer(bytes);
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

/**
 * Memory that a connection's bytes are read into, and that is used again: a fresh buffer for every 64 KiB, which is Node's
 * way, costs a sequential writer more than the copies do (its pages are faulted in anew, and collected).
 *
 *     slab  |taken......|queued......|room for the socket........|
 *
 * A slab begins anew when all that was read into it has been taken from the queue and no request that waits for its backend
 * has its payload there. Requests that are answered at once cost no accounting.
 */
import { Socket } from 'node:net';
import type { ByteQueue } from './byte-queue.ts';

/** Two hold what a Unix socket gives at once, and stay in the processor's cache. */
const SLAB_BYTES = 512 * 1024;
/** Less room than this is left unused. */
const ROOM_BYTES_MIN = 64 * 1024;
/** Kept beyond the current one, when nothing is in them. */
const IDLE_MAX = 4;

interface Slab {
  readonly bytes: Buffer;
  /** Where room begins. */
  at: number;
  /** Bytes of the connection that had come when it was last read into. */
  until: number;
  /** Payloads in it that wait for their backend. */
  waiting: number;
}

const newSlab = (): Slab => ({ bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), at: 0, until: 0, waiting: 0 });

export class Slabs {
  readonly #queue: ByteQueue;
  #current = newSlab();
  #others: Slab[] = [];
  #come = 0;

  constructor(queue: ByteQueue) {
    this.#queue = queue;
  }

  /** Where the socket puts what comes next; it is asked again after every `filled`. */
  room(): Buffer {
    const current = this.#current;
    if (this.#isFree(current)) current.at = 0;
    else if (SLAB_BYTES - current.at < ROOM_BYTES_MIN) this.#turn();
    return this.#current.bytes.subarray(this.#current.at);
  }

  #isFree({ until, waiting }: Slab): boolean {
    return waiting === 0 && until <= this.#come - this.#queue.length;
  }

  #turn(): void {
    const free = this.#others.filter((slab) => this.#isFree(slab));
    const next = free[0] ?? newSlab();
    const dropped = new Set([next, ...free.slice(IDLE_MAX)]);
    this.#others = [...this.#others.filter((slab) => !dropped.has(slab)), this.#current];
    this.#current = Object.assign(next, { at: 0 });
  }

  /** So many bytes have come into the room: they are in the queue. */
  filled(bytes: number): void {
    const slab = this.#current;
    this.#queue.push(slab.bytes.subarray(slab.at, slab.at + bytes));
    slab.at += bytes;
    this.#come += bytes;
    slab.until = this.#come;
  }

  /** Keeps a payload where it is until the function that this gives is called. */
  keep(payload: readonly Buffer[]): () => void {
    const kept = [this.#current, ...this.#others].filter(({ bytes }) => payload.some((part) => part.buffer === bytes.buffer));
    for (const slab of kept) slab.waiting++;
    return () => {
      for (const slab of kept) slab.waiting--;
    };
  }
}

/**
 * A socket that a server has accepted and not read from, as one that reads into slabs. Node has that for sockets that connect
 * (`onread`) and for accepted ones only by way of their handle, which has no public name. Null: this Node has none such.
 */
export function readInto(accepted: Socket, slabs: Slabs, onBytes: () => void): Socket | null {
  const handle: unknown = Reflect.get(accepted, '_handle');
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return null;
  const options = {
    handle,
    onread: {
      buffer: () => slabs.room(),
      callback: (bytes: number) => {
        slabs.filled(bytes);
        onBytes();
        return true;
      },
    },
  };
  const socket = new Socket(options);
  // The handle is the new one's; the old one ends without it.
  Reflect.set(accepted, '_handle', null);
  accepted.destroy();
  return socket;
}

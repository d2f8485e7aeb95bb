/**
 * Batches in flight over a fixed number of slots.
 *
 * `run` starts a batch as soon as a slot is free and returns; the first batch that fails stops the rest through `signal`.
 * `drain` waits for all that runs and throws what stopped them. After it nothing touches a slot any more: that is what
 * makes it safe to give the buffers back, whatever went wrong.
 */
import type { Reservation } from '../../ground/threads/buffers.ts';
import { Permits } from '../../ground/threads/permits.ts';
import { SLOT_BYTES } from '../../ground/threads/tasks.ts';

export class Batches {
  /** Aborted with the caller's signal, or with the first error of a batch. */
  readonly signal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #reservation: Reservation;
  readonly #free: Permits;
  readonly #running = new Set<Promise<void>>();

  constructor(reservation: Reservation, slots: number, signal?: AbortSignal) {
    this.#reservation = reservation;
    this.#free = new Permits(slots);
    this.signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  async run(work: (slot: SharedArrayBuffer) => Promise<void>): Promise<void> {
    await this.#free.take(this.signal);
    const slot = this.#reservation.take(SLOT_BYTES);
    const running = work(slot)
      .catch((error: unknown) => this.stop(error))
      .finally(() => {
        this.#running.delete(running);
        this.#reservation.give(slot);
        this.#free.give();
      });
    this.#running.add(running);
  }

  /** Ends everything with this error, unless it is ending already. */
  stop(error: unknown): void {
    this.#stop.abort(error);
  }

  /** Waits until no batch runs; throws what stopped them. */
  async drain(): Promise<void> {
    await this.ended();
    this.signal.throwIfAborted();
  }

  /** Waits until no batch runs. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }
}

/** Those who wait until something is so. They are asked in the order in which they came, whenever something has changed. */
import type { HoldfastError } from '../../../domain/errors.ts';

interface Waiter {
  readonly isSo: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
}

export class Waiters {
  #waiting: Waiter[] = [];
  #rejected: HoldfastError | null = null;

  /** Resolves when it is so, at once if it is. */
  until(isSo: () => boolean): Promise<void> {
    if (this.#rejected !== null) return Promise.reject(this.#rejected);
    if (isSo()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ isSo, resolve, reject }));
  }

  look(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting)
      if (waiter.isSo()) waiter.resolve();
      else this.#waiting.push(waiter);
  }

  /** All that wait, and all that will. */
  reject(error: HoldfastError): void {
    this.#rejected = error;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) waiter.reject(error);
  }
}

/**
 * A gate around the stores of one process: its calls can be stopped before they are sent, or before their answer is heard, and go on
 * much later. A process that is stopped so, at any step, is what a zombie is.
 */
import { interceptStore, type StoreCall } from '../../../../src/ground/stores/intercept.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';

export interface GatedCall {
  readonly store: string;
  readonly operation: StoreCall['operation'];
  readonly name: string;
}

export type Side = 'before' | 'after';

export class Gate {
  /** Every call that came and counts, in the order of coming. */
  readonly calls: GatedCall[] = [];
  #stopAt: { readonly number: number; readonly side: Side } | null = null;
  #stopped = false;
  #open: (() => void)[] = [];
  #reached: () => void = () => undefined;
  /** Resolves when the process has come to where it is stopped. */
  readonly reached = new Promise<void>((resolve) => (this.#reached = resolve));

  /** From the n-th call on nothing passes: neither that call (or its answer) nor any later one. */
  stopAt(number: number, side: Side): void {
    this.#stopAt = { number, side };
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Everything goes on. */
  release(): void {
    this.#stopAt = null;
    this.#stopped = false;
    for (const open of this.#open.splice(0)) open();
  }

  around(store: ObjectStore, of: string): ObjectStore {
    return interceptStore(store, async ({ operation, name }, run) => {
      const number = isAhead(operation, name) ? 0 : this.calls.push({ store: of, operation, name });
      await this.#pass(number, 'before');
      try {
        return await run();
      } finally {
        await this.#pass(number, 'after');
      }
    });
  }

  async #pass(number: number, side: Side): Promise<void> {
    const at = this.#stopAt;
    if (at !== null && !this.#stopped && at.side === side && at.number === number) {
      this.#stopped = true;
      this.#reached();
    }
    if (this.#stopped) await new Promise<void>((resolve) => this.#open.push(resolve));
  }
}

/** Of what is read ahead the most is asked for in vain, and to be stopped there shows nothing new. */
const isAhead = (operation: string, name: string): boolean => operation === 'get' && Number(/[0-9]+$/.exec(name)?.[0] ?? 0) > 3;

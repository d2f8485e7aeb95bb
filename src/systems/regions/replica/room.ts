/**
 * So many things and so many bytes at a time, given in the order in which they were asked for.
 *
 * What is larger than all of it is let in alone, so that nothing waits for ever. Whoever waits can be told how many do, and since when.
 */
export interface RoomLimits {
  readonly things: number;
  readonly bytes: number;
}

export interface Held {
  readonly things: number;
  readonly bytes: number;
}

interface Waiter extends Held {
  readonly sinceMs: number;
  readonly grant: () => void;
}

export class Room {
  readonly #limits: RoomLimits;
  readonly #nowMs: () => number;
  #held: Held = { things: 0, bytes: 0 };
  #queue: Waiter[] = [];

  constructor(limits: RoomLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get held(): Held {
    return this.#held;
  }

  /** Who waits, and for how long already. */
  get pressure(): { readonly waiting: number; readonly ms: number } {
    const [first] = this.#queue;
    return { waiting: this.#queue.length, ms: first === undefined ? 0 : this.#nowMs() - first.sinceMs };
  }

  /** For what is there already, whether there is room or not. */
  hold({ things, bytes }: Held): void {
    this.#held = { things: this.#held.things + things, bytes: this.#held.bytes + bytes };
  }

  /** False: there was none within the time, or the signal was aborted. */
  async take(wanted: Held, withinMs: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.#queue.length === 0 && this.#fits(wanted)) {
      this.hold(wanted);
      return true;
    }
    return await new Promise((resolve) => {
      const end = (granted: boolean): void => {
        clearTimeout(late);
        signal.removeEventListener('abort', leave);
        resolve(granted);
      };
      const waiter: Waiter = { ...wanted, sinceMs: this.#nowMs(), grant: () => end(true) };
      const leave = (): void => {
        this.#queue = this.#queue.filter((one) => one !== waiter);
        end(false);
        this.#grant();
      };
      const late = setTimeout(leave, withinMs);
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(waiter);
    });
  }

  give({ things, bytes }: Held): void {
    this.hold({ things: -things, bytes: -bytes });
    this.#grant();
  }

  #grant(): void {
    for (let [first] = this.#queue; first !== undefined && this.#fits(first); [first] = this.#queue) {
      this.#queue.shift();
      this.hold(first);
      first.grant();
    }
  }

  #fits({ things, bytes }: Held): boolean {
    const { things: heldThings, bytes: heldBytes } = this.#held;
    if (heldThings === 0) return true;
    return heldThings + things <= this.#limits.things && heldBytes + bytes <= this.#limits.bytes;
  }
}

/** One at a time of a name: what is said of it, and what becomes of it, are decided by one call after another. All names of a call at once, so that no two wait for each other. */
export class Turns {
  readonly #busy = new Map<string, Promise<void>>();

  async run<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    for (let other = this.#first(names); other !== undefined; other = this.#first(names)) await other;
    let end = (): void => undefined;
    const turn = new Promise<void>((resolve) => (end = resolve));
    for (const name of names) this.#busy.set(name, turn);
    try {
      return await work();
    } finally {
      for (const name of names) this.#busy.delete(name);
      end();
    }
  }

  #first(names: readonly string[]): Promise<void> | undefined {
    for (const name of names) {
      const turn = this.#busy.get(name);
      if (turn !== undefined) return turn;
    }
    return undefined;
  }
}

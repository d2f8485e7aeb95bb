/**
 * What writers asked of a replica and what they were told, and whether what is there fits it.
 *
 * Of a name that is created only if absent at most one try may be told 'created', and its bytes are there for ever. A name that one writer writes again
 * and again, one call after another, holds what its last answered call left, or what a call behind it would have, that got no answer.
 */
export interface Outcome {
  /** Null: it is to be gone. */
  readonly bytes: Buffer | null;
  readonly told: 'created' | 'exists' | 'done' | 'nothing';
}

export class History {
  /** By name, in the order in which they were asked. */
  readonly #created = new Map<string, Outcome[]>();
  readonly #written = new Map<string, Outcome[]>();

  get names(): readonly string[] {
    return [...this.#created.keys(), ...this.#written.keys()];
  }

  /** How many calls were answered, and how many were not. */
  get counts(): { readonly answered: number; readonly unclear: number } {
    const all = [...this.#created.values(), ...this.#written.values()].flat();
    const unclear = all.filter(({ told }) => told === 'nothing').length;
    return { answered: all.length - unclear, unclear };
  }

  noteCreate(name: string, outcome: Outcome): void {
    this.#note(this.#created, name, outcome);
  }

  noteWrite(name: string, outcome: Outcome): void {
    this.#note(this.#written, name, outcome);
  }

  /** What is wrong with what is there; empty: nothing. */
  async faults(read: (name: string) => Promise<Buffer | null>): Promise<readonly string[]> {
    const faults: string[] = [];
    for (const [name, outcomes] of this.#created) {
      const there = await read(name);
      const winners = outcomes.filter(({ told }) => told === 'created');
      const possible = winners.length > 0 ? winners : outcomes.filter(({ told }) => told === 'nothing');
      if (winners.length > 1) faults.push(`${name} was created ${winners.length} times`);
      const mayBeGone = winners.length === 0 && outcomes.every(({ told }) => told === 'nothing');
      const fits = there === null ? mayBeGone : possible.some(({ bytes }) => bytes?.equals(there) === true);
      if (!fits) faults.push(`${name} holds ${shown(there)}; told: ${told(outcomes)}`);
    }
    for (const [name, outcomes] of this.#written) {
      const there = await read(name);
      const last = outcomes.findLastIndex((one) => one.told !== 'nothing');
      const possible = [...outcomes.slice(Math.max(0, last)), ...(last < 0 ? [{ bytes: null }] : [])];
      const fits = possible.some(({ bytes }) => (bytes === null ? there === null : there !== null && bytes.equals(there)));
      if (!fits) faults.push(`${name} holds ${shown(there)}; told: ${told(outcomes)}`);
    }
    return faults;
  }

  #note(map: Map<string, Outcome[]>, name: string, outcome: Outcome): void {
    const outcomes = map.get(name);
    if (outcomes === undefined) map.set(name, [outcome]);
    else outcomes.push(outcome);
  }
}

const shown = (bytes: Buffer | null): string => (bytes === null ? 'nothing' : `${bytes.length} bytes ${bytes.toString('hex', 0, 8)}`);
const told = (outcomes: readonly Outcome[]): string => outcomes.map((one) => `${one.told} ${shown(one.bytes)}`).join(', ');

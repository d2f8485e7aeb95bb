/**
 * What is durable here and not yet in the index: the entries in their order, and for each name the newest word on it.
 *
 * Invariants. Entries are added in the order of their numbers and leave in that order, whichever was moved first; so the index and what waits,
 * laid over it, always say what all entries together say. An entry may be put when what its request came after is there, and it is the oldest of
 * each of its names that is not moved.
 */
import type { KeptEntry } from './log-reading.ts';

export interface WaitingEntry extends KeptEntry {
  readonly atMs: number;
  /** The store behind has said that it has it. */
  isThere: boolean;
  /** It has said once that the entry created the name: what stands there is no stranger's. */
  isOurs: boolean;
  /** And has given it back as it was put. */
  isMoved: boolean;
}

export class Waiting {
  #queue: WaitingEntry[] = [];
  readonly #byName = new Map<string, WaitingEntry[]>();
  /** How many of the names lie below a folder. */
  readonly #folders = new Map<string, number>();
  #bytes = 0;

  get entries(): readonly WaitingEntry[] {
    return this.#queue;
  }

  /** Of bodies. */
  get bytes(): number {
    return this.#bytes;
  }

  add(entry: KeptEntry, atMs: number): void {
    const waiting: WaitingEntry = { ...entry, atMs, isThere: false, isOurs: false, isMoved: false };
    this.#queue.push(waiting);
    this.#bytes += entry.sizeBytes;
    for (const name of entry.names) {
      const of = this.#byName.get(name);
      if (of === undefined) this.#byName.set(name, [waiting]);
      else of.push(waiting);
      this.#count(name, 1);
    }
  }

  /** The newest entry of a name. */
  newest(name: string): WaitingEntry | undefined {
    return this.#byName.get(name)?.at(-1);
  }

  /** Entries of a name behind this one. */
  later(name: string, { number }: WaitingEntry): readonly WaitingEntry[] {
    return this.#byName.get(name)?.filter((other) => other.number > number) ?? [];
  }

  isOldest(entry: WaitingEntry): boolean {
    return entry.names.every((name) => this.#byName.get(name)?.find(({ isMoved }) => !isMoved) === entry);
  }

  /** Whether something that waits is about a name of which this is a folder. */
  hasBelow(folder: string): boolean {
    return this.#folders.has(folder);
  }

  /** Every name that something waits of, with the newest word on it; in no order. */
  newestOfEach(): IterableIterator<[string, WaitingEntry[]]> {
    return this.#byName.entries();
  }

  /** The entries from the oldest on that are moved: they are to be applied, and then dropped. */
  moved(): readonly WaitingEntry[] {
    const first = this.#queue.findIndex(({ isMoved }) => !isMoved);
    return first < 0 ? [...this.#queue] : this.#queue.slice(0, first);
  }

  drop(count: number): void {
    for (const entry of this.#queue.splice(0, count)) {
      this.#bytes -= entry.sizeBytes;
      for (const name of entry.names) {
        const of = this.#byName.get(name);
        of?.shift();
        if (of?.length === 0) this.#byName.delete(name);
        this.#count(name, -1);
      }
    }
  }

  #count(name: string, by: 1 | -1): void {
    for (const folder of foldersOf(name)) {
      const count = (this.#folders.get(folder) ?? 0) + by;
      if (count === 0) this.#folders.delete(folder);
      else this.#folders.set(folder, count);
    }
  }
}

/** `a/b/c` lies in `a` and in `a/b`. */
export function* foldersOf(name: string): Generator<string> {
  for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) yield name.slice(0, at);
}

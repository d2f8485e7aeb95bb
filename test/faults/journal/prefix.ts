/**
 * Whether images are a prefix of a history: a set of changes that has, with each, every change that was answered before that one was asked
 * for, and gives the images to the byte.
 *
 * Zeros may be those of any change that made zeros, or none. So what is looked for is the least set: what must be in it is put in, block by
 * block and change by change, until nothing more follows. Each of these conditions asks only for more, so the least set is found, and when
 * a block cannot have as much as is asked of it there is none.
 */
import { stamp } from '../../systems/protection/write-history.ts';
import { Violation } from '../volumes/violation.ts';
import { BLOCK, blockKey, type Change, type History } from './history.ts';

/** What is known of the images beside their bytes. */
export interface Expected {
  /** Everything that was answered before is in them. */
  readonly answeredBefore: number;
  /** Nothing that was asked for later is in them. */
  readonly askedBefore: number;
  /** Of an earlier point: all of that is in them. */
  readonly holds: ReadonlySet<number>;
}

export const ANYTHING: Expected = { answeredBefore: 0, askedBefore: Infinity, holds: new Set() };

/** The changes of the least prefix, by id. Violation: there is none. */
export function prefixOf(history: History, images: readonly Buffer[], expected: Expected, what: string): ReadonlySet<number> {
  const candidates = new Map<string, readonly number[]>();
  for (const [key, changes] of history.blocks) candidates.set(key, candidatesOf(key, changes, images, what));
  requireBlank(history, images, what);
  const search = new Search(history, candidates, what);
  for (const change of history.changes.values())
    if (change.answered < expected.answeredBefore) search.need(change, `it was promised: answered at ${change.answered}`);
  for (const id of expected.holds) search.need(history.changes.get(id), 'an earlier point has it');
  for (const key of history.blocks.keys()) search.raise(key, 0, () => 'its content');
  const found = search.closed();
  for (const id of found) {
    const change = history.changes.get(id);
    if (change !== undefined && change.asked > expected.askedBefore)
      throw new Violation(`${what}: change ${id} is there, which was asked for at ${change.asked}, after ${expected.askedBefore}`);
  }
  return found;
}

/** How many of its changes a block may have had, to hold what it holds. */
function candidatesOf(key: string, changes: readonly Change[], images: readonly Buffer[], what: string): readonly number[] {
  const [disk = 0, block = 0] = key.split('/').map(Number);
  const bytes = images[disk]?.subarray(block * BLOCK, (block + 1) * BLOCK) ?? Buffer.alloc(0);
  const serial = bytes.length === BLOCK ? bytes.readDoubleLE(0) : NaN;
  if (!bytes.equals(stamp(block, serial))) throw new Violation(`${what}: block ${key} is no whole change: ${serial}`);
  const fits = (change: Change | undefined): boolean =>
    serial === 0 ? change === undefined || change.isZero : change !== undefined && !change.isZero && change.id === serial;
  const found = [undefined, ...changes].flatMap((change, count) => (fits(change) ? [count] : []));
  if (found.length === 0) throw new Violation(`${what}: block ${key} holds ${serial}, which nobody wrote there`);
  return found;
}

/** What nobody has changed holds zeros. */
function requireBlank({ blocks }: History, images: readonly Buffer[], what: string): void {
  for (const [disk, image] of images.entries())
    for (let block = 0; block * BLOCK < image.length; block++)
      if (!blocks.has(blockKey(disk, block)) && image.readDoubleLE(block * BLOCK) !== 0)
        throw new Violation(`${what}: block ${disk}/${block} holds something, and nobody wrote there`);
}

class Search {
  readonly #history: History;
  readonly #candidates: ReadonlyMap<string, readonly number[]>;
  readonly #what: string;
  readonly #levels = new Map<string, number>();
  readonly #found = new Set<number>();
  readonly #byAnswer: readonly Change[];
  readonly #asked: { readonly key: string; readonly least: number; readonly why: () => string }[] = [];
  #newest: Change | null = null;

  constructor(history: History, candidates: ReadonlyMap<string, readonly number[]>, what: string) {
    this.#history = history;
    this.#candidates = candidates;
    this.#what = what;
    this.#byAnswer = [...history.changes.values()].sort((a, b) => a.answered - b.answered);
  }

  /** This change is in it: each of its blocks has had it. */
  need(change: Change | undefined, why: string): void {
    if (change === undefined || this.#found.has(change.id)) return;
    this.#found.add(change.id);
    if (change.asked > (this.#newest?.asked ?? -1)) this.#newest = change;
    for (const block of change.blocks) {
      const key = blockKey(change.disk, block);
      const place = this.#history.blocks.get(key)?.indexOf(change) ?? -1;
      this.#asked.push({ key, least: place + 1, why: () => `change ${nameOf(change)}: ${why}` });
    }
  }

  /** A block has had so many of its changes, at the least. */
  raise(key: string, least: number, why: () => string): void {
    const before = this.#levels.get(key);
    if (before !== undefined && before >= least) return;
    const candidates = this.#candidates.get(key) ?? [];
    const level = candidates.find((count) => count >= least);
    const changes = this.#history.blocks.get(key) ?? [];
    if (level === undefined) {
      const held = changes[(candidates.at(-1) ?? 0) - 1];
      throw new Violation(`${this.#what}: block ${key} holds ${held === undefined ? 'nothing' : nameOf(held)}, and lacks ${why()}`);
    }
    this.#levels.set(key, level);
    for (const change of changes.slice(before ?? 0, level)) this.need(change, `block ${key} is as of it, or later`);
  }

  closed(): ReadonlySet<number> {
    for (let answered = 0; ;) {
      for (let asked = this.#asked.pop(); asked !== undefined; asked = this.#asked.pop()) this.raise(asked.key, asked.least, asked.why);
      const next = this.#byAnswer[answered++];
      const newest = this.#newest;
      if (next === undefined || newest === null || next.answered >= newest.asked) return this.#found;
      this.need(next, `answered before change ${nameOf(newest)}, which is there`);
    }
  }
}

const nameOf = ({ id, asked, answered }: Change): string => `${id} (asked for at ${asked.toFixed(1)}, answered at ${answered.toFixed(1)})`;

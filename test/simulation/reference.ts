/**
 * The reference: trees, diffs and run counts computed from contents alone, the slow and obvious way.
 *
 * Written from docs/format.md and docs/protocol.md, sharing nothing with the code that it judges but the hash and the
 * fan-out. A position is `level:index`, a value its fingerprint in hex.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { MAP_FANOUT, MAP_HEIGHT } from '../../src/domain/limits.ts';
import { fingerprintOfValue } from '../engine/repository/ship.ts';
import { extentAt, type Image } from './volumes.ts';

/** Every value of a tree by its position, the root at `4:0`. */
export type Tree = ReadonlyMap<string, string>;

export interface Reference {
  tree(image: Image): Tree;
  /** Values that begin a run at `after`, with how many of them, if it follows `before`. */
  runs(before: Image | null, after: Image): ReadonlyMap<string, number>;
  /** Every position where the two differ, as `level:index old new`, sorted. */
  diff(before: Image, after: Image): readonly string[];
}

export const ROOT = `${MAP_HEIGHT}:0`;
export const NOTHING = '0'.repeat(64);

export function createReference(): Reference {
  const trees = new Map<string, Tree>();
  const runsKnown = new Map<string, ReadonlyMap<string, number>>();

  const tree = (image: Image): Tree => {
    const key = image.join();
    const known = trees.get(key);
    if (known) return known;
    const built = buildTree(image);
    trees.set(key, built);
    return built;
  };

  return {
    tree,
    runs(before, after) {
      const key = `${before === null ? '' : before.join()}>${after.join()}`;
      const known = runsKnown.get(key);
      if (known) return known;
      const old: Tree = before === null ? new Map() : tree(before);
      const runs = new Map<string, number>();
      for (const [position, value] of tree(after)) if (old.get(position) !== value) runs.set(value, (runs.get(value) ?? 0) + 1);
      runsKnown.set(key, runs);
      return runs;
    },
    diff(before, after) {
      const [a, b] = [tree(before), tree(after)];
      return [...new Set([...a.keys(), ...b.keys()])]
        .filter((position) => a.get(position) !== b.get(position))
        .map((position) => `${position} ${a.get(position) ?? NOTHING} ${b.get(position) ?? NOTHING}`)
        .sort();
    },
  };
}

function buildTree(image: Image): Tree {
  const tree = new Map<string, string>();
  let level = new Map<number, Buffer>();
  image.forEach((value, i) => value > 0 && level.set(extentAt(i), fingerprintOfValue(value)));
  for (const [index, value] of level) tree.set(`0:${index}`, value.toString('hex'));
  for (let height = 1; height <= MAP_HEIGHT; height++) {
    const above = new Map<number, Map<number, Buffer>>();
    for (const [index, value] of level) {
      const parent = Math.floor(index / MAP_FANOUT);
      above.set(parent, (above.get(parent) ?? new Map<number, Buffer>()).set(index % MAP_FANOUT, value));
    }
    level = new Map([...above].map(([index, children]) => [index, nodeHash(height, children)]));
    for (const [index, value] of level) tree.set(`${height}:${index}`, value.toString('hex'));
  }
  return tree;
}

/** "HFN" 1 | level | 0 0 0 | bitmap 32 | fingerprints of the children that are there. */
function nodeHash(level: number, children: ReadonlyMap<number, Buffer>): Buffer {
  const bitmap = Buffer.alloc(32);
  const slots = [...children.keys()].sort((a, b) => a - b);
  for (const slot of slots) bitmap[slot >> 3] = (bitmap[slot >> 3] ?? 0) | (1 << (slot & 7));
  const values = slots.map((slot) => children.get(slot) ?? Buffer.alloc(0));
  return blake3(Buffer.concat([Buffer.from([0x48, 0x46, 0x4e, 1, level, 0, 0, 0]), bitmap, ...values]));
}

/**
 * Walking maps: all values of one tree, or the positions where two trees differ, in order, with bounded memory.
 *
 * Both prune: an absent child is not entered, and where two trees name the same child nothing below it is read. That is
 * why comparing two snapshots costs what changed between them. A walk holds one node a level.
 */
import { MAP_FANOUT, MAP_HEIGHT } from '../../domain/limits.ts';
import { ABSENT, CHILDREN_BYTES, childOf, isAbsent } from './node.ts';

/** A node's children, with where each lies as far as the stored locators say (24-byte rows, zero where unknown). */
export interface NodeView {
  readonly children: Buffer;
  readonly locations: Buffer;
}

/** Reads the node that a parent names; `at` is the parent's hint (24 bytes), if there is one. */
export type ReadNode = (fingerprint: Buffer, at: Buffer | null, level: number) => Promise<NodeView>;

export interface MapRoot {
  /** ABSENT for a volume of zeros. */
  readonly fingerprint: Buffer;
  readonly location: Buffer | null;
}

export interface WalkedValue {
  readonly level: number;
  readonly index: number;
  readonly fingerprint: Buffer;
  readonly location: Buffer | null;
}

const LOCATION = 24;
const locationOf = (view: NodeView, i: number): Buffer => view.locations.subarray(i * LOCATION, (i + 1) * LOCATION);
const EMPTY: NodeView = { children: Buffer.alloc(CHILDREN_BYTES), locations: Buffer.alloc(MAP_FANOUT * LOCATION) };

/** Range of extents [from, to) that a walk is held to. */
export interface ExtentRange {
  readonly from: number;
  readonly to: number;
}

const overlaps = (level: number, index: number, range: ExtentRange): boolean => {
  const span = MAP_FANOUT ** level;
  return index * span < range.to && (index + 1) * span > range.from;
};

/** Every value of a tree below (and with) its root, nodes before what is below them, ascending by extent. */
export async function* walkMap(
  root: MapRoot,
  readNode: ReadNode,
  range: ExtentRange = { from: 0, to: Infinity },
  minLevel = 0,
): AsyncGenerator<WalkedValue> {
  yield* walkFrom({ level: MAP_HEIGHT, index: 0, ...root }, readNode, range, minLevel);
}

async function* walkFrom(at: WalkedValue, readNode: ReadNode, range: ExtentRange, minLevel: number): AsyncGenerator<WalkedValue> {
  if (isAbsent(at.fingerprint) || !overlaps(at.level, at.index, range)) return;
  yield at;
  if (at.level === minLevel) return;
  const view = await readNode(at.fingerprint, at.location, at.level);
  for (let i = 0; i < MAP_FANOUT; i++) {
    const fingerprint = childOf(view.children, i);
    if (isAbsent(fingerprint)) continue;
    const child = { level: at.level - 1, index: at.index * MAP_FANOUT + i, fingerprint, location: locationOf(view, i) };
    if (child.level > 0) yield* walkFrom(child, readNode, range, minLevel);
    else if (overlaps(0, child.index, range)) yield child;
  }
}

export interface Difference {
  readonly level: number;
  readonly index: number;
  readonly old: Buffer;
  readonly new: Buffer;
  /** Where the new value lies, as far as its parent says. */
  readonly location: Buffer | null;
}

/** Positions (all levels) where two trees differ, ascending by extent, parents before children. */
export async function* diffMaps(
  before: MapRoot,
  after: MapRoot,
  readBefore: ReadNode,
  readAfter: ReadNode,
  range: ExtentRange = { from: 0, to: Infinity },
): AsyncGenerator<Difference> {
  const go = async function* (level: number, index: number, old: MapRoot, now: MapRoot): AsyncGenerator<Difference> {
    if (old.fingerprint.equals(now.fingerprint) || !overlaps(level, index, range)) return;
    yield { level, index, old: old.fingerprint, new: now.fingerprint, location: now.location };
    if (level === 0) return;
    const [a, b] = await Promise.all([
      isAbsent(old.fingerprint) ? EMPTY : readBefore(old.fingerprint, old.location, level),
      isAbsent(now.fingerprint) ? EMPTY : readAfter(now.fingerprint, now.location, level),
    ]);
    for (let i = 0; i < MAP_FANOUT; i++) {
      const [x, y] = [childOf(a.children, i), childOf(b.children, i)];
      if (x.equals(y)) continue;
      yield* go(
        level - 1,
        index * MAP_FANOUT + i,
        { fingerprint: x, location: locationOf(a, i) },
        { fingerprint: y, location: locationOf(b, i) },
      );
    }
  };
  yield* go(MAP_HEIGHT, 0, before, after);
}

/** Children of the node at (level, index) of a tree, or null when the tree has none there. Reads one node a level. */
export async function childrenAt(root: MapRoot, readNode: ReadNode, level: number, index: number): Promise<NodeView | null> {
  let at: MapRoot = root;
  for (let l = MAP_HEIGHT; ; l--) {
    if (isAbsent(at.fingerprint)) return null;
    const view = await readNode(at.fingerprint, at.location, l);
    if (l === level) return view;
    const slot = Math.floor(index / MAP_FANOUT ** (l - 1 - level)) % MAP_FANOUT;
    at = { fingerprint: childOf(view.children, slot), location: locationOf(view, slot) };
  }
}

export const mapRoot = (root: string | null, location: string | null): MapRoot => ({
  fingerprint: root === null ? ABSENT : Buffer.from(root, 'hex'),
  location: location === null ? null : Buffer.from(location, 'hex'),
});

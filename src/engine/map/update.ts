/**
 * Updating a map along what changed: old and new nodes fall out, and with them the diff.
 *
 * A subtree (level 2, 65,536 extents) is updated by itself, so that many workers share one volume; the two levels above
 * are put on top at the commit. Diff rows are every position of the tree whose value differs, which is what counts are
 * kept by: k changed extents cost k + changed nodes rows. Node bytes hold children only; locators are added when stored.
 */
import { MAP_FANOUT, MAP_HEIGHT, SUBTREE_LEVEL } from '../../domain/limits.ts';
import { ABSENT, CHILDREN_BYTES, childOf, encodeNode, fingerprintOf } from './node.ts';

export interface NewNode {
  readonly level: number;
  readonly index: number;
  readonly fingerprint: Buffer;
  /** Canonical bytes. */
  readonly bytes: Buffer;
  readonly children: Buffer;
}

export interface PositionChange {
  readonly level: number;
  readonly index: number;
  readonly old: Buffer;
  readonly new: Buffer;
}

export interface MapUpdate {
  /** Ascending by (level, index). */
  readonly diff: readonly PositionChange[];
  /** Nodes of the new tree along the changes, leaves first. */
  readonly nodes: readonly NewNode[];
  /** The value now at the top of what was updated; ABSENT when nothing is left. */
  readonly top: Buffer;
}

/** Children of the base's node at (level, index), or null where the base has none. */
export type ReadChildren = (level: number, index: number) => Promise<Buffer | null>;

export interface ValueAt {
  readonly index: number;
  readonly fingerprint: Buffer;
}

/**
 * Applies changes at `level` below the node (`topLevel`, `topIndex`). `changes` ascend by index and all lie below it.
 * Reads one base node for each node that changes.
 */
async function updateMap(
  topLevel: number,
  topIndex: number,
  level: number,
  changes: readonly ValueAt[],
  readChildren: ReadChildren,
): Promise<MapUpdate> {
  const diff: PositionChange[] = [];
  const nodes: NewNode[] = [];
  let below = changes;
  for (let at = level; at < topLevel; at++) {
    const above: ValueAt[] = [];
    for (let from = 0; from < below.length;) {
      const parent = Math.floor((below[from]?.index ?? 0) / MAP_FANOUT);
      const old = (await readChildren(at + 1, parent)) ?? Buffer.alloc(CHILDREN_BYTES);
      const children = Buffer.from(old);
      let changed = false;
      for (; from < below.length; from++) {
        const change = below[from];
        if (!change || Math.floor(change.index / MAP_FANOUT) !== parent) break;
        const slot = change.index % MAP_FANOUT;
        const before = Buffer.from(childOf(old, slot));
        if (before.equals(change.fingerprint)) continue;
        children.set(change.fingerprint, slot * ABSENT.length);
        diff.push({ level: at, index: change.index, old: before, new: change.fingerprint });
        changed = true;
      }
      if (!changed) continue;
      const bytes = encodeNode(at + 1, children);
      const fingerprint = bytes === null ? ABSENT : fingerprintOf(bytes);
      if (bytes !== null) nodes.push({ level: at + 1, index: parent, fingerprint, bytes, children });
      above.push({ index: parent, fingerprint });
    }
    below = above;
  }
  const oldTop = await readChildren(topLevel, topIndex);
  const oldBytes = oldTop === null ? null : encodeNode(topLevel, oldTop);
  const before = oldBytes === null ? ABSENT : fingerprintOf(oldBytes);
  const top = below[0]?.fingerprint ?? before;
  if (!top.equals(before)) diff.push({ level: topLevel, index: topIndex, old: before, new: top });
  return { diff, nodes, top };
}

/** Updates one subtree by changed extents; the rows include the subtree's own position. */
export const updateSubtree = (subtree: number, changes: readonly ValueAt[], readChildren: ReadChildren): Promise<MapUpdate> =>
  updateMap(SUBTREE_LEVEL, subtree, 0, changes, readChildren);

/** Puts changed subtrees under the levels above them; the rows are those levels' own. */
export async function updateTop(changes: readonly ValueAt[], readChildren: ReadChildren): Promise<MapUpdate> {
  const update = await updateMap(MAP_HEIGHT, 0, SUBTREE_LEVEL, changes, readChildren);
  return { ...update, diff: update.diff.filter((row) => row.level > SUBTREE_LEVEL) };
}

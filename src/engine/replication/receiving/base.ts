/**
 * The base's map, as a proof looks at it: which of its nodes the repository still has, and what can be had again of those
 * that it lacks.
 *
 *     a node is lost ──▶ its children are remembered, or follow from below ──▶ its bytes are made again, and its name checked
 *                   └──▶ else the base's pages are asked for: a leaf's for a leaf, all 256 where the subtree's node is gone
 *
 * What is made again is a value like any other: it is put into a pack of the claim and healed. Nodes above the subtrees follow
 * once each subtree of the base is known by name (`tops`).
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { MAP_FANOUT, MAP_HEIGHT, SUBTREE_LEVEL } from '../../../domain/limits.ts';
import { openBlob } from '../../../ground/sealing/blob.ts';
import { ABSENT, CHILDREN_BYTES, childOf, encodeNode, FINGERPRINT_BYTES, fingerprintOf, isAbsent } from '../../map/node.ts';
import type { NewNode } from '../../map/update.ts';
import { mapRoot, type MapRoot, type NodeView } from '../../map/walk.ts';
import { LOCATION_BYTES } from '../../repository/location.ts';
import { parseNodeBlob } from '../../repository/nodes.ts';
import { packNameOf } from '../../repository/object-names.ts';
import { packKeyOf } from '../../repository/pack.ts';
import { subtreeCount } from '../../repository/transfer-reader.ts';
import { BASE_PAGE } from '../messages.ts';
import { countedAt } from './holdings.ts';
import { applyPage } from './pages.ts';
import { baseOf, type SessionState } from './state.ts';

export interface BaseSurvey {
  /** Children of each leaf; null: nothing there. A leaf that is not known is not in it. */
  readonly leaves: ReadonlyMap<number, Buffer | null>;
  /** Pages of the base that are needed, 256 to 511. */
  readonly pages: readonly number[];
  /** Nodes that are lost and were made again. */
  readonly mended: readonly NewNode[];
  /** A node above the subtree cannot be read: the subtree cannot be finished before all are known. */
  readonly topless: boolean;
}

const NOTHING: BaseSurvey = {
  leaves: new Map(Array.from({ length: MAP_FANOUT }, (_, leaf) => [leaf, null])),
  ...{ pages: [], mended: [], topless: false },
};

interface LookedAt {
  /** Null: it cannot be read, here or in memory. */
  readonly view: NodeView | null;
  readonly lost: boolean;
}

/** Looks at the base in one subtree. `deep`: nodes are read, not only looked up. */
export async function surveyBase(state: SessionState, subtree: number, deep: boolean): Promise<BaseSurvey> {
  const base = baseOf(state);
  if (base === null) return NOTHING;
  const mended: NewNode[] = [];
  const look = async (at: MapRoot, level: number, index: number): Promise<NodeView | null> => {
    const { view, lost } = await lookAt(state, at, level, deep);
    if (lost && view !== null) mended.push(nodeOf(level, index, view.children));
    return view;
  };
  let at: MapRoot | null = mapRoot(base.root, base.rootLocation);
  for (let level = MAP_HEIGHT; level > SUBTREE_LEVEL && at !== null; level--) {
    if (isAbsent(at.fingerprint)) return NOTHING;
    const view = await look(at, level, Math.floor(subtree / MAP_FANOUT ** (level - SUBTREE_LEVEL)));
    at = view && childAt(view, Math.floor(subtree / MAP_FANOUT ** (level - 1 - SUBTREE_LEVEL)) % MAP_FANOUT);
  }
  const topless = at === null;
  if (at !== null && isAbsent(at.fingerprint)) {
    state.file.setTop(subtree, ABSENT);
    return { ...NOTHING, mended };
  }
  if (at !== null) state.file.setTop(subtree, at.fingerprint);
  const view = at && (await look(at, SUBTREE_LEVEL, subtree));
  if (view === null) return { ...(await subtreeFromPages(state, subtree, at?.fingerprint ?? null, mended)), topless };
  const leaves = new Map<number, Buffer | null>();
  const pages: number[] = [];
  for (let leaf = 0; leaf < MAP_FANOUT; leaf++) {
    const child = childAt(view, leaf);
    if (isAbsent(child.fingerprint)) {
      leaves.set(leaf, null);
      continue;
    }
    const index = subtree * MAP_FANOUT + leaf;
    const seen = await look(child, 1, index);
    const children = seen?.children ?? givenLeaf(state, subtree, leaf, child.fingerprint);
    if (children === null) {
      pages.push(BASE_PAGE + leaf);
      continue;
    }
    leaves.set(leaf, children);
    if (seen === null) mended.push(nodeOf(1, index, children));
  }
  return { leaves, pages, mended, topless };
}

/** The subtree's node and all its leaves from the pages that were given of them. */
async function subtreeFromPages(
  state: SessionState,
  subtree: number,
  expected: Buffer | null,
  mended: readonly NewNode[],
): Promise<Omit<BaseSurvey, 'topless'>> {
  const leaves = new Map<number, Buffer | null>();
  const above = Buffer.alloc(CHILDREN_BYTES);
  const nodes: NewNode[] = [];
  const pages: number[] = [];
  for (let leaf = 0; leaf < MAP_FANOUT; leaf++) {
    const children = leafFromPage(state, subtree, leaf);
    if (children === null) {
      pages.push(BASE_PAGE + leaf);
      continue;
    }
    const node = nodeOf(1, subtree * MAP_FANOUT + leaf, children);
    leaves.set(leaf, isAbsent(node.fingerprint) ? null : children);
    above.set(node.fingerprint, leaf * FINGERPRINT_BYTES);
    if (!isAbsent(node.fingerprint) && (await readStored(state, node.fingerprint, 1)) === null) nodes.push(node);
  }
  if (pages.length > 0) return { leaves: new Map(), pages, mended };
  const top = nodeOf(SUBTREE_LEVEL, subtree, above);
  if (expected !== null && !top.fingerprint.equals(expected)) {
    const all = Array.from({ length: MAP_FANOUT }, (_, leaf) => BASE_PAGE + leaf);
    for (const page of all) state.file.dropPage(subtree, page);
    return { leaves: new Map(), pages: all, mended };
  }
  state.file.setTop(subtree, top.fingerprint);
  if (!isAbsent(top.fingerprint)) nodes.push(top);
  return { leaves, pages: [], mended: [...mended, ...nodes] };
}

/** The nodes above the subtrees, made again from the subtrees' names; null: one of those is not known, or they are not the base's. */
export async function mendTop(state: SessionState): Promise<NewNode[] | null> {
  const base = baseOf(state);
  if (base === null) return [];
  const nodes: NewNode[] = [];
  let below = new Map<number, Buffer>();
  for (let subtree = 0; subtree < subtreeCount(base.sizeBytes, base.extentBytes); subtree++) {
    const top = state.file.top(subtree);
    if (top === null) return null;
    below.set(subtree, top);
  }
  for (let level = SUBTREE_LEVEL + 1; level <= MAP_HEIGHT; level++) {
    const above = new Map<number, Buffer>();
    for (const [index, fingerprint] of below) {
      const parent = Math.floor(index / MAP_FANOUT);
      const children = above.get(parent) ?? Buffer.alloc(CHILDREN_BYTES);
      above.set(parent, children);
      children.set(fingerprint, (index % MAP_FANOUT) * FINGERPRINT_BYTES);
    }
    below = new Map();
    for (const [index, children] of above) {
      const node = nodeOf(level, index, children);
      below.set(index, node.fingerprint);
      if (!isAbsent(node.fingerprint) && (await readStored(state, node.fingerprint, level)) === null) nodes.push(node);
    }
  }
  if ((below.get(0) ?? ABSENT).toString('hex') !== (base.root ?? ABSENT.toString('hex'))) return null;
  return nodes;
}

const leafFromPage = (state: SessionState, subtree: number, leaf: number): Buffer | null => {
  const page = state.file.page(subtree, BASE_PAGE + leaf);
  return page === null ? null : applyPage(page, null, MAP_FANOUT);
};

/** A leaf of the base as a page says it, if that is the leaf of this name; a page that says another one is needed again. */
function givenLeaf(state: SessionState, subtree: number, leaf: number, name: Buffer): Buffer | null {
  const children = leafFromPage(state, subtree, leaf);
  if (children === null || nodeOf(1, leaf, children).fingerprint.equals(name)) return children;
  state.file.dropPage(subtree, BASE_PAGE + leaf);
  return null;
}

const nodeOf = (level: number, index: number, children: Buffer): NewNode => {
  const bytes = encodeNode(level, children) ?? Buffer.alloc(0);
  return { level, index, children, bytes, fingerprint: bytes.length === 0 ? ABSENT : fingerprintOf(bytes) };
};

const childAt = (view: NodeView, slot: number): MapRoot => ({
  fingerprint: childOf(view.children, slot),
  location: view.locations.subarray(slot * LOCATION_BYTES, (slot + 1) * LOCATION_BYTES),
});

async function lookAt(state: SessionState, at: MapRoot, level: number, deep: boolean): Promise<LookedAt> {
  const { repository } = state;
  const row = countedAt(state, at.fingerprint);
  const isThere = row !== null && !row.lost;
  if (isThere && deep) {
    const view = await readStored(state, at.fingerprint, level);
    if (view !== null) return { view, lost: false };
  }
  try {
    const view = await repository.readNode(at.fingerprint, at.location, level);
    return { view, lost: !isThere || deep };
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING', 'SNAPSHOT_GONE')) throw error;
    return { view: null, lost: true };
  }
}

/** A node as the store has it, whatever is remembered of it. */
async function readStored({ repository }: SessionState, fingerprint: Buffer, level: number): Promise<NodeView | null> {
  const at = repository.locate(fingerprint);
  if (at === null) return null;
  const name = packNameOf(at.pack);
  const stored = await repository.store.get(name, { range: { offset: at.offset, length: at.length } });
  if (stored?.length !== at.length) return null;
  try {
    return parseNodeBlob(openBlob(stored, at.offset, packKeyOf(repository.key, name), fingerprint).plain, fingerprint, level);
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED')) throw error;
    return null;
  }
}

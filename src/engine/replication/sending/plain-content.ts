/**
 * The content of a session whose names are those of the sender's repository: pages from its maps, values from its packs.
 *
 * A base of the sender's may be reclaimed while the session runs. Then pages are given whole, which is right at any time and
 * costs names: the receiver finds the difference.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { MAP_FANOUT, SUBTREE_EXTENTS, SUBTREE_LEVEL } from '../../../domain/limits.ts';
import { ABSENT, childOf, isAbsent } from '../../map/node.ts';
import { childrenAt, mapRoot, type NodeView } from '../../map/walk.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import { LOCATION_BYTES, readLocation } from '../../repository/location.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import { subtreeCount } from '../../repository/transfer-reader.ts';
import type { FetchValue } from '../../transfer/read-plan.ts';
import { PAGE_NAMES, type KnownBase } from '../frames.ts';
import { BASE_PAGE } from '../messages.ts';
import { BASES_MAX } from '../wire/bounds.ts';
import { ZEROS } from '../wire/content-reader.ts';
import type { Against, DueValue, PageRows, SessionContent } from './content.ts';
import type { ValueSource } from './value-source.ts';

const PAGES_OF_SUBTREE = SUBTREE_EXTENTS / PAGE_NAMES;

/** The live snapshots of its lineage beside this one, the newest first. */
function basesOf(source: RepositoryReader, snapshot: Snapshot): Snapshot[] {
  return [...source.ledger().snapshots.values()]
    .filter(({ id, lineage, extentBytes }) => id !== snapshot.id && lineage === snapshot.lineage && extentBytes === snapshot.extentBytes)
    .sort((a, b) => b.seq - a.seq)
    .slice(0, BASES_MAX);
}

const rootOf = ({ root }: Snapshot): string => root ?? ZEROS;

export function plainContent(source: RepositoryReader, snapshot: Snapshot, values: ValueSource): SessionContent {
  const { readNode } = source;
  const { sizeBytes, extentBytes } = snapshot;
  const leaves = Math.ceil(sizeBytes / (extentBytes * PAGE_NAMES));
  const node = (of: Snapshot, level: number, index: number): Promise<NodeView | null> =>
    childrenAt(mapRoot(of.root, of.rootLocation), readNode, level, index);
  const leafOf = (subtree: number, page: number): number => subtree * PAGES_OF_SUBTREE + (page % BASE_PAGE);

  const snapshotOf = (base: KnownBase): Snapshot | null => {
    const there = source.ledger().snapshots.get(base.snapshot);
    return there !== undefined && rootOf(there) === base.root && there.lineage === snapshot.lineage && there.extentBytes === extentBytes
      ? there
      : null;
  };

  /** A node of the base; undefined: it cannot be read (any more). */
  const baseNode = async (against: Against, level: number, index: number): Promise<NodeView | null | undefined> => {
    if (against.kind === 'nothing') return null;
    const base = against.kind === 'base' ? snapshotOf(against.base) : null;
    if (base === null) return undefined;
    try {
      return await node(base, level, index);
    } catch (error) {
      if (isHoldfastError(error, 'OBJECT_MISSING', 'DAMAGED', 'SNAPSHOT_GONE')) return undefined;
      throw error;
    }
  };

  const rows = async (subtree: number, page: number, against: Against, differs: boolean): Promise<PageRows> => {
    const leaf = leafOf(subtree, page);
    if (page >= BASE_PAGE) {
      const base = await baseNode(against, 1, leaf);
      if (base === undefined)
        throw new HoldfastError('NAME_GONE', 'the receiver has lost a part of its base, and the sender does not have it any more', {
          subtree,
          page,
        });
      return { whole: true, rows: rowsOf(base) };
    }
    const own = await node(snapshot, 1, leaf);
    const base = differs && against.kind === 'base' ? await baseNode(against, 1, leaf) : undefined;
    return base === undefined ? { whole: true, rows: rowsOf(own) } : { whole: false, rows: differences(base, own) };
  };

  return {
    sizeBytes,
    extentBytes,
    root: rootOf(snapshot),
    sealedBySender: false,
    bases: basesOf(source, snapshot).map((base) => ({ snapshot: base.id, root: rootOf(base) })),
    against(base) {
      if (base === null) return { kind: 'nothing' };
      return snapshotOf(base) === null ? { kind: 'unknown' } : { kind: 'base', base };
    },
    subtrees: subtreeCount(sizeBytes, extentBytes),
    async pages(subtree, against) {
      const own = await node(snapshot, SUBTREE_LEVEL, subtree);
      const base = await baseNode(against, SUBTREE_LEVEL, subtree);
      const first = leafOf(subtree, 0);
      const inVolume = Array.from({ length: PAGES_OF_SUBTREE }, (_, page) => page).filter((page) => first + page < leaves);
      return base === undefined ? inVolume : inVolume.filter((page) => !childIn(base, page).equals(childIn(own, page)));
    },
    rows,
    read: async (due, deliver, signal, inFull) =>
      values.read(await placed(due, (subtree, page) => node(snapshot, 1, leafOf(subtree, page))), deliver, signal, inFull),
  };
}

const childIn = (view: NodeView | null, i: number): Buffer => (view === null ? ABSENT : childOf(view.children, i));

function rowsOf(view: NodeView | null): PageRows['rows'] {
  if (view === null) return [];
  return range().flatMap((child) => {
    const name = childOf(view.children, child);
    return isAbsent(name) ? [] : [{ child, name: name.toString('hex') }];
  });
}

const differences = (base: NodeView | null, own: NodeView | null): PageRows['rows'] =>
  range().flatMap((child) => {
    const name = childIn(own, child);
    return name.equals(childIn(base, child)) ? [] : [{ child, name: name.toString('hex') }];
  });

const range = (): number[] => Array.from({ length: MAP_FANOUT }, (_, i) => i);

/** Looks values up on the snapshot's map: where they lie, and whether they are where the receiver says. */
async function placed(due: readonly DueValue[], leaf: (subtree: number, page: number) => Promise<NodeView | null>): Promise<FetchValue[]> {
  const found: FetchValue[] = [];
  for (const values of Map.groupBy(due, ({ subtree, page }) => `${subtree} ${page}`).values()) {
    const [{ subtree, page } = { subtree: 0, page: 0 }] = values;
    const view = await leaf(subtree, page);
    const byName = new Map(rowsOf(view).map(({ child, name }) => [name, child]));
    for (const { name, at } of values) {
      const child = at === null ? byName.get(name) : at % PAGE_NAMES;
      const fingerprint = child === undefined ? ABSENT : childIn(view, child);
      if (view === null || child === undefined || fingerprint.toString('hex') !== name)
        throw new HoldfastError('FRAME_INVALID', 'the receiver asks for a name that the snapshot does not have there', {
          subtree,
          page,
          name,
        });
      const location = readLocation(view.locations.subarray(child * LOCATION_BYTES, (child + 1) * LOCATION_BYTES), 0);
      found.push({ fingerprint, location, extents: [subtree * SUBTREE_EXTENTS + page * PAGE_NAMES + child] });
    }
  }
  return found;
}

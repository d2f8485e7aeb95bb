/**
 * A snapshot, read at random: what an export of it serves, straight from its repository.
 *
 * Extents are fetched whole, checked against their fingerprints, and kept while they are among the last used; what is read
 * from front to back is fetched ahead. What is under way is asked for once, however many ask.
 */
import { MAP_FANOUT } from '../../domain/limits.ts';
import { allEnded } from '../../ground/threads/all-ended.ts';
import { Permits } from '../../ground/threads/permits.ts';
import { childOf, isAbsent } from '../map/node.ts';
import { childrenAt, mapRoot, type NodeView } from '../map/walk.ts';
import type { Snapshot } from '../repository/ledger.ts';
import { LOCATION_BYTES, readLocation } from '../repository/location.ts';
import type { RepositoryReader } from '../repository/reader.ts';
import type { StatusRun } from './nbd/export.ts';
import { STATE } from './nbd/protocol.ts';
import { ReadAhead } from './read-ahead.ts';

export interface SnapshotView {
  readonly sizeBytes: number;
  readonly extentBytes: number;
  /** Fills `into` from `offset`. DAMAGED or the like when it cannot be had as it was. */
  read(into: Buffer, offset: number): Promise<void>;
  /** Plain bytes of one extent, whole; null: zeros. */
  extent(index: number): Promise<Buffer | null>;
  /** Zeros are holes. */
  allocation(offset: number, length: number): AsyncIterable<StatusRun>;
  /** Fetched from the store so far, in extents. */
  readonly figures: { readonly fetched: number };
}

export interface SnapshotViewOptions {
  /** Plain bytes that are kept. */
  readonly cacheBytes: number;
  /** Extents fetched ahead of a reader that goes from front to back. */
  readonly ahead: number;
}

const VIEW_DEFAULT: SnapshotViewOptions = { cacheBytes: 64 * 1024 * 1024, ahead: 4 };
/** Fetches at once. */
const FETCHES_MAX = 8;

export function createSnapshotView(
  reader: RepositoryReader,
  snapshot: Snapshot,
  { cacheBytes, ahead: aheadMax }: SnapshotViewOptions = VIEW_DEFAULT,
): SnapshotView {
  const { sizeBytes, extentBytes } = snapshot;
  const root = mapRoot(snapshot.root, snapshot.rootLocation);
  const extents = Math.ceil(sizeBytes / extentBytes);
  const keptMax = Math.max(FETCHES_MAX + aheadMax, Math.floor(cacheBytes / extentBytes));
  /** Least recently used first. */
  const kept = new Map<number, Promise<Buffer | null>>();
  const permits = new Permits(FETCHES_MAX);
  const figures = { fetched: 0 };
  const ahead = new ReadAhead(extents, aheadMax);

  const fetch = async (index: number): Promise<Buffer | null> => {
    const leaf = await childrenAt(root, reader.readNode, 1, Math.floor(index / MAP_FANOUT));
    const slot = index % MAP_FANOUT;
    if (leaf === null || isAbsent(childOf(leaf.children, slot))) return null;
    await permits.take();
    try {
      figures.fetched++;
      const hint = leaf.locations.subarray(slot * LOCATION_BYTES, (slot + 1) * LOCATION_BYTES);
      return await reader.values.readExtent(childOf(leaf.children, slot), readLocation(hint, 0));
    } finally {
      permits.give();
    }
  };

  const extent = (index: number): Promise<Buffer | null> => {
    const known = kept.get(index);
    const value = known ?? fetch(index);
    if (known) kept.delete(index);
    // What failed is asked for again.
    else value.catch(() => kept.get(index) === value && kept.delete(index));
    kept.set(index, value);
    for (const oldest of kept.keys()) {
      if (kept.size <= keptMax) break;
      kept.delete(oldest);
    }
    return value;
  };

  return {
    ...{ sizeBytes, extentBytes, extent, figures },
    async read(into, offset) {
      const from = Math.floor(offset / extentBytes);
      const to = Math.floor((offset + into.length - 1) / extentBytes);
      const reads: Promise<void>[] = [];
      for (let index = from; index <= to; index++) {
        const start = Math.max(offset, index * extentBytes);
        const end = Math.min(offset + into.length, (index + 1) * extentBytes);
        const part = into.subarray(start - offset, end - offset);
        reads.push(
          extent(index).then((plain) => {
            if (plain === null) part.fill(0);
            else plain.copy(part, 0, start - index * extentBytes, end - index * extentBytes);
          }),
        );
      }
      for (const next of ahead.after(from, to)) if (!kept.has(next)) extent(next).catch(() => undefined);
      await allEnded(reads);
    },
    async *allocation(offset, length) {
      const end = offset + length;
      const leafBytes = MAP_FANOUT * extentBytes;
      for (let at = offset; at < end;) {
        const leafAt = Math.floor(at / leafBytes);
        const leaf = await childrenAt(root, reader.readNode, 1, leafAt);
        const until = Math.min(end, (leafAt + 1) * leafBytes);
        if (leaf === null) yield { length: until - at, flags: STATE.HOLE | STATE.ZERO };
        else yield* leafAllocation(leaf, at, until, extentBytes);
        at = until;
      }
    },
  };
}

/** [from, to) is of one leaf. */
function* leafAllocation(leaf: NodeView, from: number, to: number, extentBytes: number): Generator<StatusRun> {
  const isHole = (at: number): boolean => isAbsent(childOf(leaf.children, Math.floor(at / extentBytes) % MAP_FANOUT));
  for (let at = from; at < to;) {
    const hole = isHole(at);
    let until = at;
    while (until < to && isHole(until) === hole) until = (Math.floor(until / extentBytes) + 1) * extentBytes;
    until = Math.min(until, to);
    yield { length: until - at, flags: hole ? STATE.HOLE | STATE.ZERO : 0 };
    at = until;
  }
}

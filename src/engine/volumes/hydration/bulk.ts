/**
 * The background of a hydration, and that of a snapshot: what is still cold, fetched as a restore fetches it.
 *
 *     map ──cold values──▶ ranges of packs ──in flight──▶ claim ──▶ a thread opens, checks, writes ──▶ local
 *
 * The extents of a range are claimed only while a thread writes them, so that a client waits for milliseconds and never for
 * the store. What became local since the range was asked for is left out.
 */
import { open } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { isHoldfastError, type HoldfastError } from '../../../domain/errors.ts';
import { MAP_FANOUT, SUBTREE_EXTENTS, SUBTREE_LEVEL } from '../../../domain/limits.ts';
import { SLOT_BYTES } from '../../../ground/threads/tasks.ts';
import { ABSENT, childOf, isAbsent } from '../../map/node.ts';
import { childrenAt, mapRoot, type NodeView } from '../../map/walk.ts';
import { LOCATION_BYTES, readLocation } from '../../repository/location.ts';
import { transferReader } from '../../repository/transfer-reader.ts';
import { Batches } from '../../transfer/batches.ts';
import type { PlacedValue } from '../../transfer/contract.ts';
import { fetchSlots, fetchValues, type UseRange } from '../../transfer/fetch.ts';
import { byFingerprint, placeRange } from '../../transfer/placing.ts';
import type { OnProgress } from '../../transfer/progress.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import type { ExtentSet } from '../tracking/extent-set.ts';
import type { LocalExtents } from './local-extents.ts';

export interface BulkPort {
  readonly extents: LocalExtents;
  readonly signal: AbortSignal;
  readonly progress: OnProgress;
  /** Resolves when the next range may be read. */
  readonly proceed: (signal: AbortSignal) => Promise<void>;
  readonly onWritten: (extents: number, bytes: number) => void;
  /** Some extents cannot be had: they stay cold. */
  readonly onLost: (error: HoldfastError) => void;
}

export interface Bulk extends AsyncDisposable {
  /** Makes local what is cold, as far as the store has it. Throws what trying again may mend. */
  fill(port: BulkPort): Promise<void>;
}

/** What of the extents the background of a snapshot uses. */
export type ExtentsToFill = Pick<LocalExtents, 'isLocal' | 'putZeros' | 'claim'> & { readonly set: Pick<ExtentSet, 'count' | 'has'> };

/** A snapshot, and what it is fetched with. */
export interface SnapshotSource {
  readonly reader: RepositoryReader;
  readonly snapshot: Snapshot;
  /** The store's name, for errors. */
  readonly store: string;
  readonly threads: Threads;
}

export interface SnapshotBulk extends AsyncDisposable {
  fill(port: SnapshotPort): Promise<void>;
}

type SnapshotPort = Omit<BulkPort, 'extents'> & { readonly extents: ExtentsToFill };

/** All subtrees in the order of the map. `path`: of the volume's file, which is written through a descriptor of its own. */
export async function openSnapshotBulk(source: SnapshotSource, path: string): Promise<SnapshotBulk> {
  const handle = await open(path, 'r+');
  return {
    async fill(port) {
      for (let subtree = 0; subtree * SUBTREE_EXTENTS < port.extents.set.count; subtree++) {
        port.signal.throwIfAborted();
        await fillSubtree(source, handle.fd, subtree, port);
      }
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

async function fillSubtree(origin: SnapshotSource, fd: number, subtree: number, port: SnapshotPort): Promise<void> {
  const { threads, snapshot } = origin;
  const { extents, progress, proceed } = port;
  const values = await byFingerprint(coldValues(origin, subtree, port));
  if (values.length === 0) return;
  const slots = fetchSlots(threads.count);
  using reservation = await threads.buffers.reserve(slots * SLOT_BYTES, port.signal);
  const batches = new Batches(reservation, slots, port.signal);
  const use: UseRange = async (range) => {
    using claim = extents.claim(range.values.flatMap((value) => value.extents));
    const { failures, writtenBytes } = await placeRange(threads, range, { fd, ...snapshot }, (value) =>
      value.extents.filter((extent) => claim.extents.has(extent)),
    );
    const failed = new Set(failures.flatMap(({ blob }) => range.values[blob]?.extents ?? []));
    const written = [...claim.extents].filter((extent) => !failed.has(extent));
    claim.end(written);
    port.onWritten(written.length, writtenBytes);
    progress({ kind: 'written', bytes: writtenBytes });
    return failures;
  };
  const { extentBytes } = snapshot;
  const reader = transferReader(origin.reader, origin.store);
  try {
    await fetchValues({ reader, extentBytes, batches, progress, use, proceed, onLost: ({ error }) => port.onLost(error) }, values);
  } catch (error) {
    batches.stop(error);
    throw batches.signal.reason;
  } finally {
    await batches.ended();
  }
}

/** What the map says of cold extents, leaf by leaf; zeros become local on the way, and what the map lacks is lost. */
async function* coldValues(origin: SnapshotSource, subtree: number, port: SnapshotPort): AsyncGenerator<PlacedValue> {
  const { snapshot, reader } = origin;
  const { extents, onLost } = port;
  const root = mapRoot(snapshot.root, snapshot.rootLocation);
  const first = subtree * SUBTREE_EXTENTS;
  const end = Math.min(first + SUBTREE_EXTENTS, extents.set.count);
  if (extents.isLocal(first, end)) return;
  const top = await unlessLost(childrenAt(root, reader.readNode, SUBTREE_LEVEL, subtree), onLost);
  if (top === 'lost') return;
  for (let from = first, i = 0; from < end; from += MAP_FANOUT, i++) {
    const to = Math.min(from + MAP_FANOUT, end);
    if (extents.isLocal(from, to)) continue;
    port.signal.throwIfAborted();
    const child = top === null ? ABSENT : childOf(top.children, i);
    const leaf = isAbsent(child) || top === null ? null : await unlessLost(reader.readNode(child, locationRow(top, i), 1), onLost);
    if (leaf === null) extents.putZeros(from, to);
    else if (leaf !== 'lost') yield* coldOfLeaf(leaf, from, to, extents);
  }
  // A volume of zeros has nothing to wait for; others shall have their turn.
  await setImmediate();
}

function* coldOfLeaf(leaf: NodeView, from: number, to: number, extents: ExtentsToFill): Generator<PlacedValue> {
  const isZero = (extent: number): boolean => isAbsent(childOf(leaf.children, extent - from));
  for (let extent = from; extent < to;) {
    let until = extent + 1;
    if (isZero(extent)) {
      while (until < to && isZero(until)) until++;
      extents.putZeros(extent, until);
    } else if (!extents.set.has(extent)) {
      const fingerprint = childOf(leaf.children, extent - from);
      yield { extent, fingerprint, location: readLocation(locationRow(leaf, extent - from), 0) };
    }
    extent = until;
  }
}

const locationRow = (node: NodeView, i: number): Buffer => node.locations.subarray(i * LOCATION_BYTES, (i + 1) * LOCATION_BYTES);

/** Whether trying again does not mend it. */
export const isLoss = (error: unknown): error is HoldfastError =>
  isHoldfastError(
    error,
    'DAMAGED',
    'OBJECT_MISSING',
    'RECORD_INVALID',
    'SNAPSHOT_GONE',
    'UPGRADE_REQUIRED',
    'BATCH_FOREIGN',
    'CHAIN_BROKEN',
  );

/** A part of the map, or that it cannot be had any more; what may be had later is thrown. */
async function unlessLost<T>(reading: Promise<T>, onLost: (error: HoldfastError) => void): Promise<T | 'lost'> {
  try {
    return await reading;
  } catch (error) {
    if (!isLoss(error)) throw error;
    onLost(error);
    return 'lost';
  }
}

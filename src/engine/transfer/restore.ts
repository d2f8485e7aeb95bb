/**
 * Restores one subtree of a snapshot into a file or device.
 *
 *     values ──by pack──▶ ranges ──GETS_IN_FLIGHT──▶ open, check, write in threads ──▶ target
 *
 * Each value is read once and written at all its positions; each is checked against the fingerprint that the map names,
 * and the map against the root by whoever walked it, so that nothing is written that does not belong to the root. In
 * `differences` the target is read first and only what differs is fetched. A target that was there before gets holes (or
 * zeros) where the snapshot has none but zeros.
 *
 * That proves what was written, not what a reader of the target will see: proveSubtree reads it again and holds it against
 * the map. In page cache that is a fifth of the time of the restore; from a medium it is the time to read the volume.
 *
 * A restore whose room runs out leaves what it has written: in `differences` the next one finds it there and fetches the rest.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { SLOT_BYTES } from '../../ground/threads/tasks.ts';
import { Batches } from './batches.ts';
import type { PlacedValue, ValueReader } from './contract.ts';
import { syncEarly } from './early-sync.ts';
import { fetchSlots, fetchValues, type UseRange } from './fetch.ts';
import { byFingerprint, placeRange } from './placing.ts';
import type { OnProgress } from './progress.ts';
import type { FetchValue } from './read-plan.ts';
import type { RestoreTarget } from './restore-target.ts';
import { clearExtents, compareExtents, extentsWithData, type TargetDeps } from './target-content.ts';

export interface SubtreeRestore {
  /** The subtree's values that are not zeros, in any order. */
  readonly values: AsyncIterable<PlacedValue>;
  readonly reader: ValueReader;
  readonly target: RestoreTarget;
  readonly extentBytes: number;
  readonly subtree: number;
  readonly write: 'all' | 'differences';
  readonly threads: Threads;
  /** Extents that somebody else writes afterwards: what it names when their turn has come is neither fetched nor written. */
  readonly leaveOut?: (extent: number) => boolean;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface RestoreResult {
  readonly extents: number;
  /** Extents that were there already. */
  readonly extentsKept: number;
  readonly writtenBytes: number;
  readonly clearedBytes: number;
  /** Bytes got from the store. */
  readonly gotBytes: number;
}

/** What each position wants. */
const wantedOf = (values: readonly FetchValue[]): Map<number, Buffer> =>
  new Map(values.flatMap(({ fingerprint, extents }) => extents.map((extent) => [extent, fingerprint] as const)));

export async function restoreSubtree(restore: SubtreeRestore): Promise<RestoreResult> {
  const { target, threads, extentBytes, leaveOut = () => false, progress = () => undefined } = restore;
  const slots = fetchSlots(threads.count);
  using reservation = await threads.buffers.reserve(slots * SLOT_BYTES, restore.signal);
  const batches = new Batches(reservation, slots, restore.signal);
  const deps: TargetDeps = { ...restore, batches, progress };
  const early = syncEarly(target, (error) => batches.stop(error));
  const count = { writtenBytes: 0, gotBytes: 0 };
  let toWriteBytes = 0;
  try {
    const all = await byFingerprint(restore.values);
    const wanted = wantedOf(all);
    const { kept, clearedBytes } = await prepareTarget(deps, wanted, restore.write);
    toWriteBytes = (wanted.size - kept.size) * extentBytes;
    const stillWanted = ({ extents }: FetchValue): readonly number[] => extents.filter((extent) => !leaveOut(extent));
    const isWanted = (value: FetchValue): boolean => stillWanted(value).length > 0;
    const use: UseRange = async (range) => {
      const result = await placeRange(threads, range, { ...target, extentBytes }, stillWanted);
      count.writtenBytes += result.writtenBytes;
      early.wrote(result.writtenBytes);
      progress({ kind: 'written', bytes: result.writtenBytes });
      return result.failures;
    };
    const counting: OnProgress = (event) => {
      if (event.kind === 'got') count.gotBytes += event.bytes;
      progress(event);
    };
    const values = all.flatMap((value): FetchValue[] => {
      const extents = value.extents.filter((extent) => !kept.has(extent));
      return extents.length === 0 ? [] : [{ ...value, extents }];
    });
    const onLost = ({ error }: { readonly error: HoldfastError }): void => {
      throw error;
    };
    await fetchValues({ reader: restore.reader, extentBytes, batches, progress: counting, use, isWanted, onLost }, values);
    await early.ended();
    batches.signal.throwIfAborted();
    return { extents: wanted.size, extentsKept: kept.size, clearedBytes, ...count };
  } catch (error) {
    batches.stop(error);
    await batches.ended();
    throw refusedBy(target, batches.signal.reason, toWriteBytes - count.writtenBytes);
  } finally {
    await batches.ended();
    await early.ended();
  }
}

/** A thread knows a descriptor and an offset; a person wants the path, and how much room is wanted. */
function refusedBy({ path }: RestoreTarget, error: unknown, missingBytes: number): unknown {
  if (!isHoldfastError(error, 'TARGET_FULL', 'TARGET_UNWRITABLE')) return error;
  const { code, message, details } = error;
  const where = details['path'] === undefined ? `${path}: ${message}` : message;
  if (code !== 'TARGET_FULL') return new HoldfastError(code, where, { ...details, path }, error);
  return new HoldfastError(code, `${where}; room for ${missingBytes} bytes more is wanted`, { ...details, path, missingBytes }, error);
}

/** Clears what should be zeros in a target that was there before, and finds what it holds already. */
async function prepareTarget(
  deps: TargetDeps,
  wanted: ReadonlyMap<number, Buffer>,
  write: SubtreeRestore['write'],
): Promise<{ readonly kept: ReadonlySet<number>; readonly clearedBytes: number }> {
  const kept = new Set<number>();
  if (deps.target.fresh) return { kept, clearedBytes: 0 };
  const held = [...extentsWithData(deps)];
  const clearedBytes = await clearExtents(
    deps,
    held.filter((extent) => !wanted.has(extent)),
  );
  if (write === 'all') return { kept, clearedBytes };
  const comparable = held.filter((extent) => wanted.has(extent));
  for (const extent of comparable) kept.add(extent);
  await compareExtents(deps, comparable, wanted, (extent) => kept.delete(extent));
  return { kept, clearedBytes };
}

export interface SubtreeProof extends Pick<
  SubtreeRestore,
  'values' | 'target' | 'extentBytes' | 'subtree' | 'threads' | 'progress' | 'signal'
> {}

/** Reads a subtree of the target again and holds it against the map. PROOF_FAILED names the first extent that differs. */
export async function proveSubtree(proof: SubtreeProof): Promise<{ readonly extents: number; readonly readBytes: number }> {
  const { threads } = proof;
  const slots = threads.count + 1;
  using reservation = await threads.buffers.reserve(slots * SLOT_BYTES, proof.signal);
  const batches = new Batches(reservation, slots, proof.signal);
  let readBytes = 0;
  const progress: OnProgress = (event) => {
    if (event.kind === 'read') readBytes += event.bytes;
    proof.progress?.(event);
  };
  try {
    const wanted = wantedOf(await byFingerprint(proof.values));
    const held = new Set(extentsWithData(proof));
    for (const extent of wanted.keys()) if (!held.has(extent)) throw proofFailed(extent, 'is a hole');
    await compareExtents({ ...proof, batches, progress }, held, wanted, (extent) => {
      throw proofFailed(extent, 'is not what was written there');
    });
    return { extents: wanted.size, readBytes };
  } catch (error) {
    batches.stop(error);
    throw batches.signal.reason;
  } finally {
    await batches.ended();
  }
}

const proofFailed = (extent: number, what: string): HoldfastError =>
  new HoldfastError('PROOF_FAILED', `extent ${extent} of the target ${what}`, { extent });

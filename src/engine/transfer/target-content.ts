/**
 * What a target holds, held against what a snapshot's map says: which extents differ, which should be zeros and are not.
 *
 * Used before a restore that writes only what differs, and after one that is to be proven by reading it again. Holes are
 * told by the file system and not read. Batches run on the threads; memory is two lists of extent numbers.
 */
import { MAP_FANOUT, SUBTREE_EXTENTS } from '../../domain/limits.ts';
import { dataRanges } from '../../ground/libc/libc.ts';
import { batchExtents, slotFingerprint } from '../../ground/threads/tasks.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { ABSENT } from '../map/node.ts';
import type { Batches } from './batches.ts';
import type { OnProgress } from './progress.ts';
import type { RestoreTarget } from './restore-target.ts';

/** What the map says, by extent; an extent that is not in it is zeros. */
export type Wanted = ReadonlyMap<number, Buffer>;

export interface TargetDeps {
  readonly target: RestoreTarget;
  readonly extentBytes: number;
  readonly subtree: number;
  readonly threads: Threads;
  readonly batches: Batches;
  readonly progress: OnProgress;
}

/** Extents of the subtree that may hold data in the target, ascending. */
export function* extentsWithData(deps: Pick<TargetDeps, 'target' | 'extentBytes' | 'subtree'>): Generator<number> {
  const { target, extentBytes } = deps;
  const first = deps.subtree * SUBTREE_EXTENTS;
  const end = Math.min((first + SUBTREE_EXTENTS) * extentBytes, target.sizeBytes);
  let next = first;
  for (let at = first * extentBytes; at < end; at += MAP_FANOUT * extentBytes) {
    for (const range of dataRanges(target.fd, at, Math.min(MAP_FANOUT * extentBytes, end - at))) {
      const last = Math.floor((range.offset + range.length - 1) / extentBytes);
      for (next = Math.max(next, Math.floor(range.offset / extentBytes)); next <= last; next++) yield next;
    }
  }
}

/** Reads `extents` of the target and reports those that are not what the map says. */
export async function compareExtents(
  deps: TargetDeps,
  extents: Iterable<number>,
  wanted: Wanted,
  onOther: (extent: number) => void,
): Promise<void> {
  const { target, extentBytes, threads, batches, progress } = deps;
  const compare = async (slot: SharedArrayBuffer, batch: readonly number[]): Promise<void> => {
    const { readBytes } = await threads.run('hash', { slot, fd: target.fd, extentBytes, sizeBytes: target.sizeBytes, extents: batch });
    progress({ kind: 'read', bytes: readBytes });
    const bytes = Buffer.from(slot);
    batch.forEach((extent, i) => {
      if (!slotFingerprint(bytes, i).equals(wanted.get(extent) ?? ABSENT)) onOther(extent);
    });
  };
  const size = batchExtents(extentBytes);
  let batch: number[] = [];
  for (const extent of extents) {
    batch.push(extent);
    if (batch.length < size) continue;
    const full = batch;
    batch = [];
    await batches.run((slot) => compare(slot, full));
  }
  if (batch.length > 0) await batches.run((slot) => compare(slot, batch));
  await batches.drain();
}

/** Runs of consecutive numbers. */
function* runs(extents: readonly number[]): Generator<{ readonly first: number; readonly count: number }> {
  for (let i = 0; i < extents.length;) {
    const first = extents[i] ?? 0;
    let count = 1;
    while (extents[i + count] === first + count) count++;
    yield { first, count };
    i += count;
  }
}

/** Makes extents zeros. Returns how many bytes that were. */
export async function clearExtents(deps: Pick<TargetDeps, 'target' | 'extentBytes'>, extents: readonly number[]): Promise<number> {
  const { target, extentBytes } = deps;
  let cleared = 0;
  for (const { first, count } of runs(extents)) {
    const offset = first * extentBytes;
    const length = Math.min(count * extentBytes, target.sizeBytes - offset);
    await target.clear(offset, length);
    cleared += length;
  }
  return cleared;
}

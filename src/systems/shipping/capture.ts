/**
 * Capture: one read of a volume, many destinations (system C), in three steps that a workflow drives.
 *
 *     openCapture      claim the lineage in each store; each has its own base
 *     shipVolume       a subtree at a time: read once, hash once, compress once per codec, seal and put per store
 *     commitCapture    per store: the snapshot appears there, or not at all
 *
 * Every step may be made again by any attempt on any process of the volume's node: what a store has confirmed is adopted.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { VOLUME_EXTENTS_MAX } from '../../domain/limits.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { subtreeCount } from '../../engine/repository/transfer-reader.ts';
import { openFileSource, type FileSource } from '../../engine/transfer/file-source.ts';
import type { OnProgress } from '../../engine/transfer/progress.ts';
import type { Selection } from '../../engine/transfer/selection.ts';
import { shipSubtree } from '../../engine/transfer/ship-volume.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { readChangedRanges } from './changed-ranges.ts';
import { claimStores, openDestinations, shipped, type OpenClaim, type StoreParts } from './destinations.ts';
import { createGate } from './gate.ts';
import type { CapturePlan, OpenedDestination } from './plan.ts';

export interface OpenedCapture {
  readonly sizeBytes: number;
  /** Identity and times of the source; see file-source.ts. */
  readonly stamp: string;
  readonly takenMs: number;
  readonly subtrees: number;
  readonly destinations: readonly OpenedDestination[];
}

export interface Attempt {
  /** The workflow's run. */
  readonly owner: string;
  readonly attempt: number;
}

export async function openCapture(home: Home, plan: CapturePlan, by: Attempt): Promise<OpenedCapture> {
  await using source = await openFileSource(plan.path);
  const { sizeBytes, stamp } = source;
  if (sizeBytes > VOLUME_EXTENTS_MAX * plan.extentBytes)
    throw new HoldfastError('ARGUMENT_INVALID', 'the volume is larger than its extent size allows', { field: 'extentBytes', sizeBytes });
  let largest = sizeBytes;
  const destinations = await claimStores(home, plan.stores, {
    ...{ lineage: plan.lineage, repository: plan.repository, snapshot: plan.snapshot, ...by },
    check(base) {
      if (base === null) return;
      largest = Math.max(largest, base.sizeBytes);
      if (base.extentBytes !== plan.extentBytes)
        throw new HoldfastError('ARGUMENT_INVALID', 'the lineage was begun with another extent size', {
          field: 'extentBytes',
          expected: String(base.extentBytes),
        });
      if (base.sizeBytes > sizeBytes && !plan.allowShrink)
        throw new HoldfastError('VOLUME_SHRANK', `${plan.volume} has ${sizeBytes} bytes, its newest snapshot ${base.sizeBytes}`, {
          volume: plan.volume,
          sizeBytes,
          expected: base.sizeBytes,
        });
    },
  });
  return { sizeBytes, stamp, takenMs: home.environment.nowMs(), subtrees: subtreeCount(largest, plan.extentBytes), destinations };
}

export interface ShippedPart extends StoreParts {
  readonly subtree: number;
  readonly readBytes: number;
  readonly extentsRead: number;
  /** Extents compressed, once per codec. */
  readonly encoded: number;
  /** The source was still as it was when the job was opened. */
  readonly stable: boolean;
}

export interface ShipOptions {
  readonly threads: Threads;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export async function shipVolume(
  home: Home,
  plan: CapturePlan,
  opened: OpenedCapture,
  subtree: number,
  claims: readonly OpenClaim[],
  options: ShipOptions,
): Promise<ShippedPart> {
  const { destinations, failures } = await openDestinations(home, plan, claims);
  await using source = await openFileSource(plan.path);
  const selections = await selectionsOf(home, plan, opened, claims);
  const { parts, result } = await shipped(failures, () =>
    shipSubtree({
      source,
      extentBytes: plan.extentBytes,
      subtree,
      destinations: destinations.map((destination) => ({ destination, selection: selections.get(destination.store) ?? { kind: 'all' } })),
      health: createGate(),
      ...options,
    }),
  );
  const { extentsRead = 0, encoded = 0 } = result ?? {};
  return { subtree, ...parts, readBytes: source.readBytes, extentsRead, encoded, stable: await isStable(source, opened) };
}

const isStable = async (source: FileSource, opened: OpenedCapture): Promise<boolean> =>
  source.stamp === opened.stamp && (await source.consistency()) === 'crash';

/** A hint holds relative to one base; a store with another base has all of the volume compared. */
async function selectionsOf(
  home: Home,
  plan: CapturePlan,
  opened: OpenedCapture,
  claims: readonly OpenClaim[],
): Promise<ReadonlyMap<string, Selection>> {
  const selections = new Map<string, Selection>();
  if (plan.changed === null) return selections;
  const ranges = await readChangedRanges(plan.changed.ranges);
  for (const { store } of claims) {
    const repository = await home.repository(store, plan.repository);
    const base = repository.ledger().claims.get(plan.lineage)?.base;
    const snapshot = base ? repository.ledger().snapshots.get(base) : undefined;
    if (snapshot?.id !== plan.changed.since) continue;
    selections.set(store, { kind: 'changed', ranges, baseSizeBytes: snapshot.sizeBytes, seed: opened.takenMs & 0x7fffffff });
  }
  return selections;
}

/**
 * Capture: one read of a volume, many destinations (system C), in four steps that a workflow drives.
 *
 *     openCapture      freeze the moment; claim the lineage in each store; each has its own base
 *     shipVolume       a subtree at a time: read once, hash once, compress once per codec, seal and put per store
 *     commitTo         per store: the snapshot appears there, or not at all
 *     releaseMoment    let the frozen moment go, however it ended
 *
 * Every step may be made again by any attempt on any process of the volume's node: what a store has confirmed is adopted.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { VOLUME_EXTENTS_MAX } from '../../domain/limits.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import { subtreeCount } from '../../engine/repository/transfer-reader.ts';
import type { OnProgress } from '../../engine/transfer/progress.ts';
import type { Selection } from '../../engine/transfer/selection.ts';
import { shipSubtree } from '../../engine/transfer/ship-volume.ts';
import type { Host } from '../../engine/volumes/host.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { readChangedRanges } from './changed-ranges.ts';
import { claimStores, openDestinations, shipped, type OpenClaim, type StoreParts } from './destinations.ts';
import { createGate } from './gate.ts';
import { freezeMoment, releaseMoment, type Moment } from './moment.ts';
import { openSource, type VolumeSource } from './source.ts';
import type { CapturePlan, OpenedDestination } from './plan.ts';

export interface OpenedCapture {
  readonly sizeBytes: number;
  /** What is read for all stores and subtrees; let go by `releaseMoment`. */
  readonly moment: Moment;
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

export async function openCapture(home: Home, host: Host, plan: CapturePlan, by: Attempt): Promise<OpenedCapture> {
  const moment = await freezeMoment(host, plan);
  try {
    if (plan.moment !== null && plan.moment !== moment.identity)
      throw new HoldfastError('SOURCE_CHANGED', `the moment that ${plan.volume} was frozen in with others is gone`, {
        volume: plan.volume,
      });
    return await openAt(home, plan, by, moment);
  } catch (error) {
    // What waiting can mend is tried again, and finds the moment as it is.
    if (isHoldfastError(error) && !error.retryable) await releaseMoment(host, plan, moment);
    throw error;
  }
}

async function openAt(home: Home, plan: CapturePlan, by: Attempt, moment: Moment): Promise<OpenedCapture> {
  await using source = await openSource({ ...plan, path: moment.source, files: null, subtree: null, bases: [], bitmap: null });
  const { sizeBytes } = source;
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
  const stamp = stampOf(moment, source);
  return { sizeBytes, moment, stamp, takenMs: home.environment.nowMs(), subtrees: subtreeCount(largest, plan.extentBytes), destinations };
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
  const { source: path, files } = opened.moment;
  // Nobody else knows what has changed.
  const bases = plan.changed !== null || parseNbdUri(path) !== null ? await basesOf(home, plan, claims) : new Map<string, Snapshot>();
  const bitmap = plan.changed !== null && 'bitmap' in plan.changed ? plan.changed.bitmap : null;
  await using source = await openSource({ ...plan, path, files, subtree, bitmap, bases: [...bases.values()].map(({ id }) => id) });
  const selections = await selectionsOf(plan, opened, source, bases);
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

const stampOf = ({ identity }: Moment, source: VolumeSource): string => `${identity} ${source.stamp}`.trim();

const isStable = async (source: VolumeSource, opened: OpenedCapture): Promise<boolean> =>
  stampOf(opened.moment, source) === opened.stamp && (await source.consistency()) === 'crash';

/** The base of each store that has one. */
async function basesOf(home: Home, plan: CapturePlan, claims: readonly OpenClaim[]): Promise<ReadonlyMap<string, Snapshot>> {
  const bases = new Map<string, Snapshot>();
  for (const { store } of claims) {
    const ledger = (await home.repository(store, plan.repository)).ledger();
    const base = ledger.claims.get(plan.lineage)?.base;
    const snapshot = base ? ledger.snapshots.get(base) : undefined;
    if (snapshot) bases.set(store, snapshot);
  }
  return bases;
}

/**
 * What is looked at for each store. A hint holds relative to one base: that of the user's list or bitmap, or any that the
 * source itself knows; a store with another base has all of the volume compared.
 */
async function selectionsOf(
  plan: CapturePlan,
  opened: OpenedCapture,
  source: VolumeSource,
  bases: ReadonlyMap<string, Snapshot>,
): Promise<ReadonlyMap<string, Selection>> {
  const selections = new Map<string, Selection>();
  const { changed } = plan;
  const listed = changed !== null && 'ranges' in changed ? await readChangedRanges(changed.ranges) : null;
  for (const [store, { id, sizeBytes }] of bases) {
    const named = changed !== null && changed.since === id && 'bitmap' in changed ? changed.bitmap : null;
    const ranges = changed?.since === id && listed !== null ? listed : await source.changedSince(id, named);
    if (ranges === null && named !== null)
      throw new HoldfastError('HINT_INVALID', `${plan.path} has no dirty bitmap ${named}`, { field: 'changed.bitmap' });
    if (ranges !== null) selections.set(store, { kind: 'changed', ranges, baseSizeBytes: sizeBytes, seed: opened.takenMs & 0x7fffffff });
  }
  return selections;
}

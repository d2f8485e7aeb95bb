/**
 * Bases as snapshots of a region's repository, by the pipeline that makes every other one: offer, missing, push, commit.
 *
 * Invariant: a snapshot has its label from its COMMIT on, so one that no BASE ever names is collected. Deleting is hiding: its
 * repository reclaims it, and keeps the newest of a lineage as what the next one is incremental to.
 */
import path from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { newSnapshotId, snapshotId, type Lineage, type SnapshotId } from '../../../domain/ids.ts';
import { shipAgain, type ShipAgain } from '../../../domain/missing.ts';
import type { Codec } from '../../../ground/sealing/blob.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { abortClaim, claimLineage } from '../../repository/claims.ts';
import { commitShipment } from '../../repository/commit.ts';
import { openDestination } from '../../repository/destination.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import { hideSnapshot } from '../../repository/pins.ts';
import type { Repository } from '../../repository/repository.ts';
import { subtreeCount, transferReader, valuesOf } from '../../repository/transfer-reader.ts';
import type { SourceView, SubtreeReceipt } from '../../transfer/contract.ts';
import { restoreSubtree } from '../../transfer/restore.ts';
import type { Selection } from '../../transfer/selection.ts';
import { shipSubtree } from '../../transfer/ship-volume.ts';
import { createSnapshotView, type SnapshotView } from '../../volumes/snapshot-view.ts';
import { ExtentSet } from '../../volumes/tracking/extent-set.ts';
import { baseLabel, parseBaseLabel } from './base-label.ts';
import { baseLineage, volumeOfBase } from './base-lineage.ts';
import type { BaseImage, BaseNotes, Bases, BaseSnapshots, RestoredBase } from './bases.ts';
import { dataOf, imageSource } from './image-source.ts';
import { openOverlaid, type OverlaidImage } from './overlaid-image.ts';

export interface VolumeShape {
  readonly volume: number;
  readonly sizeBytes: number;
}

export interface RepositoryBasesOptions {
  readonly region: string;
  readonly repository: Repository;
  /** The journal's name. */
  readonly journal: string;
  /** All volumes of the group. */
  readonly volumes: readonly VolumeShape[];
  readonly extentBytes: number;
  readonly codec: Codec;
  readonly threads: Threads;
  /** A folder with room for what is written between two bases. */
  readonly scratch: string;
}

type ShippedBase = BaseSnapshots[number];

export function createRepositoryBases(options: RepositoryBasesOptions): Bases {
  const { region, repository, journal, volumes, extentBytes } = options;

  const viewOf = async (id: string): Promise<SnapshotView | null> => {
    const snapshot = (await repository.sync()).snapshots.get(snapshotId(id));
    return snapshot === undefined ? null : createSnapshotView(repository, snapshot);
  };

  const write: Bases['write'] = async (on, extents, notes, signal) => {
    const images = new Map<number, OverlaidImage>();
    await using opened = new AsyncDisposableStack();
    for (const { volume, sizeBytes } of volumes) {
      const base = on.find((one) => one.volume === volume);
      const view = base === undefined ? null : await viewOf(base.id);
      if (base !== undefined && view === null)
        throw new HoldfastError('OBJECT_MISSING', `base ${base.id} is not in ${region}`, { snapshot: base.id, region });
      const scratch = path.join(options.scratch, `base-${repository.environment.random(8).toString('hex')}`);
      images.set(volume, opened.use(await openOverlaid(view, { sizeBytes, extentBytes, scratch })));
    }
    for await (const extent of extents) {
      const image = images.get(extent.volume);
      if (image === undefined)
        throw new HoldfastError('ARGUMENT_INVALID', `the group has no volume ${extent.volume}`, {
          field: 'volumes',
          volume: extent.volume,
        });
      signal?.throwIfAborted();
      await image.lay(extent);
    }
    const snapshots: ShippedBase[] = [];
    for (const [volume, image] of images) {
      const base = on.find((one) => one.volume === volume)?.id;
      snapshots.push(await ship(options, volume, { image, changed: [...image.written()], since: base ?? null }, notes, signal));
    }
    return snapshots;
  };

  return {
    region,
    write,
    async list() {
      const { snapshots } = await repository.sync();
      return [...snapshots.values()].flatMap(({ id, lineage, hidden, label, takenMs }) => {
        const volume = volumeOfBase(journal, lineage);
        const notes = parseBaseLabel(label);
        return volume === null || notes === null || hidden ? [] : [{ id, volume, takenMs, ...notes }];
      });
    },
    async open(id) {
      const view = await viewOf(id);
      return view === null ? null : imageOf(view);
    },
    async restore(id, into) {
      const snapshot = (await repository.sync()).snapshots.get(snapshotId(id));
      if (snapshot !== undefined) await restoreBase(options, snapshot, into);
      return snapshot !== undefined;
    },
    copy: (volume, image, notes, signal) => ship(options, volume, { image, changed: null, since: null }, notes, signal),
    async delete(id) {
      const snapshot = (await repository.sync()).snapshots.get(snapshotId(id));
      if (snapshot !== undefined) await hideSnapshot(repository, snapshot.id, snapshot.version, false);
    },
  };
}

const imageOf = (view: SnapshotView): BaseImage => ({
  sizeBytes: view.sizeBytes,
  read: view.read,
  async *data() {
    let at = 0;
    for await (const { length, flags } of view.allocation(0, view.sizeBytes)) {
      if (flags === 0) yield { offset: at, length };
      at += length;
    }
  },
});

/** As a restore does it, but for extents of which nothing would be left. */
async function restoreBase(
  { region, repository, threads }: RepositoryBasesOptions,
  snapshot: Snapshot,
  { target, overwritten, onWritten, signal }: RestoredBase,
): Promise<void> {
  const { sizeBytes, extentBytes } = snapshot;
  const leftOut = new ExtentSet(Math.ceil(sizeBytes / extentBytes));
  // What fails there is its maker's to tell.
  overwritten.then((ranges) => addWhole(leftOut, ranges, snapshot)).catch(() => undefined);
  const reader = transferReader(repository, region);
  for (let subtree = 0; subtree < subtreeCount(sizeBytes, extentBytes); subtree++)
    await restoreSubtree({
      ...{ reader, target, extentBytes, subtree, write: 'all', threads },
      values: valuesOf(repository, snapshot, subtree),
      leaveOut: (extent) => leftOut.has(extent),
      progress: (event) => event.kind === 'written' && onWritten(event.bytes),
      ...(signal ? { signal } : {}),
    });
}

/** Adds the extents of which every byte is in one of the ranges. */
function addWhole(
  set: ExtentSet,
  ranges: Iterable<{ readonly offset: number; readonly length: number }>,
  { sizeBytes, extentBytes }: Pick<Snapshot, 'sizeBytes' | 'extentBytes'>,
): void {
  for (const { offset, length } of ranges) {
    const end = offset + length;
    set.addRange(Math.ceil(offset / extentBytes), end >= sizeBytes ? set.count : Math.floor(end / extentBytes));
  }
}

interface Content {
  readonly image: BaseImage;
  /** What may differ from snapshot `since`; null: all of it is compared. */
  readonly changed: readonly { readonly offset: number; readonly length: number }[] | null;
  readonly since: string | null;
}

/** Claims the lineage, ships what the repository lacks, commits. A claim that comes to nothing is closed. */
async function ship(
  options: RepositoryBasesOptions,
  volume: number,
  content: Content,
  notes: BaseNotes,
  signal?: AbortSignal,
): Promise<ShippedBase> {
  const { repository, journal, region, extentBytes } = options;
  const { environment } = repository;
  const lineage = baseLineage(journal, volume);
  const id = newSnapshotId(environment.nowMs(), () => environment.random(4).readUInt32BE(0) / 2 ** 32);
  const claimed = await claimLineage(repository, { lineage, snapshot: id, owner: `journal ${journal}: ${id}`, attempt: 1 });
  if (claimed.kind === 'committed') return { volume, id };
  const { base, claim } = claimed;
  try {
    if (base !== null && base.extentBytes !== extentBytes)
      throw new HoldfastError('ARGUMENT_INVALID', `bases of ${lineage} in ${region} have extents of another size`, {
        ...{ field: 'extentBytes', expected: String(base.extentBytes) },
      });
    await shipAll(options, { lineage, epoch: claim.epoch, id, base }, content, notes, signal);
    return { volume, id };
  } catch (error) {
    // One that cannot be closed now ends with the next claim.
    await abortClaim(repository, lineage, claim.epoch).catch(() => undefined);
    throw error;
  }
}

interface OpenClaim {
  readonly lineage: Lineage;
  readonly epoch: number;
  readonly id: SnapshotId;
  readonly base: Snapshot | null;
}

async function shipAll(
  options: RepositoryBasesOptions,
  { lineage, epoch, id, base }: OpenClaim,
  { image, changed, since }: Content,
  { takenMs, consistency, ...label }: BaseNotes,
  signal?: AbortSignal,
): Promise<void> {
  const { repository, extentBytes } = options;
  const { sizeBytes } = image;
  const hint = changed !== null && base !== null && base.id === since ? { ranges: changed, baseSizeBytes: base.sizeBytes } : null;
  const selection: Selection = hint === null ? { kind: 'all' } : { kind: 'changed', ...hint, seed: takenMs & 0x7fffffff };
  const source = imageSource(image, extentBytes, hint === null ? await dataOf(image, extentBytes) : null);
  const receipts = new Map<number, SubtreeReceipt>();
  const subtrees = subtreeCount(Math.max(sizeBytes, base?.sizeBytes ?? 0), extentBytes);
  let again: ShipAgain = { subtrees: Array.from({ length: subtrees }, (_, subtree) => subtree), bringAll: false };
  for (let answers = 1; ; answers++) {
    for (const subtree of again.subtrees) {
      const to = { lineage, epoch, bringAll: again.bringAll, selection, source };
      receipts.set(subtree, await shipOne(options, subtree, to, signal));
    }
    const shipment = { lineage, epoch, snapshot: id, sizeBytes, extentBytes, takenMs, consistency, label: baseLabel(label) };
    const outcome = await commitShipment(repository, { ...shipment, receipts: [...receipts.values()] });
    if (outcome.kind === 'committed') return;
    const next = shipAgain(outcome, answers);
    if (next === null)
      throw new HoldfastError('MISSING_EXTENTS', `${outcome.values} values are missing though all was brought`, { lineage });
    again = next;
  }
}

interface ShipTo {
  readonly lineage: Lineage;
  readonly epoch: number;
  readonly bringAll: boolean;
  readonly selection: Selection;
  readonly source: SourceView;
}

async function shipOne(
  { region, repository, codec, threads, extentBytes }: RepositoryBasesOptions,
  subtree: number,
  { lineage, epoch, bringAll, selection, source }: ShipTo,
  signal?: AbortSignal,
): Promise<SubtreeReceipt> {
  const destination = openDestination({ store: region, repository, lineage, epoch, codec, bringAll });
  const destinations = [{ destination, selection }];
  const { outcomes } = await shipSubtree({ source, extentBytes, subtree, destinations, threads, ...(signal ? { signal } : {}) });
  const outcome = outcomes.get(region);
  if (outcome === undefined) throw new HoldfastError('INTERNAL', 'a subtree was shipped without an outcome', { subtree });
  if (!outcome.ok) throw outcome.error;
  return outcome.receipt;
}

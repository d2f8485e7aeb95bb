/**
 * Serving, as jobs decide it: which volumes a host serves, and snapshots that become disks at once (docs/serving.md).
 *
 *     attach     a volume's file or device is served from now on
 *     hydrate    a snapshot is served as a disk at once, from an empty file that fills behind it
 *     promote    the volume is that disk from now on
 *
 * Every step may be made again: what a host serves already is left as it is.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import type { AttachResult } from '../../domain/jobs.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import { findVolume, type Catalog, type VolumeRecord } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import { pinnedBy, pinSnapshot, unpin } from '../../engine/repository/pins.ts';
import { findSnapshot, newestVisible } from '../../engine/repository/transfer-reader.ts';
import { openFileSource } from '../../engine/transfer/file-source.ts';
import type { DiskStatus } from '../../engine/volumes/disks/disk-control.ts';
import { isPointOrigin, type DiskRecord } from '../../engine/volumes/disks/disk-record.ts';
import type { Host } from '../../engine/volumes/host.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';

export async function attachVolume(host: Host, volume: VolumeRecord): Promise<AttachResult> {
  const { name, path, extentBytes } = volume;
  const known = await host.disks.servedFrom(path);
  if (known !== null) return served(host, await statusOf(host, known.name));
  if (parseNbdUri(path) !== null)
    throw new HoldfastError('ARGUMENT_INVALID', `${name} is an NBD export already`, { field: 'volume', expected: 'a file or device' });
  await using source = await openFileSource(path);
  const { sizeBytes } = source;
  return served(host, await host.disks.attach({ format: 1, name, path, sizeBytes, extentBytes, hydration: null }));
}

const served = (host: Host, { record, uris }: DiskStatus): AttachResult => {
  const { name, path, sizeBytes } = record;
  return { disk: name, host: host.name, path, sizeBytes, uris };
};

export interface HydratePlan {
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId | null;
  readonly target: string;
  readonly host: string;
  readonly disk: string | null;
  readonly promote: boolean;
}

export interface BegunHydration extends AttachResult {
  readonly snapshot: SnapshotId;
}

/**
 * `owner` names the pin: the same for all attempts. A disk that is filled from this snapshot already is gone on with, so that
 * the job can be started again when Temporal was wiped.
 */
export async function beginHydration(home: Home, host: Host, plan: HydratePlan, owner: string): Promise<BegunHydration> {
  const { volume, store, repository: name, target } = plan;
  const known = await host.disks.servedFrom(target);
  if (known !== null) return goOnWith(host, plan, known);
  const repository = await home.reader(store, name);
  const pin = `hydrate.${owner}`;
  const chosen = plan.snapshot === null ? newestVisible(repository, volume) : findSnapshot(repository, volume, plan.snapshot);
  const snapshot = pinnedBy(repository, pin) ?? chosen;
  await pinSnapshot(repository, pin, snapshot.id, home.environment.nowMs() + PIN_MS_DEFAULT, `restored to ${target}`.slice(0, 200));
  try {
    return { ...served(host, await serveFrom(host, plan, snapshot, pin)), snapshot: snapshot.id };
  } catch (error) {
    if (!(error instanceof HoldfastError) || !error.retryable) await unpin(repository, pin);
    throw error;
  }
}

async function goOnWith(host: Host, plan: HydratePlan, { name, hydration }: DiskRecord): Promise<BegunHydration> {
  const from = hydration === null || isPointOrigin(hydration) ? null : hydration;
  if (from?.volume !== plan.volume || from.store !== plan.store || (plan.snapshot ?? from.snapshot) !== from.snapshot)
    throw new HoldfastError('DISK_EXISTS', `${plan.target} is served as ${name}`, { disk: name, path: plan.target });
  return { ...served(host, await statusOf(host, name)), snapshot: from.snapshot };
}

async function serveFrom(host: Host, plan: HydratePlan, snapshot: Snapshot, pin: string): Promise<DiskStatus> {
  const { volume, store, repository, target } = plan;
  const { id, sizeBytes, extentBytes } = snapshot;
  const hydration = { volume, store, repository, snapshot: id, pin };
  return host.disks.attach({ format: 1, name: plan.disk ?? `${volume}.${id}`, path: target, sizeBytes, extentBytes, hydration });
}

async function statusOf(host: Host, disk: string): Promise<DiskStatus> {
  const status = (await host.disks.list()).find(({ record }) => record.name === disk);
  if (status === undefined) throw new HoldfastError('DISK_NOT_FOUND', `${disk} is not served`, { disk });
  return status;
}

export interface HydrationLook {
  readonly localBytes: number;
  readonly sizeBytes: number;
  readonly done: boolean;
}

/** How far a disk is. Throws what keeps it from getting on when waiting cannot mend it. */
export async function lookAtHydration(host: Host, disk: string): Promise<HydrationLook> {
  const { record, hydration } = await statusOf(host, disk);
  const { sizeBytes, extentBytes } = record;
  if (record.hydration === null || hydration === null) return { localBytes: sizeBytes, sizeBytes, done: true };
  const { trouble, localExtents } = hydration;
  if (trouble !== null && !trouble.retryable) throw new HoldfastError(trouble.code, trouble.message, { disk });
  return { localBytes: Math.min(sizeBytes, localExtents * extentBytes), sizeBytes, done: false };
}

/** The volume is served from this file from now on; captures of it read there. */
export async function promote(catalog: Catalog, volume: VolumeName, path: string, node: string): Promise<void> {
  await catalog.append((state) => {
    const record = findVolume(state, volume);
    return record.path === path && record.node === node ? null : { kind: 'VOLUME_SET', volume: { ...record, path, node } };
  });
}

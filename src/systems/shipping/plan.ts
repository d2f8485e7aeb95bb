/**
 * Plans of shipping jobs (system C): what an input means against the catalog, as plain data that a workflow carries.
 *
 * A plan is made once, so that a job that goes on for days does not change its mind when the catalog does.
 */
import type { z } from 'zod';
import type { captureInput, copyInput } from '../../domain/job-inputs.ts';
import type { Failure } from '../../domain/jobs.ts';
import type { Lineage, RepositoryName, SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import { HoldfastError } from '../../domain/errors.ts';
import { findVolume, lineageOfVolume, type CatalogState } from '../../engine/catalog/catalog.ts';

export interface CapturePlan {
  readonly volume: VolumeName;
  readonly lineage: Lineage;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId;
  readonly label: string | null;
  readonly node: string;
  readonly path: string;
  readonly extentBytes: number;
  readonly stores: readonly StoreName[];
  /** What has changed, by a list of ranges or by a dirty bitmap of the export that it is read from. */
  readonly changed:
    { readonly since: SnapshotId; readonly ranges: string } | { readonly since: SnapshotId; readonly bitmap: string } | null;
  /** The moment that it has to be of; null: any. */
  readonly moment: string | null;
  readonly allowFuzzy: boolean;
  readonly allowShrink: boolean;
}

export interface CopyPlan {
  readonly volume: VolumeName;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId;
  readonly from: StoreName;
  readonly to: readonly StoreName[];
}

/** One store's part of a job that has begun. */
export type OpenedDestination =
  | { readonly kind: 'open'; readonly store: StoreName; readonly epoch: number; readonly base: SnapshotId | null }
  | { readonly kind: 'committed'; readonly store: StoreName; readonly root: string | null }
  | { readonly kind: 'failed'; readonly store: StoreName; readonly failure: Failure };

export function planCapture(state: CatalogState, input: z.output<typeof captureInput>, snapshot: SnapshotId): CapturePlan {
  const volume = findVolume(state, input.volume);
  if (volume.retired) throw new HoldfastError('VOLUME_RETIRED', `volume ${volume.name} was retired`, { volume: volume.name });
  const stores = input.stores ?? volume.stores;
  if (stores.length === 0)
    throw new HoldfastError('ARGUMENT_INVALID', `volume ${volume.name} has no stores`, { field: 'stores', expected: 'at least one store' });
  for (const store of stores) if (!state.stores.has(store)) throw new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });
  return {
    volume: volume.name,
    lineage: lineageOfVolume(volume),
    repository: volume.repository,
    snapshot,
    label: input.label ?? null,
    node: volume.node,
    path: volume.path,
    extentBytes: volume.extentBytes,
    stores: [...new Set(stores)],
    changed: input.changed ?? null,
    moment: input.moment ?? null,
    allowFuzzy: input.allowFuzzy ?? false,
    allowShrink: input.allowShrink ?? false,
  };
}

export function planCopy(state: CatalogState, input: z.output<typeof copyInput>): CopyPlan {
  const volume = findVolume(state, input.volume);
  for (const store of [input.from, ...input.to])
    if (!state.stores.has(store)) throw new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });
  if (input.to.includes(input.from))
    throw new HoldfastError('ARGUMENT_INVALID', 'a copy needs two different stores', {
      field: 'to',
      expected: 'stores other than the source',
    });
  return { volume: volume.name, repository: volume.repository, snapshot: input.snapshot, from: input.from, to: [...new Set(input.to)] };
}

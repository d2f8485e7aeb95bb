/**
 * The catalog as a store mirrors it, and how an installation is built anew from it: stores and volumes that the home does not
 * know are entered there, references and all. What the home knows already stays as it is.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Catalog, CatalogEntry, CatalogState } from '../../engine/catalog/catalog.ts';
import { readMirror, type MirroredCatalog } from '../../engine/catalog/mirror.ts';
import type { RescueStore } from './rescue-store.ts';

/** The newest mirror in a store. */
export async function newestMirror({ repositories, url }: RescueStore): Promise<MirroredCatalog> {
  let newest: MirroredCatalog | null = null;
  for (const { repository } of repositories) {
    const mirror = await readMirror(repository);
    if (mirror !== null && (newest === null || mirror.n > newest.n)) newest = mirror;
  }
  if (newest) return newest;
  throw new HoldfastError('OBJECT_MISSING', `${url} holds no mirror of a catalog: nothing was captured into it by a worker yet`, { url });
}

/** What the home lacks of a mirror, stores first. */
export function planRebuild(state: CatalogState, mirror: MirroredCatalog): readonly CatalogEntry[] {
  return [
    ...mirror.stores.filter((store) => !state.stores.has(store.name)).map((store) => ({ kind: 'STORE_ADD' as const, store })),
    ...mirror.volumes.filter((volume) => !state.volumes.has(volume.name)).map((volume) => ({ kind: 'VOLUME_ADD' as const, volume })),
  ];
}

const isMissing = (state: CatalogState, entry: CatalogEntry): boolean =>
  entry.kind === 'STORE_ADD' ? !state.stores.has(entry.store.name) : entry.kind === 'VOLUME_ADD' && !state.volumes.has(entry.volume.name);

export async function rebuildCatalog(catalog: Catalog, mirror: MirroredCatalog): Promise<readonly CatalogEntry[]> {
  const missing = planRebuild(await catalog.sync(), mirror);
  for (const entry of missing) await catalog.append((state) => (isMissing(state, entry) ? entry : null));
  return missing;
}

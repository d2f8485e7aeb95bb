/**
 * The repositories that an installation has, opened one by one. A store that does not answer costs its own lines and no
 * more: what is wrong with it is said, the exit status tells, and the other stores are listed all the same.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { RepositoryName, StoreName, VolumeName } from '../../domain/ids.ts';
import type { CatalogState } from '../../engine/catalog/catalog.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { renderError } from './render-error.ts';
import type { Session } from './session.ts';

export interface Place {
  readonly store: StoreName;
  readonly repository: RepositoryName;
}

export interface OpenPlace extends Place {
  readonly opened: RepositoryReader;
  /** It with its table. */
  whole(): Promise<Repository>;
}

export interface PlaceFilter {
  readonly volume?: VolumeName | undefined;
  readonly store?: StoreName | undefined;
}

/** Where snapshots may be: what volumes ship to, and what was seen before. */
export function placesOf(state: CatalogState, { volume, store }: PlaceFilter): readonly Place[] {
  const places = new Map<string, Place>();
  const note = (place: Place): void => {
    if (state.stores.has(place.store) && (store === undefined || place.store === store))
      places.set(`${place.store}/${place.repository}`, place);
  };
  const wanted = volume === undefined ? null : state.volumes.get(volume)?.repository;
  for (const record of state.volumes.values())
    if (wanted === null || record.repository === wanted)
      for (const name of record.stores) note({ store: name, repository: record.repository });
  for (const key of state.repositories.keys()) {
    const [name, repository] = key.split('/') as [StoreName, RepositoryName];
    if (wanted === null || repository === wanted) note({ store: name, repository });
  }
  return [...places.values()].sort((a, b) => (a.store === b.store ? compare(a.repository, b.repository) : compare(a.store, b.store)));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Opens them, synced. A repository that was never begun is no fault. */
export async function* openPlaces(session: Session, places: readonly Place[]): AsyncGenerator<OpenPlace> {
  const home = await session.home();
  for (const place of places) {
    let opened: RepositoryReader;
    try {
      opened = await home.reader(place.store, place.repository);
    } catch (error) {
      if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) continue;
      if (!isHoldfastError(error)) throw error;
      const { text, exitCode } = renderError(error, session.settings);
      session.say(`${place.store}/${place.repository} is left out:`);
      session.terminal.err(text);
      session.fail(exitCode);
      continue;
    }
    yield { ...place, opened, whole: () => home.repository(place.store, place.repository) };
  }
}

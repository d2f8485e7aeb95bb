/**
 * A store opened with nothing but its address and a passphrase: no Temporal, no catalog, no node. What is inside is found by
 * listing; the log decides what exists, as it does for everybody else, so a rescue may run beside workers that still work.
 *
 * The cache lies in a folder of its own that goes when the rescue ends: nothing of a machine in trouble is relied on.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { repositoryName, volumeOf, type RepositoryName, type SnapshotId, type VolumeName } from '../../domain/ids.ts';
import { repositoryPrefix } from '../../engine/catalog/home.ts';
import { openCached } from '../../engine/repository/cached.ts';
import type { Environment } from '../../engine/repository/environment.ts';
import { openRepositoryFormat } from '../../engine/repository/format.ts';
import { createNodeCaches } from '../../engine/repository/node-cache.ts';
import { REPOSITORY_OBJECT } from '../../engine/repository/object-names.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { openStore, type OpenStoreOptions } from '../../ground/stores/open-store.ts';
import { within } from '../../ground/stores/within.ts';

export interface RescueOptions {
  readonly url: string;
  /** By reference. */
  readonly passphrase: string;
  readonly access: Pick<OpenStoreOptions, 'credentials' | 'endpoint' | 'region'>;
  /** Only this one. */
  readonly repository?: RepositoryName | undefined;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly environment: Environment;
}

export interface RescuedRepository {
  readonly name: RepositoryName;
  readonly repository: RepositoryReader;
  /** It with its table. */
  whole(): Promise<Repository>;
}

export interface RescueStore extends AsyncDisposable {
  readonly url: string;
  /** Those that the passphrase opens, synced; what does not open is in `closed`. */
  readonly repositories: readonly RescuedRepository[];
  readonly closed: readonly { readonly name: RepositoryName; readonly error: HoldfastError }[];
}

/** The repositories of a store, as the store itself shows them. */
export const repositoriesIn = async (store: ObjectStore): Promise<readonly RepositoryName[]> =>
  (await begunBelow(store, 'repositories/')).map(repositoryName);

/** The archives of tables in a store, by the names of their tables. */
export const archivesIn = (store: ObjectStore): Promise<readonly string[]> => begunBelow(store, 'tables/');

/** Names below a prefix at which a repository or an archive was begun. */
async function begunBelow(store: ObjectStore, prefix: string): Promise<readonly string[]> {
  const names: string[] = [];
  let after = '';
  for (;;) {
    // One listing a repository, not one an object: from behind everything of the one before.
    const [next] = await store.list(prefix, { limit: 1, ...(after === '' ? {} : { after }) });
    const name = next?.name.split('/')[1];
    if (name === undefined) return names;
    if ((await store.head(`${prefix}${name}/${REPOSITORY_OBJECT}`)) !== null) names.push(name);
    after = `${prefix}${name}/zzzz`;
  }
}

export async function openRescueStore(options: RescueOptions): Promise<RescueStore> {
  const { url, variables, environment } = options;
  const secret = await resolvePassphrase(options.passphrase, variables);
  await using opening = new AsyncDisposableStack();
  const store = opening.use(await openStore(url, { name: 'rescue', environment: variables, ...options.access }));
  const cacheDir = await mkdtemp(join(tmpdir(), 'holdfast-rescue-'));
  opening.defer(() => rm(cacheDir, { recursive: true, force: true }));
  const caches = { dir: cacheDir, nodes: createNodeCaches() };
  const names = options.repository === undefined ? await repositoriesIn(store) : [options.repository];
  const repositories: RescuedRepository[] = [];
  const closed: { name: RepositoryName; error: HoldfastError }[] = [];
  for (const name of names) {
    const inside = within(store, repositoryPrefix(name));
    try {
      const { reader, whole } = openCached(inside, await openRepositoryFormat(inside, secret), caches, environment);
      repositories.push({ name, whole, repository: await reader() });
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      closed.push({ name, error });
    }
  }
  const [first] = closed;
  if (repositories.length === 0) throw first?.error ?? new HoldfastError('REPOSITORY_NOT_FOUND', `${url} holds no repository`, { url });
  const opened = opening.move();
  return { url, repositories, closed, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** The one repository that has snapshots of a volume which users see. */
export function repositoryOfVolume({ repositories, url }: RescueStore, volume: VolumeName): RescuedRepository {
  const holding = repositories.filter(({ repository }) => snapshotsOf(repository, volume).length > 0);
  const found = holding.find(({ repository }) => snapshotsOf(repository, volume).some((snapshot) => !snapshot.hidden));
  if (found) return found;
  const what = holding.length > 0 ? 'only hidden snapshots of' : 'no snapshot of';
  throw new HoldfastError('SNAPSHOT_NOT_FOUND', `${url} holds ${what} ${volume}; \`rescue list --all\` shows what there is`, {
    volume,
    url,
  });
}

const snapshotsOf = (repository: RepositoryReader, volume: VolumeName) =>
  [...repository.ledger().snapshots.values()].filter((snapshot) => volumeOf(snapshot.lineage) === volume);

export function repositoryOfSnapshot({ repositories, url }: RescueStore, snapshot: SnapshotId): RescuedRepository {
  const found = repositories.find(({ repository }) => repository.ledger().snapshots.has(snapshot));
  if (found) return found;
  throw new HoldfastError('SNAPSHOT_NOT_FOUND', `${url} holds no snapshot ${snapshot}`, { snapshot, url });
}

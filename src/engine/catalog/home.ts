/**
 * The home of an installation: its catalog, and the repositories of its stores, opened once a process and kept.
 *
 * A repository is named by store and name; its place in a store is `repositories/<name>/`, its cache a file named by its
 * id. The id is noted in the catalog when it is first seen, and another one under that name is refused: a store that was
 * re-created, or an address that points elsewhere, must not look like an empty history.
 *
 * A store whose address or credentials the catalog has changed meanwhile is opened anew by whoever uses it next, so that a
 * worker that runs for months follows. What is under way on the old one ends there.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { RepositoryName, StoreName } from '../../domain/ids.ts';
import { REPOSITORIES_OPEN_MAX } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { openStore, type OpenedStore, type OpenStoreOptions } from '../../ground/stores/open-store.ts';
import { within } from '../../ground/stores/within.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import { ensureRepository, openRepositoryFormat, readHeader } from '../repository/format.ts';
import { openCached, type CachedRepository } from '../repository/cached.ts';
import { createNodeCaches } from '../repository/node-cache.ts';
import type { Environment } from '../repository/environment.ts';
import type { RepositoryReader } from '../repository/reader.ts';
import type { Repository } from '../repository/repository.ts';
import { findStore, openCatalog, repositoryKey, type Catalog, type StoreRecord } from './catalog.ts';

export interface HomeOptions {
  /** Address of the store that holds the catalog. */
  readonly url: string;
  /** Passphrase of the catalog, by reference. */
  readonly passphrase: string;
  /** Folder for caches; rebuilt when it is lost. */
  readonly cacheDir: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly environment: Environment;
  readonly metrics?: OpenStoreOptions['metrics'];
  readonly retry?: OpenStoreOptions['retry'];
  readonly durability?: OpenStoreOptions['durability'];
  /** Wraps each store of the catalog as it is opened; how fault tests stand between a process and its stores. */
  readonly decorate?: (store: OpenedStore, name: StoreName) => OpenedStore;
}

/** The catalog as objects: for who follows its log record by record, or keeps something of the installation's beside it. */
export interface CatalogPlace {
  readonly id: string;
  /** The home store, below `catalog/`. */
  readonly store: ObjectStore;
  readonly key: SealingKey;
}

export interface Home extends AsyncDisposable {
  readonly catalog: Catalog;
  readonly catalogPlace: CatalogPlace;
  readonly environment: Environment;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Folder of what can be had again. */
  readonly cacheDir: string;
  /** A store of the catalog, open. */
  store(name: StoreName): Promise<OpenedStore>;
  /** A repository of a store, synced, for what needs no table: lists, restores, pins, the source of a copy. */
  reader(store: StoreName, name: RepositoryName): Promise<RepositoryReader>;
  /** A repository of a store, synced, with its table. `create`: make it where there is none yet. */
  repository(store: StoreName, name: RepositoryName, create?: boolean): Promise<Repository>;
  /** Forgets an open store and its repositories, so that the next use opens them anew. */
  forget(store: StoreName): Promise<void>;
}

export const repositoryPrefix = (name: string): string => `repositories/${name}/`;
export const CATALOG_PREFIX = 'catalog/';

/** What an open store was opened by. Passphrase and codec are looked up where they are used. */
const settingsOf = ({ url, endpoint, region, credentials, bytesPerSecondMax }: StoreRecord): string =>
  JSON.stringify([url, endpoint, region, credentials, bytesPerSecondMax]);

export const openStoreOf = (record: StoreRecord, options: HomeOptions): Promise<OpenedStore> =>
  openStore(record.url, {
    name: record.name,
    environment: options.variables,
    ...(record.credentials ? { credentials: record.credentials } : {}),
    ...(record.endpoint === null ? {} : { endpoint: record.endpoint }),
    ...(record.region === null ? {} : { region: record.region }),
    ...(record.bytesPerSecondMax === null ? {} : { limits: { uploadBytesPerSecond: record.bytesPerSecondMax } }),
    ...(options.metrics ? { metrics: options.metrics } : {}),
    ...(options.retry ? { retry: options.retry } : {}),
    ...(options.durability ? { durability: options.durability } : {}),
  });

export async function openHome(options: HomeOptions): Promise<Home> {
  const { environment, variables } = options;
  const homeStore = await openStore(options.url, {
    name: 'home',
    environment: variables,
    create: true,
    ...(options.durability ? { durability: options.durability } : {}),
  });
  const passphrase = await resolvePassphrase(options.passphrase, variables).catch((error: unknown) => {
    if (!isHoldfastError(error, 'PASSPHRASE_MISSING')) throw error;
    throw new HoldfastError(
      error.code,
      `${error.message} for the catalog; on a fresh machine \`holdfast up\` makes one`,
      error.details,
      error,
    );
  });
  const catalogStore = within(homeStore, CATALOG_PREFIX);
  const unlocked = await ensureRepository(catalogStore, 'catalog', passphrase, environment.nowMs(), { random: randomBytes });
  const catalog = openCatalog(catalogStore, unlocked.key, environment);
  const stores = new Map<StoreName, { readonly settings: string; readonly opened: Promise<OpenedStore> }>();
  const outdated: Promise<OpenedStore>[] = [];
  const caches = { dir: options.cacheDir, nodes: createNodeCaches() };
  /** Least recently used first. */
  const repositories = new Map<string, Promise<CachedRepository>>();

  const drop = (name: StoreName): Promise<OpenedStore> | undefined => {
    for (const key of [...repositories.keys()]) if (key.startsWith(`${name}/`)) repositories.delete(key);
    const opened = stores.get(name)?.opened;
    stores.delete(name);
    return opened;
  };

  /** Lets go of a store that was opened by other settings than these. One that was removed stays open: work on it may end. */
  const dropOutdated = (name: StoreName, record: StoreRecord | undefined): void => {
    const held = stores.get(name);
    if (held === undefined || record === undefined || held.settings === settingsOf(record)) return;
    const old = drop(name);
    if (old) outdated.push(old);
  };

  const store = async (name: StoreName): Promise<OpenedStore> => {
    const state = await catalog.sync().catch((error: unknown) => {
      // What is open needs no catalog.
      if (stores.has(name) && isHoldfastError(error, 'STORE_UNREACHABLE')) return catalog.known();
      throw error;
    });
    dropOutdated(name, state.stores.get(name));
    const known = stores.get(name);
    if (known) return known.opened;
    const record = findStore(state, name);
    const opened = openStoreOf(record, options).then((one) => options.decorate?.(one, name) ?? one);
    stores.set(name, { settings: settingsOf(record), opened });
    opened.catch(() => stores.delete(name));
    return opened;
  };

  const openNamed = async (storeName: StoreName, name: RepositoryName, create: boolean): Promise<CachedRepository> => {
    const state = await catalog.sync();
    const record = findStore(state, storeName);
    const inside = within(await store(storeName), repositoryPrefix(name));
    const expected = state.repositories.get(repositoryKey(storeName, name));
    const secret = await resolvePassphrase(record.passphrase, variables);
    if (expected === undefined && !create && (await readHeader(inside)) === null)
      throw new HoldfastError('REPOSITORY_NOT_FOUND', `${storeName} holds no repository ${name} yet`, {
        store: storeName,
        repository: name,
      });
    const opened =
      expected === undefined && create
        ? await ensureRepository(inside, name, secret, environment.nowMs(), { random: randomBytes })
        : await openRepositoryFormat(inside, secret, expected);
    if (expected === undefined)
      await catalog.append(() => ({ kind: 'REPOSITORY_SEEN', store: storeName, repository: name, id: opened.header.id }));
    return openCached(inside, opened, caches, environment);
  };

  const held = (storeName: StoreName, name: RepositoryName, create: boolean): Promise<CachedRepository> => {
    const key = repositoryKey(storeName, name);
    dropOutdated(storeName, catalog.known().stores.get(storeName));
    const known = repositories.get(key);
    const opening = known ?? openNamed(storeName, name, create);
    if (known) repositories.delete(key);
    else opening.catch(() => repositories.delete(key));
    repositories.set(key, opening);
    // One that is still in use stays open until its user lets go of it.
    for (const oldest of repositories.keys()) {
      if (repositories.size <= REPOSITORIES_OPEN_MAX) break;
      repositories.delete(oldest);
    }
    return opening;
  };

  return {
    catalog,
    catalogPlace: { id: unlocked.header.id, store: catalogStore, key: unlocked.key },
    environment,
    variables,
    cacheDir: options.cacheDir,
    store,
    reader: async (storeName, name) => (await held(storeName, name, false)).reader(),
    repository: async (storeName, name, create = false) => (await held(storeName, name, create)).whole(),
    async forget(storeName) {
      await (await drop(storeName))?.[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      for (const open of [...outdated, ...[...stores.values()].map(({ opened }) => opened)])
        await (await open.catch(() => null))?.[Symbol.asyncDispose]();
      await homeStore[Symbol.asyncDispose]();
    },
  };
}

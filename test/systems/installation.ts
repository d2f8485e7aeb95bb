/**
 * An installation for tests: a home with its catalog, stores in folders, volumes in sparse files, all below one folder.
 *
 * Real stores, real caches, the real clock; only the passphrase's cost is real, too, so open a repository once and keep it.
 * Another process (or a second home of the same test) opens the same installation by its folder.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { repositoryName, storeName, volumeName, type RepositoryName, type StoreName, type VolumeName } from '../../src/domain/ids.ts';
import { openHome, type Home, type HomeOptions } from '../../src/engine/catalog/home.ts';
import type { StoreRecord } from '../../src/engine/catalog/catalog.ts';
import type { Environment } from '../../src/engine/repository/environment.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { initialiseFileStore } from '../../src/ground/stores/file-root.ts';
import { writeExtents, type ImageWrite } from './image.ts';

export const PASSPHRASE = 'correct horse battery staple';
export const HOST = 'n1';

export interface VolumeSpec {
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly writes: readonly ImageWrite[];
}

export interface Installation extends AsyncDisposable {
  readonly folder: string;
  /** What a worker process needs in its environment, the address of Temporal aside. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: Home;
  readonly alarms: readonly string[];
  storeFolder(store: string): string;
  imageOf(volume: string): string;
  addStore(store: string, record?: Partial<StoreRecord>): Promise<StoreName>;
  addVolume(volume: string, stores: readonly string[], spec: VolumeSpec, repository?: string): Promise<VolumeName>;
  repository(store: string, name: string): Promise<Repository>;
}

export const storeRecordOf = (name: StoreName, url: string): StoreRecord => ({
  name,
  url,
  endpoint: null,
  region: null,
  credentials: null,
  passphrase: 'env:HOLDFAST_PASSPHRASE',
  codec: 'zstd-1',
  bytesPerSecondMax: null,
});

export const environmentOf = (writer: string, alarm: (message: string) => void): Environment => ({
  writer,
  nowMs: () => Date.now(),
  random: (size) => randomBytes(size),
  sleep: (ms) => sleep(ms),
  alarm: (message, details) => alarm(`${message} ${JSON.stringify(details)}`),
});

export const openHomeIn = (
  folder: string,
  variables: Installation['variables'],
  environment: Environment,
  options: Partial<HomeOptions> = {},
): Promise<Home> =>
  openHome({
    url: `file://${path.join(folder, 'home')}`,
    passphrase: 'env:HOLDFAST_PASSPHRASE',
    cacheDir: path.join(folder, 'cache'),
    variables,
    environment,
    durability: 'os',
    ...options,
  });

export async function createInstallation(options: Partial<HomeOptions> = {}): Promise<Installation> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-installation-'));
  const variables = { ...process.env, HOLDFAST_HOME: folder, HOLDFAST_PASSPHRASE: PASSPHRASE, HOLDFAST_HOST: HOST, ...options.variables };
  const alarms: string[] = [];
  const home = await openHomeIn(
    folder,
    variables,
    environmentOf('test', (line) => alarms.push(line)),
    { ...options, variables },
  );
  const storeFolder = (store: string): string => path.join(folder, 'stores', store);
  const imageOf = (volume: string): string => path.join(folder, `${volume}.img`);
  return {
    folder,
    variables,
    home,
    alarms,
    storeFolder,
    imageOf,
    async addStore(store, record = {}) {
      const name = storeName(store);
      if (record.url === undefined) await initialiseFileStore(storeFolder(store));
      await home.catalog.append(() => ({
        kind: 'STORE_ADD',
        store: { ...storeRecordOf(name, `file://${storeFolder(store)}`), ...record },
      }));
      return name;
    },
    async addVolume(volume, stores, { sizeBytes, extentBytes, writes }, repository = volume) {
      const name = volumeName(volume);
      writeExtents(imageOf(volume), sizeBytes, extentBytes, writes);
      await home.catalog.append(() => ({
        kind: 'VOLUME_ADD',
        volume: {
          ...{ name, incarnation: 1, node: HOST, path: imageOf(volume), extentBytes, stores: stores.map(storeName) },
          ...{ repository: repositoryName(repository), retired: false },
        },
      }));
      return name;
    },
    repository: (store, name) => home.repository(storeName(store), name as RepositoryName),
    async [Symbol.asyncDispose]() {
      await home[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

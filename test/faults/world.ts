/**
 * The world of one run: an installation in a folder, its stores (folders, or prefixes on the campaign's S3 server), an image.
 *
 * Repositories are made with a passphrase that costs nothing, so that a run of a dozen processes is not scrypt; one world in ten
 * is left bare, and its operators make them, and are killed at that.
 */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreName } from '../../src/domain/ids.ts';
import { CATALOG_PREFIX, openStoreOf, repositoryPrefix, type Home } from '../../src/engine/catalog/home.ts';
import { ensureRepository } from '../../src/engine/repository/format.ts';
import { initialiseFileStore, TEMP_FOLDER } from '../../src/ground/stores/file-root.ts';
import { openStore } from '../../src/ground/stores/open-store.ts';
import { within } from '../../src/ground/stores/within.ts';
import { environmentOf, HOST, openHomeIn, PASSPHRASE, storeRecordOf } from '../systems/installation.ts';
import { writeExtents } from '../systems/image.ts';
import { REPOSITORY, VOLUME } from './operations.ts';
import type { Script, Step } from './script.ts';
import type { FaultServer } from './server.ts';

export interface World extends AsyncDisposable {
  readonly folder: string;
  readonly image: string;
  readonly variables: NodeJS.ProcessEnv;
  prepare(step: Step): void;
  /** A home of this process's own; `cold`: with a cache that knows nothing. */
  openHome(cacheDir: string): Promise<Home>;
  /** Files of a folder store that were on their way in by processes that are dead: none is left once another one has written. */
  bodiesOfTheDead(store: StoreName): readonly string[];
  /** The server under the stores dies and comes back: the S3 server is killed, or a folder is moved away for a while. */
  strike(): Promise<void>;
}

const isDead = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
};

/** Of the store in a folder: files on their way in that nobody brings any more. */
export const bodiesOfTheDeadIn = (root: string): readonly string[] =>
  readdirSync(path.join(root, TEMP_FOLDER)).filter((body) => isDead(Number(body.split('.')[1])));

const CHEAP = { random: randomBytes, scryptN: 2 };
const AWAY_MS = 300;

export async function makeWorld(script: Script, server: FaultServer | null): Promise<World> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-faults-'));
  const image = path.join(folder, 'vol.img');
  // A fault run starts a process after each kill; what Node compiled for the last one serves the next.
  const compiled = path.join(tmpdir(), 'hf-faults-compiled');
  const variables = { ...process.env, HOLDFAST_PASSPHRASE: PASSPHRASE, NODE_COMPILE_CACHE: compiled, ...server?.variables };
  const homeStore = await openStore(`file://${path.join(folder, 'home')}`, { create: true, durability: 'os' });
  await ensureRepository(within(homeStore, CATALOG_PREFIX), 'catalog', PASSPHRASE, Date.now(), CHEAP);
  const environment = environmentOf('campaign', () => undefined);
  const openHome = (cacheDir: string): Promise<Home> =>
    openHomeIn(folder, variables, environment, { cacheDir: path.join(folder, cacheDir), retry: { attempts: 3, baseDelayMs: 20 } });
  const folderOf = (store: StoreName): string => path.join(folder, 'stores', store);

  await using home = await openHome('cache.campaign');
  for (const { name, kind } of script.stores) {
    const place = kind === 's3' && server !== null ? server.place(`${path.basename(folder)}/${name}`) : null;
    const secret = path.join(folder, `secret.${name}`);
    writeFileSync(secret, PASSPHRASE);
    if (place === null) await initialiseFileStore(folderOf(name));
    const record = { ...storeRecordOf(name, `file://${folderOf(name)}`), ...place, passphrase: `file:${secret}` };
    await home.catalog.append(() => ({ kind: 'STORE_ADD', store: record }));
    if (script.bare) continue;
    await using store = await openStoreOf(record, {
      ...{ url: '', passphrase: '', cacheDir: '', variables, environment, durability: 'os' },
    });
    await ensureRepository(within(store, repositoryPrefix(REPOSITORY)), REPOSITORY, PASSPHRASE, Date.now(), CHEAP);
  }
  await home.catalog.append(() => ({
    kind: 'VOLUME_ADD',
    volume: {
      ...{ name: VOLUME, incarnation: 1, node: HOST, path: image, extentBytes: script.extentBytes },
      ...{ stores: script.stores.map(({ name }) => name), repository: REPOSITORY, retired: false },
    },
  }));
  let striking: Promise<void> | null = null;
  const strike = async (): Promise<void> => {
    if (server !== null && script.stores.some(({ kind }) => kind === 's3')) return server.strike();
    const first = script.stores.find(({ kind }) => kind === 'file');
    if (!first) return;
    renameSync(folderOf(first.name), `${folderOf(first.name)}.away`);
    await sleep(AWAY_MS);
    renameSync(`${folderOf(first.name)}.away`, folderOf(first.name));
  };

  return {
    folder,
    image,
    variables,
    openHome,
    prepare: ({ sizeBytes, writes }) => writeExtents(image, sizeBytes, script.extentBytes, writes),
    bodiesOfTheDead: (store) => (existsSync(folderOf(store)) ? bodiesOfTheDeadIn(folderOf(store)) : []),
    // Two operators may come to their strikes at once: the second one is struck by the first.
    strike: () => (striking ??= strike().finally(() => (striking = null))),
    [Symbol.asyncDispose]: async () => {
      await homeStore[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

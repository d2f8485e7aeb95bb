import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import type { RepositoryName } from '../../src/domain/ids.ts';
import { repositoryName, storeName, volumeName } from '../../src/domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../src/domain/limits.ts';
import { repositoryPrefix } from '../../src/engine/catalog/home.ts';
import { openCached } from '../../src/engine/repository/cached.ts';
import { audit } from '../../src/engine/repository/audit.ts';
import { openRepositoryFormat } from '../../src/engine/repository/format.ts';
import { createNodeCaches } from '../../src/engine/repository/node-cache.ts';
import { pinSnapshot, renewPin, unpin } from '../../src/engine/repository/pins.ts';
import { openStore } from '../../src/ground/stores/open-store.ts';
import { within } from '../../src/ground/stores/within.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { beginRestore, restorePart } from '../../src/systems/lifecycle/restoration.ts';
import { collectGarbage } from '../../src/systems/lifecycle/deletion.ts';
import { captureVolume, shipCapture } from './capture-volume.ts';
import { digestOfImage, writeExtents } from './image.ts';
import { createInstallation, environmentOf, openHomeIn, PASSPHRASE, type Installation } from './installation.ts';
import { lifecycleSuite, type Place } from './lifecycle-suite.ts';

const EXTENT = 16 * 1024;
const SIZE = 600 * EXTENT + 77;
const VOLUME = volumeName('vol');

/** An installation with one store and three snapshots of a volume in it. */
async function captureThree(): Promise<{ installation: Installation; threads: Threads; captured: Place['captured'] }> {
  const installation = await createInstallation();
  const threads = new Threads({ count: 2 });
  await installation.addStore('store');
  const writes = Array.from({ length: 200 }, (_, i) => ({ extent: i * 3, content: i + 1 }));
  await installation.addVolume(VOLUME, ['store'], { sizeBytes: SIZE, extentBytes: EXTENT, writes });
  const captured: { snapshot: Place['captured'][number]['snapshot']; digest: string }[] = [];
  for (let i = 0; i < 3; i++) {
    writeExtents(installation.imageOf(VOLUME), SIZE, EXTENT, [
      { extent: 10 + i, content: 1000 + i },
      { extent: 30, content: 2000 + i },
      { extent: 60 + i * 3, content: 0 },
    ]);
    captured.push({
      snapshot: await captureVolume(installation.home, threads, VOLUME),
      digest: digestOfImage(installation.imageOf(VOLUME)),
    });
  }
  return { installation, threads, captured };
}

lifecycleSuite('a node: its home, its volume and its cache are there', async () => {
  const { installation, threads, captured } = await captureThree();
  return {
    ...{ threads, captured, volume: VOLUME, folder: installation.folder },
    repository: await installation.repository('store', VOLUME),
    reader: await installation.home.reader(storeName('store'), repositoryName(VOLUME)),
    [Symbol.asyncDispose]: async () => {
      await threads[Symbol.asyncDispose]();
      await installation[Symbol.asyncDispose]();
    },
  };
});

lifecycleSuite('a controller: node, volume and catalog are gone, it has an address and a passphrase', async () => {
  const { installation, threads, captured } = await captureThree();
  const { folder } = installation;
  await installation.home[Symbol.asyncDispose]();
  for (const lost of ['home', 'cache', `${VOLUME}.img`]) rmSync(path.join(folder, lost), { recursive: true });
  const elsewhere = mkdtempSync(path.join(tmpdir(), 'hf-elsewhere-'));
  const store = await openStore(`file://${installation.storeFolder('store')}`);
  const inside = within(store, repositoryPrefix(VOLUME));
  const unlocked = await openRepositoryFormat(inside, PASSPHRASE);
  const { reader, whole } = openCached(
    inside,
    unlocked,
    { dir: elsewhere, nodes: createNodeCaches() },
    environmentOf('controller', () => undefined),
  );
  return {
    ...{ threads, captured, volume: VOLUME, folder: elsewhere, repository: await whole(), reader: await reader() },
    [Symbol.asyncDispose]: async () => {
      await threads[Symbol.asyncDispose]();
      for (const each of [folder, elsewhere]) rmSync(each, { recursive: true, force: true });
    },
  };
});

test('ownership moves by claim: a node that comes back late is refused, and harms nothing', async () => {
  await using threads = new Threads({ count: 1 });
  await using installation = await createInstallation();
  await installation.addStore('store');
  const writes = Array.from({ length: 40 }, (_, i) => ({ extent: i, content: i + 1 }));
  await installation.addVolume(VOLUME, ['store'], { sizeBytes: 50 * EXTENT, extentBytes: EXTENT, writes });
  const late = await shipCapture(installation.home, threads, VOLUME, { owner: 'the node that was thought dead', attempt: 1 });

  // Another machine takes the volume over: its own home and cache on the same catalog and store.
  const environment = environmentOf('another', () => undefined);
  await using another = await openHomeIn(installation.folder, installation.variables, environment, {
    cacheDir: path.join(installation.folder, 'cache.another'),
  });
  const taken = await captureVolume(another, threads, VOLUME);
  const theirs = await another.repository(await storeOf(installation), VOLUME as string as RepositoryName);
  await collectGarbage(theirs, 'another');

  await expect(late.commit()).rejects.toMatchObject({ code: 'CLAIM_LOST' });
  const ours = await installation.repository('store', VOLUME);
  await ours.sync();
  expect([...ours.ledger().snapshots.keys()]).toEqual([taken]);
  expect(await audit(ours)).toEqual([]);
  expect(await audit(theirs)).toEqual([]);
});

test('a long reader renews its pin; once it was let go nobody renews it', async () => {
  const { installation, threads, captured } = await captureThree();
  await using _ = installation;
  await using __ = threads;
  const repository = await installation.repository('store', VOLUME);
  const nowMs = Date.now();
  const until = (): number | undefined => repository.ledger().pins.get('reader')?.untilMs;
  await pinSnapshot(repository, 'reader', captured[0]!.snapshot, nowMs + PIN_MS_DEFAULT, 'a test');
  await renewPin(repository, 'reader', nowMs + PIN_MS_DEFAULT / 4);
  expect(until()).toBe(nowMs + PIN_MS_DEFAULT);
  await renewPin(repository, 'reader', nowMs + PIN_MS_DEFAULT / 2);
  expect(until()).toBe(nowMs + 1.5 * PIN_MS_DEFAULT);
  await unpin(repository, 'reader');
  await renewPin(repository, 'reader', nowMs + PIN_MS_DEFAULT);
  expect(until()).toBeUndefined();
});

test("a restore that begins a second time takes what its first try left, and nobody else's file", async () => {
  const { installation, threads } = await captureThree();
  await using _ = installation;
  await using __ = threads;
  const repository = await installation.repository('store', VOLUME);
  const target = path.join(installation.folder, 'target');
  const begin = (again: boolean) =>
    beginRestore(repository, { volume: VOLUME, snapshot: null, target, mode: 'create', owner: 'test', again });
  writeFileSync(target, 'precious');
  await expect(begin(true)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  expect(readFileSync(target, 'utf8')).toBe('precious');
  rmSync(target);
  await begin(false);
  await expect(begin(false)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  const begun = await begin(true);
  expect(begun.fresh).toBe(false);
});

const storeOf = async ({ home }: Installation) => {
  const [store] = (await home.catalog.sync()).stores.keys();
  if (store === undefined) throw new Error('no store');
  return store;
};

test('a restore whose target is cut under it, by a try that was taken for dead, writes what is missing and is proven', async () => {
  const { installation, threads, captured } = await captureThree();
  await using _ = installation;
  await using __ = threads;
  const reader = await installation.home.reader(storeName('store'), repositoryName(VOLUME));
  const target = path.join(installation.folder, 'cut.img');
  const { snapshot, digest } = captured[2]!;
  const begun = await beginRestore(reader, { volume: VOLUME, snapshot, target, mode: 'create', owner: 'test', again: false });
  let cut = false;
  await restorePart(reader, 'store', snapshot, target, 0, false, {
    pin: begun.pin,
    threads,
    progress(event) {
      if (event.kind !== 'written' || cut) return;
      cut = true;
      truncateSync(target, 0);
      truncateSync(target, SIZE);
    },
  });
  expect([cut, digestOfImage(target)]).toEqual([true, digest]);
});

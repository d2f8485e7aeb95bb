/**
 * What reading a repository costs. One volume of a group is restored by a machine that has nothing: it reads that volume, the
 * records of the log and little else, however many others share the repository; and when locators fail it still finds all.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseClaimObject } from '../../src/engine/repository/object-names.ts';
import { writeCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import { repositoryName, storeName, volumeName, type SnapshotId, type VolumeName } from '../../src/domain/ids.ts';
import type { OpenedStore } from '../../src/ground/stores/open-store.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { collectGarbage, hide, inspect } from '../../src/systems/lifecycle/deletion.ts';
import { captureVolume } from './capture-volume.ts';
import { digestOfImage, writeExtents } from './image.ts';
import { createInstallation, environmentOf, openHomeIn, type Installation } from './installation.ts';
import { restoreSnapshot } from './restore-snapshot.ts';

const EXTENT = 256 * 1024;
const SIZE = 32 * EXTENT;
const VOLUMES = 100;
const GROUP = repositoryName('group');
const STORE = storeName('store');
const nameOf = (i: number): VolumeName => volumeName(`vol-${i}`);
/** Noise, so that what is stored is as large as the volume. */
const contentAt = (volume: number, extent: number): number => 2 * (volume * 1000 + extent + 1);

let installation: Installation;
let threads: Threads;
const snapshots: SnapshotId[] = [];

beforeAll(async () => {
  installation = await createInstallation();
  threads = new Threads({ count: 2 });
  await installation.addStore(STORE);
  for (let i = 0; i < VOLUMES; i++) {
    const writes = Array.from({ length: SIZE / EXTENT }, (_, extent) => ({ extent, content: contentAt(i, extent) }));
    await installation.addVolume(nameOf(i), [STORE], { sizeBytes: SIZE, extentBytes: EXTENT, writes }, GROUP);
    snapshots.push(await captureVolume(installation.home, threads, nameOf(i)));
  }
}, 120_000);
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
});

interface Reading {
  readonly bytes: number;
  readonly kinds: ReadonlySet<string>;
  readonly digest: string;
}

const kindOf = (name: string): string => {
  const inside = name.replace(/^repositories\/[^/]+\//, '');
  return parseClaimObject(inside)?.kind ?? inside.split('/')[0] ?? inside;
};

/** Restores one volume by a machine that has the catalog and no cache, and counts what it gets from the store. */
async function restoreElsewhere(volume: number, snapshot: SnapshotId): Promise<Reading> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-reading-'));
  let bytes = 0;
  const kinds = new Set<string>();
  const counted = (store: OpenedStore): OpenedStore =>
    Object.assign(Object.create(store) as OpenedStore, {
      get: async (...args: Parameters<OpenedStore['get']>) => {
        const got = await store.get(...args);
        bytes += got?.length ?? 0;
        if (got !== null) kinds.add(kindOf(args[0]));
        return got;
      },
    });
  const environment = environmentOf('elsewhere', () => undefined);
  await using home = await openHomeIn(installation.folder, installation.variables, environment, {
    cacheDir: path.join(folder, 'cache'),
    decorate: counted,
  });
  const target = path.join(folder, 'restored.img');
  await restoreSnapshot(await home.reader(STORE, GROUP), threads, { volume: nameOf(volume), snapshot, target });
  const digest = digestOfImage(target);
  rmSync(folder, { recursive: true });
  return { bytes, kinds, digest };
}

test('restoring one volume of a hundred reads at most 1.05 times that volume, and no change object', async () => {
  const cold = await restoreElsewhere(37, snapshots[37]!);
  expect(cold.digest).toBe(digestOfImage(installation.imageOf(nameOf(37))));
  expect(cold.bytes / SIZE).toBeLessThan(1.05);
  expect([...cold.kinds].sort()).toEqual(['keys', 'log', 'pack', 'repository.json']);

  await writeCheckpoint(await installation.repository(STORE, GROUP));
  const withCheckpoint = await restoreElsewhere(38, snapshots[38]!);
  expect(withCheckpoint.digest).toBe(digestOfImage(installation.imageOf(nameOf(38))));
  expect(withCheckpoint.bytes).toBeLessThan(cold.bytes);
});

test('where a collector has moved the values, the index is read once and the restore goes on', async () => {
  // The first snapshot's packs grow thin when most of what they hold dies with it: the rest is moved into new ones.
  const image = installation.imageOf(nameOf(0));
  const writes = Array.from({ length: 24 }, (_, extent) => ({ extent, content: contentAt(VOLUMES, extent) }));
  writeExtents(image, SIZE, EXTENT, writes);
  const second = await captureVolume(installation.home, threads, nameOf(0));
  const repository = await installation.repository(STORE, GROUP);
  const inspection = await inspect(repository, snapshots[0]!);
  if (inspection.kind !== 'live') throw new Error('the first snapshot is live');
  await hide(repository, inspection.seen, false);
  const collected = await collectGarbage(repository, 'test');
  expect(collected.packsRewritten).toBeGreaterThan(0);
  expect((await restoreElsewhere(0, second)).digest).toBe(digestOfImage(image));
});

import { renameSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repositoryName, storeName } from '../../src/domain/ids.ts';
import type { Home } from '../../src/engine/catalog/home.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { captureVolume } from './capture-volume.ts';
import { createInstallation, environmentOf, openHomeIn, storeRecordOf, type Installation } from './installation.ts';

const EXTENT = 64 * 1024;

describe('a process that runs while the settings of a store are changed', () => {
  let installation: Installation;
  let worker: Home;
  let threads: Threads;
  beforeAll(async () => {
    installation = await createInstallation();
    threads = new Threads({ count: 1 });
    await installation.addStore('a');
    await installation.addVolume('v', ['a'], { sizeBytes: 8 * EXTENT, extentBytes: EXTENT, writes: [{ extent: 1, content: 3 }] });
    worker = await openHomeIn(
      installation.folder,
      installation.variables,
      environmentOf('worker', () => undefined),
    );
    await captureVolume(worker, threads, 'v');
  });
  afterAll(async () => {
    await worker[Symbol.asyncDispose]();
    await threads[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  });

  test('follows to the new address, with its repositories', async () => {
    const [before, after] = [installation.storeFolder('a'), installation.storeFolder('moved')];
    renameSync(before, after);
    await expect(worker.repository(storeName('a'), repositoryName('v'))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    const store = { ...storeRecordOf(storeName('a'), `file://${after}`), bytesPerSecondMax: 1_000_000_000 };
    await installation.home.catalog.append(() => ({ kind: 'STORE_SET', store }));
    const snapshot = await captureVolume(worker, threads, 'v');
    const repository = await worker.repository(storeName('a'), repositoryName('v'));
    expect(repository.store.describe().url).toContain('/moved');
    expect(
      repository
        .ledger()
        .order.get([...repository.ledger().order.keys()][0] ?? ('' as never))
        ?.at(-1),
    ).toBe(snapshot);
    expect((await worker.store(storeName('a'))).describe().url).toContain('/moved');
  });

  test('keeps what it has open when only the passphrase has another reference: the data key is the same', async () => {
    const held = await worker.repository(storeName('a'), repositoryName('v'));
    const now = (await worker.catalog.sync()).stores.get(storeName('a'));
    if (!now) throw new Error('no store a');
    await installation.home.catalog.append(() => ({ kind: 'STORE_SET', store: { ...now, passphrase: 'env:NOT_SET_IN_THE_WORKER' } }));
    await worker.catalog.sync();
    expect((await worker.repository(storeName('a'), repositoryName('v'))).store).toBe(held.store);
    await captureVolume(worker, threads, 'v');
  });
});

import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import {
  LOOK_AGAIN_SIGNAL,
  PURGE_UPDATE,
  UNDELETE_UPDATE,
  type CaptureResult,
  type DeleteResult,
  type RestoreResult,
} from '../../src/domain/jobs.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { digestOfImage, writeExtents } from '../systems/image.ts';
import { expectCounted, expectSound, failureOf, raiseStage, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const spec = {
  sizeBytes: 300 * EXTENT,
  extentBytes: EXTENT,
  writes: Array.from({ length: 60 }, (_, i) => ({ extent: i * 4, content: i * 2 + 2 })),
};
let stage: Stage;
let contents = 10_000;

/** Captures a volume into stores so often, with a few extents changed each time. */
async function captured(volume: string, stores: readonly string[], times: number): Promise<CaptureResult[]> {
  const { installation } = stage;
  await installation.addVolume(volume, stores, spec);
  const results: CaptureResult[] = [];
  for (let i = 0; i < times; i++) {
    change(volume, 1);
    results.push(await stage.run('captureSnapshot', { volume }));
  }
  return results;
}

const change = (volume: string, extent: number): void =>
  writeExtents(stage.installation.imageOf(volume), spec.sizeBytes, EXTENT, [{ extent, content: contents++ }]);

const remove = (volume: string, store: string, { snapshot }: CaptureResult, purge = false) =>
  stage.start('deleteSnapshot', { volume, store, snapshot, ...(purge ? { purge } : {}) });
const waiting = (handle: Awaited<ReturnType<typeof remove>>) => until(handle, (status) => status.state === 'waiting');

const describeTemporal = await describeWith('temporal');
describeTemporal('the life of a snapshot', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['a', 'b']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  afterEach(() => stage.weather.fair());

  test('the newest is hidden at once, stays as the base, and goes when the next is committed', async () => {
    const { installation } = stage;
    const [, newest] = await captured('vol', ['a', 'b'], 2);
    const handle = await remove('vol', 'a', newest!);
    expect((await waiting(handle)).phase).toContain('newest of a living lineage');
    const repository = await installation.repository('a', 'vol');
    expect(repository.ledger().snapshots.get(newest!.snapshot)?.hidden).toBe(true);
    expect(await stage.failure('restoreVolume', { volume: 'vol', store: 'a', snapshot: newest!.snapshot, target: '/tmp/never' })).toBe(
      'SNAPSHOT_NOT_FOUND',
    );

    change('vol', 7);
    const next = await stage.run('captureSnapshot', { volume: 'vol' });
    expect(next.stores[0]).toMatchObject({ kind: 'committed', base: newest!.snapshot, newExtents: 1 });
    expect(next.reclaimed).toEqual([newest!.snapshot]);
    expect(await handle.result()).toMatchObject({ outcome: 'reclaimed' });
    await expectSound(stage, 'vol', ['a', 'b']);
    // Asked again it is gone, and one that never was is not found.
    expect(await stage.run('deleteSnapshot', { volume: 'vol', store: 'a', snapshot: newest!.snapshot })).toMatchObject({ outcome: 'gone' });
    const never = { volume: 'vol', store: 'a', snapshot: '01arz3ndektsv4rrffq69g5fav' };
    expect(await stage.failure('deleteSnapshot', never)).toBe('SNAPSHOT_NOT_FOUND');
  });

  test('one that is not the newest goes at once and gives its bytes back', async () => {
    const [, middle] = await captured('older', ['a'], 3);
    const result = (await (await remove('older', 'a', middle!)).result()) as DeleteResult;
    expect(result.outcome).toBe('reclaimed');
    expect(result.freedBytes).toBeGreaterThan(EXTENT);
    await expectSound(stage, 'older', ['a']);
  });

  test('a purge gives up the base; a delete of the only snapshot leaves nothing, and the next capture is whole', async () => {
    const { installation } = stage;
    const [only] = await captured('only', ['a'], 1);
    const handle = await remove('only', 'a', only!);
    await waiting(handle);
    await handle.executeUpdate(PURGE_UPDATE);
    expect(await handle.result()).toMatchObject({ outcome: 'reclaimed' });
    const repository = await installation.repository('a', 'only');
    expect([...repository.table.rows()]).toEqual([]);
    expect(await stage.failure('restoreVolume', { volume: 'only', store: 'a', target: '/tmp/never' })).toBe('SNAPSHOT_NOT_FOUND');
    const next = await stage.run('captureSnapshot', { volume: 'only' });
    expect(next.stores).toMatchObject([{ kind: 'committed', base: null, newExtents: next.changedExtents }]);
    await expectSound(stage, 'only', ['a']);
  });

  test('an undelete shows it again, bit for bit', async () => {
    const [, newest] = await captured('undeleted', ['a'], 2);
    const handle = await remove('undeleted', 'a', newest!);
    await waiting(handle);
    await handle.executeUpdate(UNDELETE_UPDATE);
    expect(await handle.result()).toMatchObject({ outcome: 'undeleted' });
    await expectSound(stage, 'undeleted', ['a']);
  });

  test('a restore pins what it reads: a delete waits until it ends', async () => {
    const { installation, weather } = stage;
    const [first] = await captured('pinned', ['a'], 2);
    const target = path.join(installation.folder, 'pinned.out');
    weather.slow('a', 'get', 2500);
    const restore = await stage.start('restoreVolume', { volume: 'pinned', store: 'a', snapshot: first!.snapshot, target });
    await until(restore, (status) => status.phase === 'restoring');
    const handle = await remove('pinned', 'a', first!);
    expect((await waiting(handle)).phase).toContain('pinned');
    const restored = (await restore.result()) as RestoreResult;
    expect(restored.root).toBe(first!.root);
    weather.fair();
    // The restore that ends tells the delete that waits for it: not a look half a minute later.
    const endedAt = performance.now();
    expect(await handle.result()).toMatchObject({ outcome: 'reclaimed' });
    expect(performance.now() - endedAt).toBeLessThan(20_000);
    await expectSound(stage, 'pinned', ['a']);
  });

  test('a restore refuses a target that is there, overwrites it, or writes only what differs', async () => {
    const { installation } = stage;
    await captured('target', ['a'], 2);
    const target = path.join(installation.folder, 'target.out');
    writeFileSync(target, 'precious');
    const input = { volume: 'target', store: 'a', target } as const;
    expect(await stage.failure('restoreVolume', input)).toBe('TARGET_EXISTS');
    expect(readFileSync(target, 'utf8')).toBe('precious');
    const whole = await stage.run('restoreVolume', { ...input, mode: 'overwrite' });
    expect(digestOfImage(target)).toBe(digestOfImage(installation.imageOf('target')));
    writeExtents(target, spec.sizeBytes, EXTENT, [{ extent: 8, content: 77 }]);
    const differing = await stage.run('restoreVolume', { ...input, mode: 'differences' });
    expect(digestOfImage(target)).toBe(digestOfImage(installation.imageOf('target')));
    expect(differing.writtenBytes).toBe(EXTENT);
    expect(differing.readBytes).toBeLessThan(whole.readBytes / 10);
    expect((await installation.repository('a', 'target')).ledger().pins.size).toBe(0);
  });

  test('a verification names the object and the extents of a flipped byte, and goes on', async () => {
    const { installation } = stage;
    const [first] = await captured('flipped', ['a', 'b'], 2);
    const folder = path.join(installation.storeFolder('a'), 'repositories/flipped/a');
    const packs = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /-p[0-9a-f]{4}$/.test(name));
    const [largest] = packs.sort((x, y) => statSync(path.join(folder, y)).size - statSync(path.join(folder, x)).size);
    const file = path.join(folder, largest!);
    copyFileSync(file, `${installation.folder}/kept`);
    const bytes = readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(2 * EXTENT) ^ 4, 2 * EXTENT);
    writeFileSync(file, bytes);
    const result = await stage.run('verifyStore', { volume: 'flipped', store: 'a', depth: 'all' });
    expect(result.damaged).toHaveLength(1);
    const [damage] = result.damaged;
    expect(damage).toMatchObject({ object: `a/${largest}`, snapshots: [first!.snapshot] });
    expect(damage?.extents).toHaveLength(1);
    expect(damage!.extents[0]! % 4).toBe(0);
    expect(result.valuesChecked).toBeGreaterThanOrEqual(60);
    // The other store is whole, and so is what does not need that extent.
    expect((await stage.run('verifyStore', { volume: 'flipped', store: 'b', depth: 'all' })).damaged).toEqual([]);
    const target = path.join(installation.folder, 'flipped.out');
    expect(await stage.failure('restoreVolume', { volume: 'flipped', store: 'a', target })).toBe('DAMAGED');
    copyFileSync(`${installation.folder}/kept`, file);
    expect((await stage.run('verifyStore', { volume: 'flipped', store: 'a', depth: 'all' })).damaged).toEqual([]);
    await expectCounted(stage, 'flipped', ['a', 'b']);
  });

  test('stores are compared by their roots', async () => {
    const { installation } = stage;
    const [first, second] = await captured('compared', ['a', 'b'], 2);
    const compare = () => stage.run('verifyStore', { volume: 'compared', store: 'a', depth: 'structure', against: 'b' });
    expect((await compare()).differing).toEqual([]);
    await (await remove('compared', 'a', first!)).result();
    expect((await compare()).differing).toEqual([first!.snapshot]);
    expect((await installation.repository('b', 'compared')).ledger().snapshots.has(second!.snapshot)).toBe(true);
  });

  test('a copy goes between stores with another passphrase and another codec, and sends only what the target lacks', async () => {
    const { installation } = stage;
    const secret = path.join(installation.folder, 'secret');
    writeFileSync(secret, 'another passphrase\n');
    await installation.addStore('raw', { passphrase: `file:${secret}`, codec: 'raw' });
    await installation.addStore('dense', { codec: 'zstd-9' });
    const [first, second] = await captured('copied', ['a'], 2);
    const copy = (snapshot: string) => stage.run('copySnapshot', { volume: 'copied', snapshot, from: 'a', to: ['raw', 'dense'] });
    const whole = await copy(first!.snapshot);
    expect(whole.stores).toMatchObject([
      { store: 'raw', kind: 'committed', root: first!.root },
      { store: 'dense', kind: 'committed', root: first!.root },
    ]);
    const increment = await copy(second!.snapshot);
    for (const one of increment.stores) expect(one).toMatchObject({ kind: 'committed', base: first!.snapshot, newExtents: 1 });
    expect(increment.readBytes).toBeLessThan(whole.readBytes / 10);
    await expectSound(stage, 'copied', ['a', 'raw', 'dense']);
    expect((await installation.repository('a', 'copied')).ledger().pins.size).toBe(0);
    expect(await stage.failure('copySnapshot', { volume: 'copied', snapshot: first!.snapshot, from: 'a', to: ['a'] })).toBe(
      'ARGUMENT_INVALID',
    );
    // A snapshot that the target once had and reclaimed is not there, and a copy does not say that it is.
    await (await remove('copied', 'raw', first!)).result();
    const again = stage.start('copySnapshot', { volume: 'copied', snapshot: first!.snapshot, from: 'a', to: ['raw'] });
    expect(await failureOf(await again)).toBe('SNAPSHOT_GONE');
  });

  test('a collection of what is in order changes nothing', async () => {
    await captured('collected', ['a'], 2);
    const result = await stage.run('collectGarbage', { repository: 'collected', store: 'a' });
    expect(result).toMatchObject({ reclaimed: [], objectsDeleted: 0 });
    await expectSound(stage, 'collected', ['a']);
  });

  test('a delete that waits longer than a history may be goes on in another run, and is the same job', async () => {
    const { client, installation } = stage;
    const [only] = await captured('patient', ['a'], 1);
    const first = await remove('patient', 'a', only!);
    await waiting(first);
    const handle = client.workflow.getHandle(first.workflowId);
    const { firstExecutionRunId: began } = first as WorkflowHandleWithFirstExecutionRunId;
    // The server suggests another run from 4,096 events on, and each signal is one; then it is given the time to begin it.
    for (let { runId, historyLength } = await handle.describe(); runId === began; { runId, historyLength } = await handle.describe()) {
      const signals = historyLength < 4096 ? 200 : 1;
      await Promise.all(Array.from({ length: signals }, () => handle.signal(LOOK_AGAIN_SIGNAL)));
      if (signals === 1) await sleep(200);
    }
    await waiting(handle);
    const { jobs } = await installation.home.catalog.sync();
    expect(jobs.get(handle.workflowId)).toMatchObject({ job: 'deleteSnapshot', ended: null });
    await handle.executeUpdate(UNDELETE_UPDATE);
    expect(await handle.result()).toMatchObject({ outcome: 'undeleted' });
    await expectSound(stage, 'patient', ['a']);
  });
});

import { renameSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { DETACH_UPDATE, PAUSE_UPDATE, RESUME_UPDATE, type CaptureResult, type CopyResult } from '../../src/domain/jobs.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { expectSound, raiseStage, statusOf, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const spec = {
  sizeBytes: 300 * EXTENT,
  extentBytes: EXTENT,
  writes: Array.from({ length: 60 }, (_, i) => ({ extent: i * 4, content: i * 2 + 2 })),
};
let stage: Stage;

/** Moves a store's folder away, as a disk that is not mounted any more; returns what brings it back. */
function takeAway(store: string): () => void {
  const folder = stage.installation.storeFolder(store);
  renameSync(folder, `${folder}.away`);
  return () => renameSync(`${folder}.away`, folder);
}

const describeTemporal = await describeWith('temporal');
describeTemporal('a store in trouble', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['a', 'b', 'c']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  afterEach(() => stage.weather.fair());

  test('pauses the whole job with its reason; the job goes on once the store has been well for a while', async () => {
    const { installation } = stage;
    await installation.addVolume('vol', ['a', 'b', 'c'], spec);
    await stage.run('captureSnapshot', { volume: 'vol' });
    const bringBack = takeAway('b');
    const handle = await stage.start('captureSnapshot', { volume: 'vol' });
    const paused = await until(handle, (status) => status.state === 'paused');
    expect(paused.paused?.store).toBe('b');
    expect(paused.paused?.reason).toContain('no store at');
    // Nothing was committed in the stores that are well: all of them wait.
    expect((await installation.repository('a', 'vol')).ledger().snapshots.size).toBe(1);
    bringBack();
    const backAt = performance.now();
    const result = (await handle.result()) as CaptureResult;
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed', 'committed']);
    // Hysteresis: three good probes, a quarter of a second apart, before it goes on.
    expect(performance.now() - backAt).toBeGreaterThan(500);
    await expectSound(stage, 'vol', ['a', 'b', 'c']);
  });

  test('in the middle of shipping pauses, and what was confirmed is not sent again', async () => {
    const { installation, weather } = stage;
    await installation.addVolume('middle', ['a', 'b'], spec);
    weather.slow('a', 'put', 700);
    weather.slow('b', 'put', 700);
    const handle = await stage.start('captureSnapshot', { volume: 'middle' });
    await until(handle, (status) => status.phase === 'shipping');
    const bringBack = takeAway('a');
    await until(handle, (status) => status.state === 'paused');
    expect((await statusOf(handle)).paused?.store).toBe('a');
    weather.fair();
    bringBack();
    const result = (await handle.result()) as CaptureResult;
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectSound(stage, 'middle', ['a', 'b']);
  });

  test('its operator pauses and resumes', async () => {
    const { installation, weather } = stage;
    await installation.addVolume('paused', ['a', 'b'], spec);
    weather.slow('a', 'put', 1500);
    const handle = await stage.start('captureSnapshot', { volume: 'paused' });
    await until(handle, (status) => status.phase === 'shipping');
    await handle.executeUpdate(PAUSE_UPDATE);
    expect(await statusOf(handle)).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    weather.fair();
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect((await statusOf(handle)).state).toBe('paused');
    expect((await installation.repository('b', 'paused')).ledger().snapshots.size).toBe(0);
    await handle.executeUpdate(RESUME_UPDATE);
    const result = (await handle.result()) as CaptureResult;
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectSound(stage, 'paused', ['a', 'b']);
  });

  test('past its deadline is left behind, and catches up in a job of its own once it is back', async () => {
    const { installation, client } = stage;
    await installation.addVolume('late', ['a', 'b', 'c'], spec);
    await stage.run('captureSnapshot', { volume: 'late' });
    const bringBack = takeAway('c');
    const result = await stage.run('captureSnapshot', { volume: 'late', detachAfterMs: 500 });
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed', 'detached']);
    const detached = result.stores.find((one) => one.kind === 'detached');
    const copy = client.workflow.getHandle(detached?.kind === 'detached' ? detached.job : '');
    await until(copy, (status) => status.state === 'paused');
    bringBack();
    const caughtUp = (await copy.result()) as CopyResult;
    expect(caughtUp.stores).toMatchObject([{ store: 'c', kind: 'committed', root: result.root, newExtents: 0 }]);
    await expectSound(stage, 'late', ['a', 'b', 'c']);
  });

  test('catches up though what it copies was deleted at its source meanwhile: the pin holds it', async () => {
    const { installation, client } = stage;
    await installation.addVolume('kept', ['a', 'b'], spec);
    const bringBack = takeAway('b');
    const { snapshot } = await stage.run('captureSnapshot', { volume: 'kept', detachAfterMs: 200 });
    const copy = client.workflow.getHandle(`copy.b.${snapshot}`);
    await until(copy, (status) => status.state === 'paused');
    const removal = await stage.start('deleteSnapshot', { volume: 'kept', store: 'a', snapshot, purge: true });
    expect((await until(removal, (status) => status.state === 'waiting')).phase).toContain('pinned');
    bringBack();
    expect(((await copy.result()) as CopyResult).stores).toMatchObject([{ store: 'b', kind: 'committed' }]);
    expect(await removal.result()).toMatchObject({ outcome: 'reclaimed' });
    await expectSound(stage, 'kept', ['b']);
  });

  test('is left behind at once when its operator says so', async () => {
    const { installation, client } = stage;
    await installation.addVolume('told', ['a', 'b'], spec);
    const bringBack = takeAway('b');
    const handle = await stage.start('captureSnapshot', { volume: 'told' });
    await until(handle, (status) => status.state === 'paused');
    await handle.executeUpdate(DETACH_UPDATE, { args: ['b'] });
    const result = (await handle.result()) as CaptureResult;
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'detached']);
    bringBack();
    await client.workflow.getHandle(`copy.b.${result.snapshot}`).result();
    await expectSound(stage, 'told', ['a', 'b']);
  });

  test('that is full, though every probe fits, is left behind past the deadline and not tried for ever', async () => {
    const { installation, weather, client } = stage;
    await installation.addVolume('brimful', ['a', 'b'], spec);
    weather.full('b');
    const result = await stage.run('captureSnapshot', { volume: 'brimful', detachAfterMs: 3000 });
    expect(result.stores).toMatchObject([
      { store: 'a', kind: 'committed' },
      { store: 'b', kind: 'detached', reason: expect.stringContaining('no space left') },
    ]);
    const copy = client.workflow.getHandle(`copy.b.${result.snapshot}`);
    await until(copy, (status) => status.state === 'paused');
    weather.fair();
    expect(((await copy.result()) as CopyResult).stores).toMatchObject([{ store: 'b', kind: 'committed' }]);
    await expectSound(stage, 'brimful', ['a', 'b']);
  });

  test('when all stores are gone the job fails with the reason, and the next one finishes', async () => {
    const { installation } = stage;
    await installation.addVolume('alone', ['b'], spec);
    const bringBack = takeAway('b');
    expect(await stage.failure('captureSnapshot', { volume: 'alone', detachAfterMs: 200 })).toBe('STORE_UNREACHABLE');
    bringBack();
    await stage.run('captureSnapshot', { volume: 'alone' });
    await expectSound(stage, 'alone', ['b']);
  });
});

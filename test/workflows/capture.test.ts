import { renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { volumeName } from '../../src/domain/ids.ts';
import { SUBTREE_EXTENTS } from '../../src/domain/limits.ts';
import { findVolume } from '../../src/engine/catalog/catalog.ts';
import { serveFile } from '../engine/volumes/nbd/serve-file.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { digestOfImage, writeExtents } from '../systems/image.ts';
import { restoreSnapshot } from '../systems/restore-snapshot.ts';
import { expectCounted, expectSound, failureOf, raiseStage, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const EXTENTS = 200;
const filled = Array.from({ length: 40 }, (_, i) => ({ extent: i * 3, content: i * 2 + 2 }));
const spec = { sizeBytes: EXTENTS * EXTENT, extentBytes: EXTENT, writes: filled };
let stage: Stage;

/** Claims that are open, store by store. */
async function claimsOf(volume: string, stores: readonly string[]): Promise<readonly number[]> {
  const open: number[] = [];
  for (const store of stores) open.push((await stage.installation.repository(store, volume)).ledger().claims.size);
  return open;
}

const describeTemporal = await describeWith('temporal');
describeTemporal('captureSnapshot', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['a', 'b', 'c']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  afterEach(() => stage.weather.fair());

  test('reads each extent once for three stores, and next time sends what changed', async () => {
    const { installation } = stage;
    await installation.addVolume('vol', ['a', 'b', 'c'], spec);
    const first = await stage.run('captureSnapshot', { volume: 'vol' });
    expect(first).toMatchObject({ readBytes: 40 * EXTENT, extentsRead: 40, changedExtents: 40, consistency: 'crash', reclaimed: [] });
    expect(first.stores.map((one) => one.kind)).toEqual(['committed', 'committed', 'committed']);
    for (const one of first.stores) {
      expect(one).toMatchObject({ root: first.root, base: null, newExtents: 40 });
      expect(one.kind === 'committed' && one.sentBytes).toBeGreaterThan(40 * EXTENT);
      expect(one.kind === 'committed' && one.sentBytes).toBeLessThan(40 * EXTENT * 1.02);
    }

    writeExtents(installation.imageOf('vol'), spec.sizeBytes, EXTENT, [
      { extent: 1, content: 1000 },
      { extent: 3, content: 0 },
    ]);
    const second = await stage.run('captureSnapshot', { volume: 'vol' });
    expect(second).toMatchObject({ readBytes: 41 * EXTENT, changedExtents: 2 });
    for (const one of second.stores) {
      expect(one).toMatchObject({ kind: 'committed', base: first.snapshot, newExtents: 1 });
      expect(one.kind === 'committed' && one.sentBytes).toBeLessThan(2 * EXTENT);
    }
    await expectSound(stage, 'vol', ['a', 'b', 'c']);
  });

  test('with a list of changed ranges it reads those and a sample', async () => {
    const { installation } = stage;
    await installation.addVolume('hinted', ['a', 'b'], spec);
    const { snapshot } = await stage.run('captureSnapshot', { volume: 'hinted' });
    writeExtents(installation.imageOf('hinted'), spec.sizeBytes, EXTENT, [{ extent: 6, content: 2000 }]);
    const ranges = path.join(installation.folder, 'ranges');
    writeFileSync(ranges, `# changed\n${6 * EXTENT} ${EXTENT}\n`);
    const hinted = await stage.run('captureSnapshot', { volume: 'hinted', changed: { since: snapshot, ranges } });
    expect(hinted.changedExtents).toBe(1);
    expect(hinted.extentsRead).toBeLessThanOrEqual(3);

    // A list that leaves out everything that changed: whether the sample meets it or not, no volume is captured wrong twice.
    writeFileSync(ranges, 'from here to there\n');
    expect(await stage.failure('captureSnapshot', { volume: 'hinted', changed: { since: hinted.snapshot, ranges } })).toBe('HINT_INVALID');
    const whole = await stage.run('captureSnapshot', { volume: 'hinted' });
    expect(whole).toMatchObject({ changedExtents: 0, root: hinted.root });
    await expectSound(stage, 'hinted', ['a', 'b']);
  });

  test('that fails for its source or its list leaves no claim in any store', async () => {
    const { installation } = stage;
    await installation.addVolume('faulty', ['a', 'b', 'c'], spec);
    const { snapshot } = await stage.run('captureSnapshot', { volume: 'faulty' });
    const ranges = path.join(installation.folder, 'no-ranges');
    writeFileSync(ranges, '0 here\n');
    expect(await stage.failure('captureSnapshot', { volume: 'faulty', changed: { since: snapshot, ranges } })).toBe('HINT_INVALID');
    expect(await claimsOf('faulty', ['a', 'b', 'c'])).toEqual([0, 0, 0]);

    // One store has another base than the others: what they claimed is closed with the job.
    const image = installation.imageOf('faulty');
    writeExtents(image, (EXTENTS + 10) * EXTENT, EXTENT, []);
    await stage.run('captureSnapshot', { volume: 'faulty', stores: ['b'] });
    writeExtents(image, EXTENTS * EXTENT, EXTENT, []);
    expect(await stage.failure('captureSnapshot', { volume: 'faulty' })).toBe('VOLUME_SHRANK');
    expect(await claimsOf('faulty', ['a', 'b', 'c'])).toEqual([0, 0, 0]);
  });

  test('whose source goes away between two subtrees leaves no claim either', async () => {
    const { installation, weather } = stage;
    const small = 16 * 1024;
    const sizeBytes = (SUBTREE_EXTENTS + 10) * small;
    await installation.addVolume('leaving', ['a', 'b'], { sizeBytes, extentBytes: small, writes: [{ extent: 1, content: 2 }] });
    weather.slow('a', 'put', 2500);
    const handle = await stage.start('captureSnapshot', { volume: 'leaving', allowFuzzy: true });
    await until(handle, (status) => status.phase === 'shipping');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const image = installation.imageOf('leaving');
    renameSync(image, `${image}.away`);
    expect(await failureOf(handle)).toBe('SOURCE_UNREADABLE');
    expect(await claimsOf('leaving', ['a', 'b'])).toEqual([0, 0]);
    weather.fair();
    renameSync(`${image}.away`, image);
    await stage.run('captureSnapshot', { volume: 'leaving' });
    await expectSound(stage, 'leaving', ['a', 'b']);
  });

  test('refuses a source that changes while it is read, leaves no claim, and takes it with consent', async () => {
    const { installation, weather } = stage;
    await installation.addVolume('busy', ['a', 'b'], spec);
    const changeWhileRead = async (allowFuzzy: boolean) => {
      weather.slow('a', 'put', 1500);
      const handle = await stage.start('captureSnapshot', { volume: 'busy', allowFuzzy });
      await until(handle, (status) => status.phase === 'shipping');
      for (let i = 0; i < 6; i++) {
        writeExtents(installation.imageOf('busy'), spec.sizeBytes, EXTENT, [{ extent: 9, content: 3000 + i }]);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return handle;
    };
    expect(await failureOf(await changeWhileRead(false))).toBe('SOURCE_CHANGED');
    expect((await installation.repository('a', 'busy')).ledger().claims.size).toBe(0);

    const result: unknown = await (await changeWhileRead(true)).result();
    expect(result).toMatchObject({ consistency: 'fuzzy' });
    await expectCounted(stage, 'busy', ['a', 'b']);
  });

  test('refuses an NBD export that may be written, and takes it as fuzzy with consent', async () => {
    const { installation, threads } = stage;
    await using served = await serveFile(spec.sizeBytes);
    writeExtents(served.file, spec.sizeBytes, EXTENT, filled);
    await installation.addVolume('served', ['a', 'b'], { ...spec, writes: [] });
    await installation.home.catalog.append((state) => ({
      kind: 'VOLUME_SET',
      volume: { ...findVolume(state, volumeName('served')), path: served.uri() },
    }));
    expect(await stage.failure('captureSnapshot', { volume: 'served' })).toBe('SOURCE_CHANGED');
    expect(await claimsOf('served', ['a', 'b'])).toEqual([0, 0]);

    const { consistency, snapshot } = await stage.run('captureSnapshot', { volume: 'served', allowFuzzy: true });
    expect(consistency).toBe('fuzzy');
    for (const store of ['a', 'b']) {
      const repository = await installation.repository(store, 'served');
      expect(repository.ledger().snapshots.get(snapshot)).toMatchObject({ consistency: 'fuzzy' });
      const target = `${served.file}.${store}`;
      await restoreSnapshot(repository, threads, { volume: volumeName('served'), snapshot, target });
      expect(digestOfImage(target)).toBe(digestOfImage(served.file));
    }
  });

  test('refuses a volume that shrank, and takes it with consent', async () => {
    const { installation } = stage;
    await installation.addVolume('shrinking', ['a'], spec);
    await stage.run('captureSnapshot', { volume: 'shrinking' });
    writeExtents(installation.imageOf('shrinking'), 30 * EXTENT + 100, EXTENT, []);
    expect(await stage.failure('captureSnapshot', { volume: 'shrinking' })).toBe('VOLUME_SHRANK');
    const result = await stage.run('captureSnapshot', { volume: 'shrinking', allowShrink: true });
    expect(result.sizeBytes).toBe(30 * EXTENT + 100);
    await expectSound(stage, 'shrinking', ['a']);
  });

  test('two starts join', async () => {
    const { installation, weather } = stage;
    await installation.addVolume('joined', ['a', 'b'], spec);
    weather.slow('a', 'put', 300);
    const handles = await Promise.all([1, 2].map(() => stage.start('captureSnapshot', { volume: 'joined' })));
    const results = await Promise.all(handles.map((handle) => handle.result() as Promise<unknown>));
    expect(results[1]).toEqual(results[0]);
    expect((await installation.repository('a', 'joined')).ledger().snapshots.size).toBe(1);
  });

  test('an input that does not fit is refused with the fields', async () => {
    expect(await stage.failure('captureSnapshot', { volume: 'no such volume!' })).toBe('ARGUMENT_INVALID');
    expect(await stage.failure('captureSnapshot', { volume: 'nowhere' })).toBe('VOLUME_NOT_FOUND');
  });
});

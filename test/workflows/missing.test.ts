import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MISSING_ROUNDS_MAX } from '../../src/domain/limits.ts';
import { collect } from '../../src/engine/repository/collector.ts';
import { hideSnapshot } from '../../src/engine/repository/pins.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { expectSound, raiseStage, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const VALUES = 8;
const ROUNDS = Array.from({ length: MISSING_ROUNDS_MAX }, () => false);

const describeTemporal = await describeWith('temporal');
describeTemporal('values that die before each commit', () => {
  let stage: Stage;
  /** What happens before the next commit to a store; what a commit answers instead of its own answer. */
  let beforeCommit: (store: string) => Promise<void> = async () => undefined;
  let alwaysMissing: string | null = null;
  /** Of each call that ships, by store: whether it was to bring all. */
  const shipped: { readonly store: string; readonly bringAll: boolean }[] = [];

  beforeAll(async () => {
    stage = await raiseStage(finder, (activities) => ({
      ...activities,
      async shipVolume(plan, opened, subtree, claims) {
        shipped.push(...claims.map(({ store, bringAll }) => ({ store, bringAll })));
        return activities.shipVolume(plan, opened, subtree, claims);
      },
      async commitTo(store, repository, shipment) {
        await beforeCommit(store);
        if (store === alwaysMissing) return { kind: 'missing', subtrees: [0], relying: [0], values: 1 };
        return activities.commitTo(store, repository, shipment);
      },
    }));
    for (const store of ['a', 'b']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());

  const bringAllOf = (store: string): readonly boolean[] => shipped.filter((one) => one.store === store).map((one) => one.bringAll);

  test('are shipped again, and the fourth commit stands because it relies on none', async () => {
    const { installation } = stage;
    const sizeBytes = 20 * EXTENT;
    const contents = Array.from({ length: VALUES }, (_, i) => 2 * i + 2);
    await installation.addVolume(
      'late',
      ['a', 'b'],
      { sizeBytes, extentBytes: EXTENT, writes: contents.map((content, extent) => ({ extent, content })) },
      'group',
    );
    // In store a each value is held by a snapshot of another volume, which is purged before one of the commits.
    for (const [i, content] of contents.entries()) {
      await installation.addVolume(`h${i}`, ['a'], { sizeBytes, extentBytes: EXTENT, writes: [{ extent: 15, content }] }, 'group');
      await stage.run('captureSnapshot', { volume: `h${i}` });
    }
    shipped.length = 0;
    const repository = await installation.repository('a', 'group');
    const doomed = [...repository.ledger().snapshots.keys()];
    let commits = 0;
    beforeCommit = async (store) => {
      if (store !== 'a') return;
      commits++;
      const id = doomed.shift();
      const snapshot = id === undefined ? undefined : repository.ledger().snapshots.get(id);
      if (!snapshot) return;
      await hideSnapshot(repository, snapshot.id, snapshot.version, true);
      await collect(repository, { owner: 'deleter', full: true });
    };
    const result = await stage.run('captureSnapshot', { volume: 'late' });
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    expect(commits).toBe(MISSING_ROUNDS_MAX + 1);
    // Only the store that misses something is shipped to again.
    expect(bringAllOf('a')).toEqual([...ROUNDS, true]);
    expect(bringAllOf('b')).toEqual([false]);
    expect(doomed).toHaveLength(VALUES - MISSING_ROUNDS_MAX - 1);
    beforeCommit = async () => undefined;
    await expectSound(
      { ...stage, installation: { ...installation, repository: (store) => installation.repository(store, 'group') } },
      'late',
      ['a', 'b'],
    );
  });

  test('a store that goes on answering missing is given up after the fourth, and the others are not', async () => {
    const { installation } = stage;
    await installation.addVolume('bad', ['a', 'b'], { sizeBytes: 20 * EXTENT, extentBytes: EXTENT, writes: [{ extent: 0, content: 2 }] });
    shipped.length = 0;
    alwaysMissing = 'a';
    const result = await stage.run('captureSnapshot', { volume: 'bad' });
    expect(result.stores).toMatchObject([
      { store: 'a', kind: 'failed', failure: { code: 'MISSING_EXTENTS' } },
      { store: 'b', kind: 'committed' },
    ]);
    expect(bringAllOf('a')).toEqual([...ROUNDS, true]);
    alwaysMissing = null;
    const next = await stage.run('captureSnapshot', { volume: 'bad' });
    expect(next.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectSound(stage, 'bad', ['a', 'b']);
  });
});

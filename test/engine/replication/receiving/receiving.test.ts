import { expect, test } from '@jest/globals';
import type { SnapshotId } from '../../../../src/domain/ids.ts';
import { collect as collectGarbage } from '../../../../src/engine/repository/collector.ts';
import { hideSnapshot } from '../../../../src/engine/repository/pins.ts';
import { namesOfSnapshot } from './tiny-sender.ts';
import { extents, twoSites, whatIsWrong } from './two-sites.ts';

test('a full session ends with the source root, and each name is pushed once', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture([...extents(0, 100, 1), ...extents(300, 60, 1)]);
  const sent = await sites.send(snapshot);
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(sent.refusals).toEqual([]);
  expect(new Set(sent.pushed)).toEqual(await namesOfSnapshot(await sites.source(), snapshot));
  expect(sent.pushed).toHaveLength(new Set(sent.pushed).size);
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('an incremental session sends what is new, by pages that say what differs', async () => {
  await using sites = await twoSites();
  const first = await sites.capture(extents(0, 400, 1));
  expect((await sites.send(first)).end).toEqual({ kind: 'committed' });
  const second = await sites.capture([...extents(5, 3, 2), ...extents(100, 2, 1), { extent: 399, content: 0 }]);
  const sent = await sites.send(second);
  expect(sent.end).toEqual({ kind: 'committed' });
  const before = await namesOfSnapshot(await sites.source(), first);
  const after = await namesOfSnapshot(await sites.source(), second);
  expect([...sent.pushed].sort()).toEqual([...after].filter((name) => !before.has(name)).sort());
  expect(sent.pages).toBe(2);
  expect(await whatIsWrong(sites, second)).toEqual([]);
});

test('a base that the sender no longer has costs names, and no data', async () => {
  await using sites = await twoSites();
  const first = await sites.capture(extents(0, 400, 1));
  await sites.send(first);
  const second = await sites.capture([...extents(5, 3, 2), { extent: 10, content: 0 }]);
  const sent = await sites.send(second, { bases: [] });
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(sent.pages).toBe(2);
  expect(sent.pushed).toHaveLength(3);
  expect(await whatIsWrong(sites, second)).toEqual([]);
});

test('a session in which nothing changed names nothing', async () => {
  await using sites = await twoSites();
  await sites.send(await sites.capture(extents(0, 50, 1)));
  const same = await sites.capture([]);
  const sent = await sites.send(same);
  expect(sent).toMatchObject({ end: { kind: 'committed' }, pages: 0, pushed: [], rounds: 1 });
  expect(await whatIsWrong(sites, same)).toEqual([]);
});

test('a volume of zeros, and one that grows over two subtrees: a value that both need is pushed once', async () => {
  await using sites = await twoSites();
  const zeros = await sites.capture([], 2 ** 20);
  expect((await sites.send(zeros)).end).toEqual({ kind: 'committed' });
  const far = 65_536 + 5;
  const grown = await sites.capture(
    [...extents(0, 10, 1), ...extents(far, 10, 1), ...extents(far + 20, 2, 2)],
    (far + 30) * 16 * 1024 - 5000,
  );
  const sent = await sites.send(grown);
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(sent.pushed).toHaveLength(12);
  expect(await whatIsWrong(sites, grown)).toEqual([]);
});

test('values that die between the names and the commit are pushed after all', async () => {
  await using sites = await twoSites();
  // Only the first snapshot has them; the third has them again, which the receiver counts when it is asked.
  await sites.send(await sites.capture(extents(0, 60, 1)));
  const second = await sites.capture(extents(0, 60, 2));
  await sites.send(second);
  const third = await sites.capture(extents(0, 60, 1));
  let collected = 0;
  const sent = await sites.send(third, {
    before: async (frames) => {
      if (collected > 0 || !frames.some(({ kind }) => kind === 'COMMIT')) return frames;
      const target = await sites.target();
      for (const { id, version } of target.ledger().snapshots.values()) if (id !== second.id) await hideSnapshot(target, id, version, true);
      collected = (await collectGarbage(target, { owner: 'gc', full: true })).reclaimed.length;
      return frames;
    },
  });
  expect(collected).toBe(1);
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(sent.pushed).toHaveLength(60);
  expect(await whatIsWrong(sites, third)).toEqual([]);
});

test('a collector that runs after every exchange harms nothing', async () => {
  await using sites = await twoSites();
  for (let i = 0; i < 4; i++) {
    const snapshot = await sites.capture([...extents(i * 20, 40, 1 + i), ...extents(200, 30, 1 + (i % 2))]);
    const sent = await sites.send(snapshot, {
      framesAnExchange: 25,
      after: async () => {
        const target = await sites.target();
        for (const { id, hidden, version } of target.ledger().snapshots.values())
          if (!hidden) await hideSnapshot(target, id, version, false);
        await collectGarbage(target, { owner: 'gc', full: true });
        return true;
      },
    });
    expect(sent.end).toEqual({ kind: 'committed' });
    expect(await whatIsWrong(sites, snapshot)).toEqual([]);
  }
});

test('when values die before each commit, the fourth relies on none that can: the receiver brings what it holds by itself', async () => {
  await using sites = await twoSites();
  const old: SnapshotId[] = [];
  for (let i = 1; i <= 5; i++) {
    const snapshot = await sites.capture(extents(0, 30, i));
    await sites.send(snapshot);
    old.push(snapshot.id);
  }
  const last = await sites.capture([1, 2, 3, 4].flatMap((seed) => extents(seed * 100, 30, seed)));
  let killed = 0;
  const sent = await sites.send(last, {
    before: async (frames) => {
      const target = await sites.target();
      const next = target.ledger().snapshots.get(old[killed] ?? last.id);
      if (next === undefined || !frames.some(({ kind }) => kind === 'COMMIT')) return frames;
      killed++;
      await hideSnapshot(target, next.id, next.version, true);
      await collectGarbage(target, { owner: 'gc', full: true });
      return frames;
    },
  });
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(killed).toBe(4);
  // Those of the fourth were copied here before they died.
  expect(sent.pushed).toHaveLength(90);
  expect(await whatIsWrong(sites, last)).toEqual([]);
});

test.each([true, false])('a volume that shrinks by a subtree ends where it ends; the sender has the base: %s', async (hasBase) => {
  await using sites = await twoSites();
  const far = 65_536 + 5;
  const large = await sites.capture([...extents(0, 20, 1), ...extents(300, 20, 1), ...extents(far, 10, 3)], (far + 30) * 16 * 1024);
  await sites.send(large);
  const small = await sites.capture(extents(5, 5, 4), 310 * 16 * 1024 - 100);
  const sent = await sites.send(small, hasBase ? {} : { bases: [] });
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(await whatIsWrong(sites, small)).toEqual([]);
});

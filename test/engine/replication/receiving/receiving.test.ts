import { expect, test } from '@jest/globals';
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

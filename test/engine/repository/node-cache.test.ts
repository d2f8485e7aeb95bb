import { expect, test } from '@jest/globals';
import type { NodeView } from '../../../src/engine/map/walk.ts';
import { createNodeCaches } from '../../../src/engine/repository/node-cache.ts';

const fingerprint = (number: number): Buffer => Buffer.alloc(32, number);
const view = (): NodeView => ({ children: Buffer.alloc(1), locations: Buffer.alloc(1) });

test('repositories share one limit: the least recently used goes, whosever it is', () => {
  const cacheOf = createNodeCaches(3);
  const [one, other] = [cacheOf(), cacheOf()];
  one.set(fingerprint(1), view());
  one.set(fingerprint(2), view());
  other.set(fingerprint(3), view());
  expect(one.get(fingerprint(1))).not.toBeNull();
  other.set(fingerprint(4), view());
  expect([1, 2].map((number) => one.get(fingerprint(number)) !== null)).toEqual([true, false]);
  other.set(fingerprint(5), view());
  expect([3, 4, 5].map((number) => other.get(fingerprint(number)) !== null)).toEqual([false, true, true]);
});

test('a node that is read again and set again is one, not two', () => {
  const cache = createNodeCaches(2)();
  const latest = view();
  for (const again of [view(), view(), latest]) cache.set(fingerprint(1), again);
  cache.set(fingerprint(2), view());
  expect(cache.get(fingerprint(1))).toBe(latest);
  expect(cache.get(fingerprint(2))).not.toBeNull();
});

test("a view is its repository's own: another one with the same fingerprint has other locators", () => {
  const cacheOf = createNodeCaches();
  const [one, other] = [cacheOf(), cacheOf()];
  one.set(fingerprint(1), view());
  expect(other.get(fingerprint(1))).toBeNull();
});

test('a process keeps 1,024 nodes where it is not told otherwise', () => {
  const cache = createNodeCaches()();
  const numbered = (number: number): Buffer => Buffer.from(number.toString(16).padStart(64, '0'), 'hex');
  for (let number = 0; number < 2000; number++) cache.set(numbered(number), view());
  const kept = Array.from({ length: 2000 }, (_, number) => cache.get(numbered(number)) !== null);
  expect(kept.filter(Boolean)).toHaveLength(1024);
  expect(kept.indexOf(true)).toBe(2000 - 1024);
});

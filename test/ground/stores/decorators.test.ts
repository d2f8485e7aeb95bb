import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createMetricsRegistry } from '../../../src/ground/metrics/registry.ts';
import { seededFaults, withFaults } from '../../../src/ground/stores/faulty.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { withLimits } from '../../../src/ground/stores/limited.ts';
import { createStoreMetrics, withMeasure } from '../../../src/ground/stores/measured.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';

let root: string;
let disk: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-decorated-'));
  disk = createFileStore({ root, create: true, durability: 'os' });
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('limits', () => {
  test('no more calls are in flight than allowed, and each gets its turn', async () => {
    let inFlight = 0;
    let most = 0;
    const slow: ObjectStore = {
      ...disk,
      head: async (name) => {
        most = Math.max(most, ++inFlight);
        await new Promise((resolve) => setTimeout(resolve, 1));
        inFlight -= 1;
        if (name === 'bad') throw new Error('bad');
        return null;
      },
    };
    const limited = withLimits(slow, { concurrency: 3 });
    const names = Array.from({ length: 30 }, (_, index) => (index % 5 === 0 ? 'bad' : 'good'));
    const answers = await Promise.allSettled(names.map((name) => limited.head(name)));
    expect(answers.filter((answer) => answer.status === 'rejected')).toHaveLength(6);
    expect(most).toBe(3);
  });

  test('a call that is aborted while it waits gives its turn to the next', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const limited = withLimits({ ...disk, head: () => held.then(() => null) }, { concurrency: 1 });
    const controller = new AbortController();
    const first = limited.head('first');
    const second = limited.head('second', { signal: controller.signal });
    const third = limited.head('third');
    controller.abort(new Error('not any more'));
    await expect(second).rejects.toThrow('not any more');
    release();
    await expect(Promise.all([first, third])).resolves.toEqual([null, null]);
  });

  test('bytes a second hold in each direction, in the order of the calls', async () => {
    let nowMs = 0;
    const waits: number[] = [];
    const sleep = (ms: number): Promise<void> => Promise.resolve(void waits.push(ms));
    const limited = withLimits(disk, { uploadBytesPerSecond: 1000, downloadBytesPerSecond: 500, now: () => nowMs, sleep });
    await limited.put('a', Buffer.alloc(2000));
    await limited.put('b', Buffer.alloc(1000));
    await limited.put('c', Buffer.alloc(1000));
    expect(waits).toEqual([2000, 3000]);
    await limited.get('a');
    await limited.get('b');
    expect(waits.slice(2)).toEqual([4000]);
    nowMs = 100_000;
    await limited.put('d', Buffer.alloc(1000));
    await limited.put('e', Buffer.alloc(1000));
    // Of the idle time no more than a quarter of a second is caught up on.
    expect(waits.slice(3)).toEqual([750]);
  });

  test('a limit that is none is refused', () => {
    for (const limits of [{ concurrency: 0 }, { uploadBytesPerSecond: -1 }, { downloadBytesPerSecond: 0.5 }]) {
      expect(() => withLimits(disk, limits)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }));
    }
  });
});

test('a measured store counts calls, bytes, errors and time, for people and for programs', async () => {
  const registry = createMetricsRegistry({ role: 'test' });
  let nowMs = 0;
  const store = withMeasure(disk, { name: 'cellar', metrics: createStoreMetrics(registry), now: () => (nowMs += 500) });
  await store.put('a', Buffer.alloc(100));
  await store.put('a', Buffer.alloc(50), { ifAbsent: true });
  await store.get('a');
  await store.get('a', { range: { offset: 90, length: 100 } });
  await store.get('b');
  await expect(store.head('/')).rejects.toThrow();
  expect(store.totals()).toMatchObject({
    bytesSent: 150,
    bytesReceived: 110,
    operations: { put: { calls: 2, errors: 0, bytes: 150, seconds: 1 }, get: { calls: 3, bytes: 110 }, head: { calls: 1, errors: 1 } },
  });
  const text = await registry.metrics();
  expect(text).toContain('holdfast_store_calls_total{store="cellar",operation="head",outcome="ARGUMENT_INVALID",role="test"} 1');
  expect(text).toContain('holdfast_store_bytes_total{store="cellar",operation="put",role="test"} 150');
  expect(text).toContain('holdfast_store_call_seconds_count{role="test",store="cellar",operation="get"} 3');
});

describe('faults', () => {
  test('of each kind do what they say', async () => {
    const plan = new Map<string, Parameters<typeof withFaults>[1]>();
    const faulty = withFaults(disk, (call) => plan.get(call.operation)?.(call));
    await disk.put('a', Buffer.from('abc'));

    plan.set('get', () => ({ kind: 'flip' }));
    expect((await faulty.get('a'))?.toString()).toBe('acc');
    plan.set('get', () => ({ kind: 'missing' }));
    await expect(faulty.get('a')).resolves.toBeNull();
    plan.set('put', () => ({ kind: 'full' }));
    await expect(faulty.put('b', Buffer.alloc(1))).rejects.toMatchObject({ code: 'STORE_FULL' });
    plan.set('put', () => ({ kind: 'late', afterMs: 5 }));
    const body = Buffer.from('late');
    await expect(faulty.put('b', body)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await expect(disk.get('b')).resolves.toBeNull();
    body.fill(0);
    await faulty.settled();
    await expect(disk.get('b')).resolves.toEqual(Buffer.from('late'));
    plan.set('delete', () => ({ kind: 'partial-delete' }));
    await expect(faulty.delete(['a', 'b'])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect((await disk.list('')).map((object) => object.name)).toEqual(['b']);
    expect(faulty.injected()).toEqual({ flip: 1, missing: 1, full: 1, late: 1, 'partial-delete': 1 });
  });

  test('by chance are the same ones for the same seed, in the measure asked for', () => {
    const roll = (seed: number): string[] => {
      const plan = seededFaults({ seed, chances: { 'lost-answer': 0.2, late: 0.1 }, operations: ['put'] });
      return Array.from({ length: 2000 }, (_, count) => plan({ operation: 'put', name: 'a', count })?.kind ?? 'none');
    };
    expect(roll(7)).toEqual(roll(7));
    expect(roll(7)).not.toEqual(roll(8));
    const share = (kind: string): number => roll(7).filter((one) => one === kind).length / 2000;
    expect(share('lost-answer')).toBeGreaterThan(0.17);
    expect(share('lost-answer')).toBeLessThan(0.23);
    expect(share('late')).toBeGreaterThan(0.07);
    expect(share('late')).toBeLessThan(0.13);
    expect(seededFaults({ seed: 1, chances: { full: 1 }, operations: ['put'] })({ operation: 'get', name: 'a', count: 1 })).toBeUndefined();
  });
});

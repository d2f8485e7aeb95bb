import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { withFaults, type Fault, type FaultPlan } from '../../../src/ground/stores/faulty.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { withRetry } from '../../../src/ground/stores/retrying.ts';

let root: string;
let disk: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-retry-'));
  disk = createFileStore({ root, create: true, durability: 'os' });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const noSleep = (): Promise<void> => Promise.resolve();

/** These faults for the puts, one after the other; then none. */
const puts =
  (...faults: readonly (Fault | undefined)[]): FaultPlan =>
  ({ operation, count }) =>
    operation === 'put' ? faults[count - 1] : undefined;

const mine = Buffer.from('nonce 1: mine');
const theirs = Buffer.from('nonce 2: theirs');

describe('a put-if-absent whose answer was lost', () => {
  test('knows its own bytes', async () => {
    const faulty = withFaults(disk, puts({ kind: 'lost-answer' }));
    await expect(withRetry(faulty, { sleep: noSleep }).put('slot', mine, { ifAbsent: true })).resolves.toBe('created');
  });

  test('knows those of another', async () => {
    await disk.put('slot', theirs);
    const faulty = withFaults(disk, puts({ kind: 'unavailable' }, { kind: 'lost-answer' }));
    await expect(withRetry(faulty, { sleep: noSleep }).put('slot', mine, { ifAbsent: true })).resolves.toBe('exists');
  });

  test('tells own from others also when the look at it fails at first', async () => {
    const faulty = withFaults(disk, ({ operation, count }) =>
      operation === 'put' && count === 1 ? { kind: 'lost-answer' } : operation === 'get' && count < 3 ? { kind: 'unavailable' } : undefined,
    );
    await expect(withRetry(faulty, { sleep: noSleep }).put('slot', mine, { ifAbsent: true })).resolves.toBe('created');
    expect(faulty.injected()).toEqual({ 'lost-answer': 1, unavailable: 2 });
  });

  test('takes the slot in the second attempt, and the late first one changes nothing', async () => {
    const faulty = withFaults(disk, puts({ kind: 'late', afterMs: 20 }));
    await expect(withRetry(faulty, { sleep: noSleep }).put('slot', mine, { ifAbsent: true })).resolves.toBe('created');
    await faulty.settled();
    await expect(disk.get('slot')).resolves.toEqual(mine);
  });

  test('stays unclear when it is unclear to the end, whatever is answered last', async () => {
    for (const last of ['full', 'unavailable'] as const) {
      const faulty = withFaults(disk, puts({ kind: 'lost-answer' }, { kind: last }));
      const put = withRetry(faulty, { sleep: noSleep, attempts: 2 }).put(last, mine, { ifAbsent: true });
      await expect(put).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
      await expect(disk.get(last)).resolves.toEqual(mine);
    }
  });

  test('an object that exists before the first attempt is never claimed without a doubt', async () => {
    await disk.put('slot', mine);
    await expect(withRetry(disk).put('slot', mine, { ifAbsent: true })).resolves.toBe('exists');
  });
});

describe('what is tried again', () => {
  const failing = (error: Error): { store: ObjectStore; calls: () => number } => {
    let count = 0;
    const fail = (): Promise<never> => {
      count += 1;
      return Promise.reject(error);
    };
    return { store: { ...disk, get: fail, put: fail }, calls: () => count };
  };

  test('is only what is unclear', async () => {
    for (const code of ['STORE_DENIED', 'STORE_FULL', 'ARGUMENT_INVALID', 'DAMAGED'] as const) {
      const { store, calls } = failing(new HoldfastError(code, 'no'));
      await expect(withRetry(store, { sleep: noSleep }).get('a')).rejects.toMatchObject({ code });
      expect(calls()).toBe(1);
    }
    const { store, calls } = failing(new HoldfastError('STORE_UNREACHABLE', 'gone'));
    await expect(withRetry(store, { sleep: noSleep, attempts: 4 }).get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(calls()).toBe(4);
  });

  test('waits longer each time, up to a bound, by a share that chance decides', async () => {
    const { store } = failing(new HoldfastError('STORE_UNREACHABLE', 'gone'));
    const waits: number[] = [];
    const sleep = (ms: number): Promise<void> => Promise.resolve(void waits.push(ms));
    const retrying = withRetry(store, { attempts: 6, baseDelayMs: 100, maxDelayMs: 500, sleep, random: () => 0.5 });
    await expect(retrying.get('a')).rejects.toThrow('gone');
    expect(waits).toEqual([50, 100, 200, 250, 250]);
  });

  test('a dead store costs little more than its calls', async () => {
    const { store, calls } = failing(new HoldfastError('STORE_UNREACHABLE', 'gone'));
    const retrying = withRetry(store, { sleep: noSleep, attempts: 5, budget: { share: 0.1, burst: 20 } });
    for (let count = 0; count < 1000; count++) await expect(retrying.get('a')).rejects.toThrow('gone');
    expect(calls()).toBeGreaterThan(1000);
    expect(calls()).toBeLessThanOrEqual(1000 + 100 + 20);
  });

  test('ends with an abort, while waiting too', async () => {
    const { store, calls } = failing(new HoldfastError('STORE_UNREACHABLE', 'gone'));
    const controller = new AbortController();
    const reason = new Error('enough');
    const get = withRetry(store, { baseDelayMs: 60_000, maxDelayMs: 60_000, random: () => 1 }).get('a', { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 10);
    await expect(get).rejects.toBe(reason);
    expect(calls()).toBe(1);
  });
});

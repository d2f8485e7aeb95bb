import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as timer } from 'node:timers/promises';
import { createRegisters, positionsOf, type Register } from '../../../src/engine/events/position.ts';
import { awaitTurn, takeTenure, type TenureParts } from '../../../src/systems/events/tenure.ts';
import { createMemoryStore } from '../../engine/memory-store.ts';

const KEY = { dataKey: Buffer.alloc(32, 1), repositoryId: Buffer.alloc(16, 2) };
const TIMES = { renewMs: 200, takeoverMs: 400, lookMs: 20 };
const note = (n: number): Omit<Register, 'holder'> => ({ generation: 1, topic: 't', logs: { log: { n, head: 'h' } }, passed: [] });

function world() {
  const store = createMemoryStore();
  const registers = () => createRegisters({ id: 'c', store, key: KEY }, (size) => randomBytes(size));
  const partsOf = (self: string, gone: readonly string[] = []): TenureParts => ({
    ...{ registers: registers(), self, isGone: (holder) => gone.includes(holder), times: TIMES },
    sleep: (ms, signal) => timer(ms, undefined, { signal }).catch(() => undefined),
  });
  return { store, registers, partsOf };
}
const never = (error: unknown): void => {
  throw error;
};

test('the highest number counts, however late a lower one is put, and the newest two stay', async () => {
  const { store, registers } = world();
  const one = registers();
  for (let k = 1; k <= 5; k++) expect(await one.put(k, { ...note(k), holder: 'a' })).toBe(true);
  expect(store.objects.size).toBe(2);
  // A relay that slept puts its own third.
  expect(await one.put(3, { ...note(3), holder: 'asleep' })).toBe(true);
  expect(await one.newest()).toMatchObject({ k: 5, register: { logs: { log: { n: 5 } } } });
  expect(await registers().put(5, { ...note(9), holder: 'b' })).toBe(false);
  // A damaged one is passed over.
  const [newest = ''] = [...store.objects.keys()].sort();
  store.objects.set(newest, Buffer.from('rot'));
  expect((await one.newest())?.k).toBe(4);
  expect(positionsOf(await one.newest(), 2)).toEqual({});
});

test('a put whose answer was lost is known as one that was made', async () => {
  const { store } = world();
  const answers = { lost: true };
  const registers = createRegisters(
    {
      ...{ id: 'c', key: KEY },
      store: {
        ...store,
        async put(name, bytes, options) {
          await store.put(name, bytes, options);
          // As a retrying store sees it: the first try has arrived and said nothing.
          return answers.lost ? store.put(name, bytes, options) : 'created';
        },
      },
    },
    (size) => randomBytes(size),
  );
  expect(await registers.put(1, { ...note(1), holder: 'a' })).toBe(true);
});

test('a holder that renews is waited for; one that was given back, or is known to be gone, is not', async () => {
  const { partsOf } = world();
  const a = partsOf('a');
  const ending = new AbortController();
  const held = await takeTenure(
    a,
    await awaitTurn(a, ending.signal),
    () => note(1),
    () => 0,
    never,
  );
  const holding = held?.hold(20, ending.signal);
  const b = partsOf('b');
  const waited = await Promise.race([awaitTurn(b, ending.signal).then(() => 'taken'), timer(900, 'waits')]);
  expect(waited).toBe('waits');
  expect((await awaitTurn(partsOf('c', ['a']), ending.signal))?.register.holder).toBe('a');
  ending.abort();
  expect(await holding).toBe('ended');
  const found = await awaitTurn(b, new AbortController().signal);
  expect(found?.register).toMatchObject({ holder: null, logs: { log: { n: 1 } } });
});

test('a holder that says nothing loses its place after a while, and learns so', async () => {
  const { partsOf } = world();
  const { signal } = new AbortController();
  const a = partsOf('a');
  const held = await takeTenure(
    a,
    null,
    () => note(1),
    () => 0,
    never,
  );
  const b = partsOf('b');
  const begunMs = performance.now();
  const found = await awaitTurn(b, signal);
  expect(performance.now() - begunMs).toBeGreaterThanOrEqual(TIMES.takeoverMs);
  expect(
    await takeTenure(
      b,
      found,
      () => note(2),
      () => 0,
      never,
    ),
  ).not.toBeNull();
  expect(await held?.hold(20, signal)).toBe('superseded');
  // Of two that take over at once one does.
  expect(
    await takeTenure(
      partsOf('c'),
      found,
      () => note(3),
      () => 0,
      never,
    ),
  ).toBeNull();
});

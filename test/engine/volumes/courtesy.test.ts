/** Readers of views beside a busy thread and beside an idle one; in real time, for that is what the thread has. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { threadCourtesy, type Courtesy } from '../../../src/engine/volumes/courtesy.ts';

const MIB = 1024 * 1024;

async function secondsFor(courtesy: Courtesy, mib: number): Promise<number> {
  const begun = performance.now();
  for (let read = 0; read < mib; read += 4) await courtesy.pass(4 * MIB);
  return (performance.now() - begun) / 1000;
}

/** Uses the thread in turns of 5 ms until it is told to end. */
async function beBusy(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const until = performance.now() + 5; performance.now() < until;);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('beside nobody they wait for nothing; beside a busy thread 48 MiB take a second; when it is free again they go on at once', async () => {
  const courtesy = threadCourtesy();
  await sleep(100);
  // A second for 48 MiB of it would be 21 of them.
  expect(await secondsFor(courtesy, 1024)).toBeLessThan(5);
  expect(courtesy.isBusy()).toBe(false);

  const busy = new AbortController();
  const working = beBusy(busy.signal);
  await sleep(150);
  expect(courtesy.isBusy()).toBe(true);
  const beside = await secondsFor(courtesy, 32);
  expect(beside).toBeGreaterThan(0.35);
  expect(beside).toBeLessThan(10);

  // A pass that is paid for by a long wait is let go when there is nobody left to wait for.
  await courtesy.pass(1024 * MIB);
  const waiting = courtesy.pass(MIB);
  busy.abort();
  await working;
  const begun = performance.now();
  await waiting;
  expect(performance.now() - begun).toBeLessThan(10_000);
});

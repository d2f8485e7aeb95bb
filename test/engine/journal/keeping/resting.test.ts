/** Work that nobody waits for gives half of its time away. */
import { expect, test } from '@jest/globals';
import { resting } from '../../../../src/engine/journal/keeping/resting.ts';

test('it rests for as long as it has worked since it rested, and never long', async () => {
  let nowMs = 5000;
  const rests: number[] = [];
  const rest = resting({ nowMs: () => nowMs, sleep: async (ms) => void (rests.push(ms), (nowMs += ms)) });
  for (const workedMs of [30, 0, 120, 60_000]) {
    nowMs += workedMs;
    await rest();
  }
  // A clock that was set back is no reason to work on without any.
  nowMs -= 86_400_000;
  await rest();
  expect(rests).toEqual([30, 0, 120, 500, 0]);
});

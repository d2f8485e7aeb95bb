import { expect, test } from '@jest/globals';
import { MIB } from '../../../src/domain/limits.ts';
import { syncEarly } from '../../../src/engine/transfer/early-sync.ts';

/** A target whose syncs end when they are told to. */
function slowTarget() {
  const under: PromiseWithResolvers<void>[] = [];
  return {
    under,
    sync: () => {
      const one = Promise.withResolvers<void>();
      under.push(one);
      return one.promise;
    },
  };
}

test('syncs when much was written, one sync at a time', async () => {
  const target = slowTarget();
  const early = syncEarly(target, () => undefined);
  for (let i = 0; i < 255; i++) early.wrote(MIB);
  expect(target.under).toHaveLength(0);
  for (let i = 0; i < 600; i++) early.wrote(MIB);
  expect(target.under).toHaveLength(1);
  target.under[0]?.resolve();
  await early.ended();
  early.wrote(MIB);
  expect(target.under).toHaveLength(2);
});

test('tells of a sync that fails before it counts as ended', async () => {
  const target = slowTarget();
  const failures: unknown[] = [];
  const early = syncEarly(target, (error) => failures.push(error));
  early.wrote(256 * MIB);
  target.under[0]?.reject(new Error('no space'));
  await early.ended();
  expect(failures).toEqual([new Error('no space')]);
});

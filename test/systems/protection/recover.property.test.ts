/** Recoveries into files against what the disks held, byte for byte, over bases by chance; ended by a signal, some of them. HOLDFAST_SEED is the whole case. */
import { readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { firstDifference, type RecoveryWorld, recoveryWorlds, REGIONS } from './recovery-world.ts';

const RUNS = 15;
const one = process.env['HOLDFAST_SEED'];
const seeds = one === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(one)];
const newWorld = recoveryWorlds({ threads: 2 });

async function lived(seed: number): Promise<RecoveryWorld> {
  const world = newWorld({ seed });
  await world.open();
  for (let i = world.random.between(3, 12); i > 0; i--) {
    await world.write();
    await world.acknowledge();
    if (world.random.chance(0.3)) await world.fold(world.random.pick(REGIONS));
    if (world.random.chance(0.1)) await world.open();
  }
  return world;
}

test('a point that is recovered is what the disks held, whatever base it is made of', async () => {
  const [bases, faults]: [Set<boolean>, string[]] = [new Set(), []];
  for (const seed of seeds) {
    const world = await lived(seed);
    for (const { point, content } of world.moments.filter(() => world.random.chance(0.4))) {
      const paths = world.paths();
      const { baseSeq } = await world.recover(point, { prefer: [world.random.pick(REGIONS)] }, paths);
      bases.add(baseSeq > 0);
      const difference = firstDifference(paths, content);
      if (difference !== null) faults.push(`HOLDFAST_SEED=${seed}, point ${point.seq} over base ${baseSeq}: ${difference}`);
      for (const file of paths) rmSync(file);
    }
  }
  expect(faults).toEqual([]);
  if (one === undefined) expect(bases.size).toBe(2);
}, 180_000);

test('a recovery that is ended by a signal writes nothing any more, has its pin taken off, and can be made again', async () => {
  for (const seed of seeds.slice(0, 6)) {
    const world = await lived(seed);
    const { point, content } = world.moments.at(-1)!;
    const paths = world.paths();
    const stop = new AbortController();
    const after = world.random.below(400_000);
    const onProgress = ({ writtenBytes }: { readonly writtenBytes: number }): void => {
      if (writtenBytes > after) stop.abort(new Error('enough'));
    };
    const ended = await world.recover(point, { onProgress, signal: stop.signal }, paths).then(
      () => 'whole',
      (error: unknown) => String(error),
    );
    expect(ended).toBe(stop.signal.aborted && ended !== 'whole' ? 'Error: enough' : 'whole');
    const left = paths.map((file) => readFileSync(file));
    await sleep(50);
    expect(paths.every((file, volume) => readFileSync(file).equals(left[volume]!))).toBe(true);
    expect((await world.small.journal.log.sync()).pins.size).toBe(0);
    for (const file of paths) rmSync(file);
    await world.recover(point, {}, paths);
    expect(firstDifference(paths, content)).toBeNull();
  }
}, 180_000);

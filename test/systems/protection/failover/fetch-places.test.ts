/** Places of disks that a host catches up with, when a batch that they are in cannot be had. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import { Threads } from '../../../../src/ground/threads/threads.ts';
import { fetchPlaces } from '../../../../src/systems/protection/failover/fetch-places.ts';
import { firstDifference, flip, RecoveryWorld, REGIONS, SIZES } from '../recovery-world.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'hf-fetch-places-'));
let threads: Threads;
beforeAll(() => {
  threads = new Threads({ count: 1 });
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test('a batch that is nowhere as it was written is left for a base that holds what it held; where there is none it is named', async () => {
  const world = new RecoveryWorld({ seed: 1, folder, threads });
  await world.open();
  for (let batches = 0; batches < 4; batches++) {
    await world.write();
    await world.acknowledge();
  }
  const { point, content } = world.moments.at(-1)!;
  // The last batch with data: what those before it hold has been written by the time that it is wanted.
  for (const region of REGIONS) flip(world.small.stores.get(region)!, batchName(1, 6), 1);
  const paths = world.paths();
  const fetch = async (): Promise<number> => {
    for (const [volume, file] of paths.entries()) writeFileSync(file, Buffer.alloc(SIZES[volume]!, 0xee));
    return fetchPlaces(
      { reading: world.reading({ prefer: ['a'] }), bases: world.bases },
      {
        ...{ point, paths, signal: new AbortController().signal, onFetched: () => undefined },
        places: SIZES.map((size) => [
          { offset: 0, length: 1000 },
          { offset: 1000, length: size - 1000 },
        ]),
      },
    );
  };
  await expect(fetch()).rejects.toMatchObject({ code: 'DAMAGED', details: { epoch: 1, index: 6 } });
  // Folded where the batch was still sound.
  for (const region of REGIONS) flip(world.small.stores.get(region)!, batchName(1, 6), 1);
  await world.fold('b');
  for (const region of REGIONS) flip(world.small.stores.get(region)!, batchName(1, 6), 1);
  expect(await fetch()).toBeGreaterThanOrEqual(SIZES.reduce((sum, size) => sum + size, 0));
  expect(firstDifference(paths, content)).toBeNull();
});

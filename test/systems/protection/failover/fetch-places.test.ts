/** Places of disks that a host catches up with, when a batch that they are in cannot be had. */
import { writeFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import { fetchPlaces } from '../../../../src/systems/protection/failover/fetch-places.ts';
import { firstDifference, flip, recoveryWorlds, REGIONS, SIZES } from '../recovery-world.ts';

const newWorld = recoveryWorlds({ threads: 1 });

test('a batch that is nowhere as it was written is left for a base that holds what it held; where there is none it is named', async () => {
  const world = newWorld({ seed: 1 });
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

/**
 * What a kill costs: of a large capture that is killed again and again, the packs that are sent twice.
 *
 * The promise is one pack per store and thread for each kill: what a store has confirmed is adopted by the next attempt. Counted
 * at the store: bytes of packs that attempts began to put, less the bytes that the snapshot uses in the end.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { storeName, newSnapshotId } from '../../src/domain/ids.ts';
import { PACK_BYTES_MAX } from '../../src/domain/limits.ts';
import { createWorkforce } from './operator-process.ts';
import { REPOSITORY } from './operations.ts';
import type { Kill } from './points.ts';
import type { Script, Task } from './script.ts';
import { makeWorld } from './world.ts';

const EXTENT = 256 * 1024;
const EXTENTS = 640;
const THREADS = 2;
const STORES = ['a', 'b'].map(storeName);
const KILLS: readonly Kill[] = [
  { point: 'after put pack', nth: 3, afterMs: 0, victim: 'process' },
  { point: 'during put pack', nth: 5, afterMs: 2, victim: 'process' },
  { point: 'before put pack', nth: 4, afterMs: 0, victim: 'process' },
];

test('a capture of ten packs, killed three times, sends at most one pack per store and thread again for each kill', async () => {
  const writes = Array.from({ length: EXTENTS }, (_, extent) => ({ extent, content: 2 * extent + 2 }));
  const step = { sizeBytes: EXTENTS * EXTENT, writes, tasks: [] };
  const stores = STORES.map((name) => ({ name, kind: 'file' as const }));
  const script: Script = { seed: 1, extentBytes: EXTENT, stores, threads: THREADS, bare: false, steps: [step] };
  await using world = await makeWorld(script, null);
  world.prepare(step);
  const { folder, variables } = world;
  await using workforce = createWorkforce({ folder, variables, threads: THREADS, strike: () => Promise.resolve() });
  const snapshot = newSnapshotId(1_700_000_000_000, () => 0.5);
  const task: Task = {
    id: 'large',
    operation: { kind: 'capture', snapshot, stores: STORES },
    kills: KILLS,
    doubled: false,
    machine: 'first',
  };

  const begun = new Map<string, number>();
  for (let attempt = 1; ; attempt++) {
    const { ending, sent } = await workforce.operate({ task, attempt, kill: KILLS[attempt - 1] ?? null });
    for (const [store, { begunBytes }] of Object.entries(sent)) begun.set(store, (begun.get(store) ?? 0) + begunBytes);
    expect(ending.kind).toBe(attempt <= KILLS.length ? 'killed' : 'done');
    if (ending.kind === 'done') break;
  }
  await using home = await world.openHome('cache.cold');
  for (const store of STORES) {
    const repository = await home.repository(store, REPOSITORY);
    const used = [...repository.table.packs()].reduce((sum, pack) => sum + pack.bytes, 0);
    const again = (begun.get(store) ?? 0) - used;
    process.stderr.write(`${store}: ${(again / PACK_BYTES_MAX).toFixed(2)} packs sent again after ${KILLS.length} kills\n`);
    expect(again).toBeLessThanOrEqual(KILLS.length * THREADS * PACK_BYTES_MAX);
  }
  rmSync(path.join(folder, 'vol.img'));
}, 120_000);

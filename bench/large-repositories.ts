/**
 * Repositories that are large in one way: a lineage of thousands of snapshots, and one with ten times the values.
 *
 * Made through the systems' own functions in this process, for thousands of workflows would take an hour; deleted from
 * through workflows like everything else.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { newSnapshotId, storeName, type SnapshotId, type StoreName } from '../src/domain/ids.ts';
import { captureInput, parseInput } from '../src/domain/job-inputs.ts';
import { openCapture, shipVolume } from '../src/systems/shipping/capture.ts';
import { commitTo } from '../src/systems/shipping/destinations.ts';
import { planCapture } from '../src/systems/shipping/plan.ts';
import { openHost } from '../src/engine/volumes/host.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import type { Installation } from './installation.ts';

const MIB = 1024 * 1024;
const SMALL = 16 * 1024;

/** One capture without Temporal: the three steps that the workflow drives. */
export async function captureDirectly(
  installation: Pick<Installation, 'home'>,
  volume: string,
  store: StoreName,
  threads: Threads,
): Promise<SnapshotId> {
  const { home } = installation;
  const snapshot = newSnapshotId(Date.now(), Math.random);
  const plan = planCapture(await home.catalog.sync(), parseInput(captureInput, 'captureSnapshot', { volume }), snapshot);
  const opened = await openCapture(home, openHost('bench', '/nowhere'), plan, { owner: 'bench', attempt: 1 });
  const [lane] = opened.destinations;
  if (lane?.kind !== 'open') throw new Error('the bench could not claim its lineage');
  const receipts = [];
  for (let subtree = 0; subtree < opened.subtrees; subtree++) {
    const part = await shipVolume(home, plan, opened, subtree, [{ ...lane, bringAll: false }], { threads });
    receipts.push(...part.receipts.map(({ receipt }) => receipt));
  }
  const { lineage, extentBytes, label } = plan;
  const { sizeBytes, takenMs } = opened;
  const outcome = await commitTo(home, store, plan.repository, {
    lineage,
    epoch: lane.epoch,
    snapshot,
    sizeBytes,
    extentBytes,
    takenMs,
    consistency: 'crash',
    label,
    receipts,
  });
  if (outcome.kind !== 'committed') throw new Error('the bench could not commit');
  return snapshot;
}

const long: SnapshotId[] = [];

/** A lineage of `generations` snapshots, two extents changed each; answers one from its middle. */
export async function buildLineage(installation: Installation, generations: number): Promise<SnapshotId> {
  const image = path.join(installation.folder, 'long.img');
  writeFileSync(image, randomBytes(4 * MIB));
  await installation.addVolume('long', image, ['two'], { extentBytes: SMALL });
  await using threads = new Threads({ count: 1 });
  for (let g = 0; g < generations; g++) {
    const fd = openSync(image, 'r+');
    for (const extent of [g % 256, (g * 7) % 256]) writeSync(fd, randomBytes(SMALL), 0, SMALL, extent * SMALL);
    closeSync(fd);
    long.push(await captureDirectly(installation, 'long', storeName('two'), threads));
    if (g % 200 === 0) process.stderr.write(`  ${g} of ${generations} snapshots\n`);
  }
  return long[Math.floor(generations / 2)]!;
}
/** Another one from its middle. */
export const anotherOfLineage = (): SnapshotId => long[Math.floor(long.length / 2) + 7]!;

/** Two repositories alike but for their size: 16,384 values and ten times as many; answers the middle snapshot of each. */
export async function buildWideRepository(installation: Installation): Promise<readonly [SnapshotId, SnapshotId]> {
  const narrow = await buildRepository(installation, 'narrow', 256);
  return [narrow, await buildRepository(installation, 'wide', 2560)];
}

async function buildRepository(installation: Installation, name: string, mib: number): Promise<SnapshotId> {
  const image = path.join(installation.folder, `${name}.img`);
  const fd = openSync(image, 'w');
  for (let i = 0; i < mib; i += 64) writeSync(fd, randomBytes(64 * MIB), 0, 64 * MIB, i * MIB);
  closeSync(fd);
  await installation.addVolume(name, image, ['three'], { extentBytes: SMALL });
  const ids: SnapshotId[] = [];
  for (let g = 0; g < 3; g++) {
    const edit = openSync(image, 'r+');
    for (let i = 0; i < 40; i++) writeSync(edit, randomBytes(SMALL), 0, SMALL, i * 397 * SMALL);
    closeSync(edit);
    ids.push((await installation.run('captureSnapshot', { volume: name })).result.snapshot);
  }
  return ids[1]!;
}

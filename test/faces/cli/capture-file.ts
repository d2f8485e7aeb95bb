/** Captures a file into a store with the real systems and no Temporal: what a test of the faces needs to find there. */
import { randomBytes } from 'node:crypto';
import type { SnapshotId, StoreName, VolumeName } from '../../../src/domain/ids.ts';
import { newSnapshotId } from '../../../src/domain/ids.ts';
import { openHome, type Home } from '../../../src/engine/catalog/home.ts';
import { mirrorCatalog } from '../../../src/engine/catalog/mirror.ts';
import { readConfiguration, type Variables } from '../../../src/ground/configuration/configuration.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { openCapture, shipVolume } from '../../../src/systems/shipping/capture.ts';
import { BARE_HOST } from '../../systems/capture-volume.ts';
import { commitTo } from '../../../src/systems/shipping/destinations.ts';
import { planCapture } from '../../../src/systems/shipping/plan.ts';
import type { SubtreeReceipt } from '../../../src/engine/transfer/contract.ts';

export const openTestHome = (variables: Variables): Promise<Home> => {
  const { home, cacheDir } = readConfiguration(variables);
  const environment = {
    writer: 'test',
    nowMs: () => Date.now(),
    random: (size: number) => randomBytes(size),
    sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)),
    alarm: () => undefined,
  };
  return openHome({ ...home, cacheDir, variables, environment });
};

export async function captureFile(variables: Variables, volume: string): Promise<SnapshotId> {
  await using home = await openTestHome(variables);
  await using threads = new Threads({ count: 1 });
  const snapshot = newSnapshotId(Date.now(), Math.random);
  const plan = planCapture(await home.catalog.sync(), { volume: volume as VolumeName }, snapshot);
  const opened = await openCapture(home, BARE_HOST, plan, { owner: 'test', attempt: 1 });
  const receipts = new Map<StoreName, SubtreeReceipt[]>();
  const claims = opened.destinations.flatMap((one) => (one.kind === 'open' ? [{ ...one, bringAll: false }] : []));
  for (let subtree = 0; subtree < opened.subtrees; subtree++) {
    const part = await shipVolume(home, plan, opened, subtree, claims, { threads });
    for (const { store, receipt } of part.receipts) receipts.set(store, [...(receipts.get(store) ?? []), receipt]);
  }
  for (const { store, epoch } of claims) {
    const { lineage, extentBytes, label } = plan;
    const { sizeBytes, takenMs } = opened;
    const shipment = { lineage, epoch, snapshot, sizeBytes, extentBytes, takenMs, consistency: 'crash', label } as const;
    const outcome = await commitTo(home, store, plan.repository, { ...shipment, receipts: receipts.get(store) ?? [] });
    if (outcome.kind !== 'committed') throw new Error(`not committed in ${store}`);
    await mirrorCatalog(home, await home.repository(store, plan.repository));
  }
  return snapshot;
}

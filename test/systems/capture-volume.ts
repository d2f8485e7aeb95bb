/** A capture from its plan to its commits, as the workflow does it when nothing goes wrong, in one call. */
import { randomBytes } from 'node:crypto';
import { captureInput, parseInput, type CaptureInput } from '../../src/domain/job-inputs.ts';
import { newSnapshotId, type SnapshotId } from '../../src/domain/ids.ts';
import type { Home } from '../../src/engine/catalog/home.ts';
import type { CommitOutcome } from '../../src/engine/repository/commit.ts';
import { openHost, type Host } from '../../src/engine/volumes/host.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { openCapture, shipVolume, type Attempt, type ShippedPart } from '../../src/systems/shipping/capture.ts';
import { commitTo } from '../../src/systems/shipping/destinations.ts';
import { planCapture } from '../../src/systems/shipping/plan.ts';

/** A capture that has shipped all of its volume and not committed: what a node holds that is left behind. */
export interface ShippedCapture {
  readonly snapshot: SnapshotId;
  readonly readBytes: number;
  /** Of each part: the source was still at the moment at which it was opened. */
  readonly stable: readonly boolean[];
  commit(): Promise<readonly CommitOutcome[]>;
}

/** A host that serves no disks and has no hooks. */
export const BARE_HOST: Host = openHost('n1', '/nowhere');

/** What a user may say besides the volume. */
export type CaptureExtras = Omit<CaptureInput, 'volume'>;

export async function shipCapture(
  home: Home,
  threads: Threads,
  volume: string,
  by: Attempt,
  extras: CaptureExtras = {},
  host: Host = BARE_HOST,
): Promise<ShippedCapture> {
  const snapshot = (extras.snapshot as SnapshotId | undefined) ?? newSnapshotId(Date.now(), () => randomBytes(4).readUInt32BE(0) / 2 ** 32);
  const input = parseInput(captureInput, 'captureSnapshot', { ...extras, volume });
  const plan = planCapture(await home.catalog.sync(), input, snapshot);
  const opened = await openCapture(home, host, plan, by);
  const claims = opened.destinations.flatMap((one) => (one.kind === 'open' ? [{ ...one, bringAll: false }] : []));
  const parts: ShippedPart[] = [];
  for (let subtree = 0; subtree < opened.subtrees; subtree++)
    parts.push(await shipVolume(home, plan, opened, subtree, claims, { threads }));
  return {
    snapshot,
    readBytes: parts.reduce((sum, part) => sum + part.readBytes, 0),
    stable: parts.map(({ stable }) => stable),
    commit: () =>
      Promise.all(
        claims.map(({ store, epoch }) =>
          commitTo(home, store, plan.repository, {
            ...{ lineage: plan.lineage, epoch, snapshot, sizeBytes: opened.sizeBytes, extentBytes: plan.extentBytes },
            ...{ takenMs: opened.takenMs, consistency: 'crash', label: null },
            receipts: parts.flatMap((part) =>
              part.receipts.flatMap((one) => (one.store === store && one.receipt.part !== null ? [one.receipt] : [])),
            ),
          }),
        ),
      ),
  };
}

export async function captureVolume(home: Home, threads: Threads, volume: string): Promise<SnapshotId> {
  const shipped = await shipCapture(home, threads, volume, { owner: `test ${randomBytes(8).toString('hex')}`, attempt: 1 });
  const outcomes = await shipped.commit();
  if (outcomes.some(({ kind }) => kind !== 'committed')) throw new Error(`not committed: ${JSON.stringify(outcomes)}`);
  return shipped.snapshot;
}

/**
 * Captures a volume into its stores: one read, many destinations, a commit per store (systems A and C).
 *
 * Started again under its id it joins the run that is there; started with a snapshot id that an earlier run began, it goes
 * on where that run stopped. After the commits whatever waited for them is reclaimed, and the volume's receivers are told. A capture that ends because of its source
 * closes its claims at once: they would hold the base and what was sent until the next one.
 */
import { ApplicationFailure } from '@temporalio/common';
import { CancellationScope, isCancellation, log, patched } from '@temporalio/workflow';
import { newSnapshotId, type SnapshotId, type StoreName } from '../src/domain/ids.ts';
import type { CaptureInput } from '../src/domain/job-inputs.ts';
import { hostQueue, QUEUE, type CaptureResult } from '../src/domain/jobs.ts';
import type { OpenedCapture } from '../activities/shipping.ts';
import { failureOf, openBook, runJob, type Book } from './book.ts';
import { takeOrders, type Orders } from './orders.ts';
import { replicateAfterCapture } from './policies.ts';
import { brief, briefWithin, bulk, short } from './queues.ts';
import { committedRoot, DETACH_AFTER_MS, reclaimReleased, shipToAll } from './shipping.ts';

export async function captureSnapshot(input: CaptureInput): Promise<CaptureResult> {
  // Clock and dice are the workflow's own: the same id on replay.
  const snapshot = (input.snapshot as SnapshotId | undefined) ?? newSnapshotId(Date.now(), Math.random);
  const store = (input.stores ?? []).join(',') || 'all';
  const opened = openBook({ kind: 'captureSnapshot', title: `Capture of ${input.volume}`, volume: input.volume, store });
  const orders = takeOrders(opened);
  return runJob(
    opened,
    { ...input, snapshot },
    (book) => capture(input, snapshot, book, orders),
    ({ readBytes, stores }) =>
      `${snapshot}: read ${readBytes} bytes, ${stores.filter((one) => one.kind === 'committed').length} of ${stores.length} stores have it`,
  );
}

/** Faults of the source or of what was asked: no store is the reason, and the next capture has nothing to go on with. */
const SOURCE_FAULTS: ReadonlySet<string> = new Set([
  'HINT_INVALID',
  'SOURCE_UNREADABLE',
  'SOURCE_CHANGED',
  'VOLUME_SHRANK',
  'ARGUMENT_INVALID',
]);
/** For a store that is down a job that has failed does not wait; its claim ends with the next capture. */
const ABANDON_WITHIN_MS = 60_000;
const RELEASE_WITHIN_MS = 60_000;
/** Captures that were begun before there were policies do not ask for them. */
const REPLICATES = 'replicate-after-capture';

async function capture(input: CaptureInput, snapshot: SnapshotId, book: Book, orders: Orders): Promise<CaptureResult> {
  const plan = await short.planCapture(input, snapshot);
  const queue = hostQueue(plan.node);
  const detachAfterMs = input.detachAfterMs ?? DETACH_AFTER_MS;
  let opened: OpenedCapture | null = null;
  const claimed = new Map<StoreName, number>();
  let stable = true;
  let extentsRead = 0;
  let changedExtents = 0;

  const requireOpened = (): OpenedCapture => {
    if (opened === null) throw ApplicationFailure.nonRetryable('a capture went on before it was opened', 'INTERNAL');
    return opened;
  };

  const consistency = (): CaptureResult['consistency'] => (stable ? requireOpened().moment.consistency : 'fuzzy');

  const abandon = async (): Promise<void> => {
    const closing = [...claimed].map(async ([store, epoch]) => {
      try {
        await briefWithin(QUEUE, ABANDON_WITHIN_MS).abandonClaims(plan.repository, plan.lineage, [{ store, epoch }]);
      } catch (error) {
        if (isCancellation(error)) throw error;
        log.warn('a claim stays open until the next capture', { store, code: failureOf(error).code });
      }
    });
    await Promise.all(closing);
  };

  /** Its view holds up writers at last, its copy takes room: let go whatever became of the capture. */
  const release = async (): Promise<void> => {
    if (opened === null || opened.moment.kind === 'as it is') return;
    const { moment } = opened;
    await CancellationScope.nonCancellable(() => briefWithin(queue, RELEASE_WITHIN_MS).releaseMoment(plan, moment)).catch(
      (error: unknown) => log.warn('the moment is let go by the next capture', { code: failureOf(error).code }),
    );
  };

  const stores = await shipToAll(
    {
      ...{ volume: plan.volume, repository: plan.repository, snapshot, parallel: 1, detachAfterMs },
      async open(names) {
        const now = await brief(queue).openCapture({ ...plan, stores: names });
        if (opened !== null && now.stamp !== opened.stamp) stable = false;
        opened ??= now;
        for (const one of now.destinations) if (one.kind === 'open') claimed.set(one.store, one.epoch);
        return now;
      },
      async ship(subtree, claims) {
        const part = await bulk(queue).shipVolume(plan, requireOpened(), subtree, claims);
        stable &&= part.stable;
        extentsRead += part.extentsRead;
        changedExtents += Math.max(0, ...part.receipts.map(({ receipt }) => receipt.changedExtents));
        if (!stable && !plan.allowFuzzy)
          throw ApplicationFailure.nonRetryable(`${plan.path} changed while it was read`, 'SOURCE_CHANGED', { path: plan.path });
        return part;
      },
      probe: (store) => brief(queue).probeStore(store),
      shipment: (receipts, epoch) => ({
        ...{ lineage: plan.lineage, epoch, snapshot, sizeBytes: requireOpened().sizeBytes, extentBytes: plan.extentBytes },
        ...{ takenMs: requireOpened().takenMs, consistency: consistency(), label: plan.label, receipts },
      }),
      commit: (store, shipment) => briefWithin(queue, detachAfterMs).commitTo(store, plan.repository, shipment),
    },
    plan.stores,
    book,
    orders,
  ).catch(async (error: unknown) => {
    await release();
    if (SOURCE_FAULTS.has(failureOf(error).code)) await abandon();
    throw error;
  });
  await release();
  const root = committedRoot(stores);
  book.update({ phase: 'reclaiming what waited for this snapshot' });
  const reclaimed = await reclaimReleased(plan.repository, stores);
  if (patched(REPLICATES)) await replicateAfterCapture(plan.volume);
  return {
    volume: plan.volume,
    snapshot,
    root,
    sizeBytes: requireOpened().sizeBytes,
    consistency: consistency(),
    readBytes: book.status.readBytes,
    extentsRead,
    changedExtents,
    stores,
    reclaimed,
  };
}

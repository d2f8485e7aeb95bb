/** Copies a snapshot from one store to others, only what each lacks; subtrees in parallel on whatever workers there are (systems A and C). */
import { CancellationScope } from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type { SnapshotId, StoreName } from '../src/domain/ids.ts';
import type { CopyInput } from '../src/domain/job-inputs.ts';
import { QUEUE_DATA, type CopyResult } from '../src/domain/jobs.ts';
import type { OpenedCopy } from '../activities/shipping.ts';
import { openBook, runJob, type Book } from './book.ts';
import { takeOrders, type Orders } from './orders.ts';
import { brief, bulk, short } from './queues.ts';
import { committedRoot, PATIENT_MS, reclaimReleased, shipToAll, wakeDelete } from './shipping.ts';

export function copySnapshot(input: CopyInput): Promise<CopyResult> {
  const title = `Copy of ${input.snapshot} from ${input.from}`;
  const opened = openBook({ kind: 'copySnapshot', title, volume: input.volume, store: input.to.join(',') });
  const orders = takeOrders(opened);
  return runJob(
    opened,
    input,
    (book) => copy(input, book, orders),
    ({ snapshot, readBytes, stores }) =>
      `${snapshot}: fetched ${readBytes} bytes, ${stores.filter((one) => one.kind === 'committed').length} of ${stores.length} stores have it`,
  );
}

async function copy(input: CopyInput, book: Book, orders: Orders): Promise<CopyResult> {
  const plan = await short.planCopy(input);
  const state: { opened: OpenedCopy | null } = { opened: null };
  const requireOpened = (): OpenedCopy => {
    if (state.opened === null) throw ApplicationFailure.nonRetryable('a copy went on before it was opened', 'INTERNAL');
    return state.opened;
  };
  try {
    const stores = await shipToAll(
      {
        ...{
          volume: plan.volume,
          repository: plan.repository,
          snapshot: plan.snapshot,
          parallel: input.parallel ?? 2,
          detachAfterMs: PATIENT_MS,
        },
        async open(names: readonly StoreName[]) {
          const now = await brief(QUEUE_DATA).openCopy({ ...plan, to: names });
          state.opened ??= now;
          return now;
        },
        ship: (subtree, claims) => bulk(QUEUE_DATA).copyPart(plan, plan.snapshot, subtree, claims),
        probe: (store) => brief(QUEUE_DATA).probeStore(store),
        shipment(receipts, epoch) {
          const { lineage, id, sizeBytes, extentBytes, takenMs, consistency, label } = requireOpened().snapshot;
          return { lineage, epoch, snapshot: id as SnapshotId, sizeBytes, extentBytes, takenMs, consistency, label, receipts };
        },
        commit: (store, shipment) => brief(QUEUE_DATA).commitTo(store, plan.repository, shipment),
      },
      plan.to,
      book,
      orders,
    );
    const root = committedRoot(stores);
    await reclaimReleased(plan.repository, stores);
    return { volume: plan.volume, snapshot: plan.snapshot, root, readBytes: book.status.readBytes, stores };
  } finally {
    const { opened } = state;
    if (opened !== null)
      await CancellationScope.nonCancellable(async () => {
        const released = await short.closeCopy(plan, opened.pin);
        if (released !== null) await wakeDelete(plan.from, released);
      });
  }
}

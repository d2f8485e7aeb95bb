/**
 * What captures and copies share: subtrees go out to all destinations at once, a store in trouble pauses the whole job, all
 * well again resume it, a deadline detaches it, and each store commits by itself (system C).
 *
 *     COPYING ──a store falls below threshold 1──▶ PAUSED ──all above threshold 2 for a while──▶ COPYING ──▶ commit per store
 *                                                    └──deadline, or `detach`──▶ the store catches up in a job of its own
 *
 * Receipts are kept by store, so that a subtree that some stores have is shipped again for the others only. What a commit
 * answers to be missing is shipped again to that store alone, four commits a store at the most (domain/missing.ts).
 */
import { ApplicationFailure } from '@temporalio/common';
import { condition, getExternalWorkflowHandle, isCancellation, log, ParentClosePolicy, startChild } from '@temporalio/workflow';
import type { copySnapshot } from './copySnapshot.ts';
import type {
  CommitOutcome,
  OpenClaim,
  OpenedDestination,
  ProbeAnswer,
  Shipment,
  StoreParts,
  SubtreeReceipt,
} from '../activities/shipping.ts';
import { HEALTHY, mayResume, observe, type StoreHealth } from '../src/domain/health.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../src/domain/ids.ts';
import { shipAgain } from '../src/domain/missing.ts';
import { JOB_IDS, LOOK_AGAIN_SIGNAL, type StoreOutcome } from '../src/domain/jobs.ts';
import { failureOf, type Book } from './book.ts';
import type { Orders } from './orders.ts';
import { short } from './queues.ts';

/** A store that keeps a job paused for longer is detached, where the input does not say. */
export const DETACH_AFTER_MS = 10 * 60 * 1000;
const PROBE_EVERY_MS = 1000;
const PROBE_EVERY_MAX_MS = 15_000;
/** A store that fails again within this time of its recovery was not well: what it is given for detaching goes on. */
const RELAPSE_WITHIN_MS = 60_000;
/** Codes that waiting can mend. */
const TROUBLE: ReadonlySet<string> = new Set(['STORE_UNREACHABLE', 'STORE_FULL', 'CONTENTION', 'PARENT_MOVED']);

/** One subtree's outcome, as captures and copies give it. */
export interface Part extends StoreParts {
  readonly subtree: number;
  readonly readBytes: number;
}

export interface ShippingPort {
  readonly volume: VolumeName;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId;
  readonly parallel: number;
  readonly detachAfterMs: number;
  open(stores: readonly StoreName[]): Promise<{ readonly subtrees: number; readonly destinations: readonly OpenedDestination[] }>;
  ship(subtree: number, claims: readonly OpenClaim[]): Promise<Part>;
  probe(store: StoreName): Promise<ProbeAnswer>;
  shipment(receipts: readonly SubtreeReceipt[], epoch: number): Shipment;
  commit(store: StoreName, shipment: Shipment): Promise<CommitOutcome>;
}

interface Lane {
  readonly store: StoreName;
  readonly epoch: number;
  readonly base: SnapshotId | null;
  readonly receipts: Map<number, SubtreeReceipt>;
  bringAll: boolean;
}

export async function shipToAll(
  port: ShippingPort,
  stores: readonly StoreName[],
  book: Book,
  orders: Orders,
): Promise<readonly StoreOutcome[]> {
  const lanes = new Map<StoreName, Lane>();
  const outcomes = new Map<StoreName, StoreOutcome>();
  const detached = new Map<StoreName, string>();

  const isOut = (store: StoreName): boolean => detached.has(store) || outcomes.has(store);

  const detach = (store: StoreName, reason: string): void => {
    lanes.delete(store);
    detached.set(store, reason);
  };

  /** Since when a store has been falling ill again as soon as it was well, as a full one does that answers every probe; and how often. */
  const relapses = new Map<StoreName, { readonly sinceMs: number; readonly times: number; readonly recoveredMs: number }>();

  /** Waits until every store of the job is well, or those that are not have used up their time. */
  const recover = async (store: StoreName, reason: string): Promise<void> => {
    const before = relapses.get(store);
    const again = before !== undefined && Date.now() - before.recoveredMs < RELAPSE_WITHIN_MS ? before : null;
    const sinceMs = again?.sinceMs ?? Date.now();
    const times = again === null ? 0 : again.times + 1;
    if (again !== null && Date.now() - sinceMs >= port.detachAfterMs) return detach(store, reason);
    book.update({ state: 'paused', phase: 'waiting for its stores', paused: { store, reason } });
    let waitedMs = 0;
    let everyMs = PROBE_EVERY_MS;
    const involved = stores.filter((name) => !isOut(name));
    const health = new Map<StoreName, StoreHealth>(
      involved.map((name) => [name, name === store ? { ...HEALTHY, availability: 0 } : HEALTHY]),
    );
    for (;;) {
      const answers = await Promise.all(involved.filter((name) => !isOut(name)).map((name) => port.probe(name)));
      for (const answer of answers) health.set(answer.store, observe(health.get(answer.store) ?? HEALTHY, answer));
      const ill = involved.filter((name) => !isOut(name) && !mayResume(health.get(name) ?? HEALTHY));
      if (ill.length === 0) break;
      const failing = ill.filter((name) => (health.get(name)?.streak ?? 0) === 0);
      const doomed = failing.filter((name) => orders.leaving.has(name) || waitedMs >= port.detachAfterMs);
      for (const name of doomed) detach(name, answers.find((answer) => answer.store === name)?.failure?.message ?? reason);
      if (doomed.length > 0 && ill.length === doomed.length) break;
      if (doomed.length > 0) continue;
      const pauseMs = failing.length > 0 ? everyMs : Math.min(PROBE_EVERY_MAX_MS, (PROBE_EVERY_MS / 4) * 1.5 ** times);
      await condition(() => failing.some((name) => orders.leaving.has(name)), pauseMs);
      waitedMs += pauseMs;
      if (failing.length > 0) everyMs = Math.min(PROBE_EVERY_MAX_MS, everyMs * 1.5);
    }
    relapses.set(store, { sinceMs, times, recoveredMs: Date.now() });
    book.update({ state: 'running', phase: 'shipping', paused: null });
  };

  /** Claims the lineage in stores that have no lane yet. */
  const openAll = async (): Promise<number> => {
    for (let subtrees = 0; ;) {
      const missing = stores.filter((store) => !lanes.has(store) && !isOut(store));
      if (missing.length === 0) return subtrees;
      const opened = await port.open(missing);
      subtrees = Math.max(subtrees, opened.subtrees);
      const trouble = opened.destinations.find((one) => one.kind === 'failed' && TROUBLE.has(one.failure.code));
      for (const one of opened.destinations) {
        if (one.kind === 'open')
          lanes.set(one.store, { store: one.store, epoch: one.epoch, base: one.base, receipts: new Map(), bringAll: false });
        else if (one.kind === 'committed')
          outcomes.set(one.store, { store: one.store, kind: 'committed', root: one.root, base: null, sentBytes: 0, newExtents: 0 });
        else if (!TROUBLE.has(one.failure.code)) outcomes.set(one.store, { store: one.store, kind: 'failed', failure: one.failure });
      }
      if (trouble?.kind === 'failed') await recover(trouble.store, trouble.failure.message);
    }
  };

  /** Ships one subtree until each of these lanes that is still there has its receipt. */
  const shipSubtree = async (subtree: number, among: readonly Lane[]): Promise<void> => {
    for (;;) {
      await orders.toGoOn();
      const open = among.filter((lane) => lanes.has(lane.store) && !lane.receipts.has(subtree));
      if (open.length === 0) return;
      const part = await orders.untilPaused(() =>
        port.ship(
          subtree,
          open.map(({ store, epoch, bringAll }) => ({ store, epoch, bringAll })),
        ),
      );
      // What the stores have confirmed is adopted when it goes on.
      if (part === null) continue;
      for (const { store, receipt } of part.receipts) lanes.get(store)?.receipts.set(subtree, receipt);
      const sentBytes = part.receipts.reduce((sum, { receipt }) => sum + receipt.sentBytes, 0);
      book.update({ readBytes: book.status.readBytes + part.readBytes, sentBytes: book.status.sentBytes + sentBytes });
      for (const { store, failure } of part.failures) {
        if (TROUBLE.has(failure.code)) await recover(store, failure.message);
        else if (lanes.delete(store)) outcomes.set(store, { store, kind: 'failed', failure });
      }
      if (part.paused) await recover(part.paused.store, part.paused.reason);
    }
  };

  const shipAll = async (subtrees: readonly number[]): Promise<void> => {
    const queue = [...subtrees];
    const worker = async (): Promise<void> => {
      for (let subtree = queue.shift(); subtree !== undefined; subtree = queue.shift()) {
        await shipSubtree(subtree, [...lanes.values()]);
        book.update({ doneUnits: book.status.doneUnits + 1 });
      }
    };
    await Promise.all(Array.from({ length: Math.min(port.parallel, subtrees.length) }, worker));
  };

  const commitLane = async (lane: Lane): Promise<void> => {
    for (let answers = 1; ; answers++) {
      const receipts = [...lane.receipts.values()].filter((receipt) => receipt.part !== null);
      let outcome: CommitOutcome;
      try {
        outcome = await port.commit(lane.store, port.shipment(receipts, lane.epoch));
      } catch (error) {
        if (isCancellation(error)) throw error;
        const failure = failureOf(error);
        if (TROUBLE.has(failure.code)) return detach(lane.store, failure.message);
        return void outcomes.set(lane.store, { store: lane.store, kind: 'failed', failure });
      }
      if (outcome.kind === 'committed') {
        const all = [...lane.receipts.values()];
        const sentBytes = outcome.sentBytes + all.reduce((sum, receipt) => sum + receipt.sentBytes, 0);
        const newExtents = all.reduce((sum, receipt) => sum + receipt.newExtents, 0);
        return void outcomes.set(lane.store, {
          store: lane.store,
          kind: 'committed',
          root: outcome.root,
          base: lane.base,
          sentBytes,
          newExtents,
        });
      }
      const again = shipAgain(outcome, answers);
      if (again === null) {
        const message = `${outcome.values} values are missing to a shipment that should have brought all it needs`;
        return void outcomes.set(lane.store, { store: lane.store, kind: 'failed', failure: { code: 'MISSING_EXTENTS', message } });
      }
      lane.bringAll = again.bringAll;
      for (const subtree of again.subtrees) lane.receipts.delete(subtree);
      // To this store alone: a receipt that another lane's call brings late must not take the place of one that relies on less.
      for (const subtree of again.subtrees) await shipSubtree(subtree, [lane]);
      if (!lanes.has(lane.store)) return;
    }
  };

  await orders.toGoOn();
  for (const store of stores) if (orders.leaving.has(store)) detach(store, 'left behind by its operator');
  book.update({ phase: 'claiming', snapshot: port.snapshot });
  const subtrees = await openAll();
  await orders.toGoOn();
  book.update({ phase: 'shipping', totalUnits: subtrees });
  await shipAll(Array.from({ length: subtrees }, (_, i) => i));
  book.update({ phase: 'committing' });
  await Promise.all([...lanes.values()].map(commitLane));
  for (const [store, reason] of detached) outcomes.set(store, await catchUp(port, stores, outcomes, store, reason));
  return stores.flatMap((store) => outcomes.get(store) ?? []);
}

/** Starts the job in which a detached store catches up, from a store that has the snapshot. */
async function catchUp(
  port: ShippingPort,
  stores: readonly StoreName[],
  outcomes: ReadonlyMap<StoreName, StoreOutcome>,
  store: StoreName,
  reason: string,
): Promise<StoreOutcome> {
  const from = stores.find((name) => outcomes.get(name)?.kind === 'committed');
  if (from === undefined) return { store, kind: 'failed', failure: { code: 'STORE_UNREACHABLE', message: reason } };
  const input = { volume: port.volume, snapshot: port.snapshot, from, to: [store] };
  const job = JOB_IDS.copySnapshot(input);
  await startChild<typeof copySnapshot>('copySnapshot', { workflowId: job, args: [input], parentClosePolicy: ParentClosePolicy.ABANDON });
  return { store, kind: 'detached', job, reason };
}

/** Patience of a job that has nothing else to do than to wait: a century. */
export const PATIENT_MS = 100 * 365 * 24 * 3600 * 1000;

/** The root that the stores of a finished job hold; the job's failure when none of them has committed. */
export function committedRoot(stores: readonly StoreOutcome[]): string | null {
  for (const one of stores) if (one.kind === 'committed') return one.root;
  const failed = stores.find((one) => one.kind === 'failed');
  const failure = failed?.kind === 'failed' ? failed.failure : { code: 'STORE_UNREACHABLE', message: 'no store has taken the snapshot' };
  throw ApplicationFailure.nonRetryable(failure.message, failure.code);
}

/** After commits: reclaims what waited for them, and wakes the deletes that wait for that. */
export async function reclaimReleased(repository: RepositoryName, stores: readonly StoreOutcome[]): Promise<readonly SnapshotId[]> {
  const reclaimed = new Set<SnapshotId>();
  for (const one of stores) {
    if (one.kind !== 'committed') continue;
    const result = await short.reclaimDue(one.store, repository);
    for (const snapshot of result.reclaimed) {
      reclaimed.add(snapshot);
      await wakeDelete(one.store, snapshot);
    }
  }
  return [...reclaimed];
}

/** Tells a delete that waits to look again; one that does not run is as well. */
export async function wakeDelete(store: StoreName, snapshot: SnapshotId): Promise<void> {
  try {
    await getExternalWorkflowHandle(`delete.${store}.${snapshot}`).signal(LOOK_AGAIN_SIGNAL);
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.debug('no delete waits for this snapshot', { store, snapshot });
  }
}

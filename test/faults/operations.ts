/**
 * The operations of a run, through the functions of the systems and without Temporal: what the workflows do in the order that
 * they do it, in one process that may end anywhere.
 *
 * Each takes (owner, attempt) as an activity has them, so that a repeated operation is to the log what a retried activity is.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { captureInput, copyInput, parseInput } from '../../src/domain/job-inputs.ts';
import { HoldfastError, isHoldfastError } from '../../src/domain/errors.ts';
import { volumeName, type RepositoryName, type SnapshotId, type StoreName } from '../../src/domain/ids.ts';
import { shipAgain } from '../../src/domain/missing.ts';
import { repositoryPrefix, type Home } from '../../src/engine/catalog/home.ts';
import { mirrorCatalog } from '../../src/engine/catalog/mirror.ts';
import { writeCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import type { Shipment } from '../../src/engine/repository/commit.ts';
import { changePassphrase, openRepositoryFormat, type UnlockedRepository } from '../../src/engine/repository/format.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import type { SubtreeReceipt } from '../../src/engine/transfer/contract.ts';
import type { ObjectStore } from '../../src/ground/stores/object-store.ts';
import { within } from '../../src/ground/stores/within.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { collectGarbage, hide, inspect, reclaimDue, undelete } from '../../src/systems/lifecycle/deletion.ts';
import { openCapture, shipVolume, type Attempt } from '../../src/systems/shipping/capture.ts';
import { BARE_HOST } from '../systems/capture-volume.ts';
import { closeCopy, copyPart, openCopy } from '../../src/systems/shipping/copy.ts';
import { commitTo, type OpenClaim } from '../../src/systems/shipping/destinations.ts';
import { planCapture, planCopy, type OpenedDestination } from '../../src/systems/shipping/plan.ts';
import { restoreSnapshot } from '../systems/restore-snapshot.ts';
import type { Operation } from './script.ts';

export const VOLUME = volumeName('vol');
export const REPOSITORY = 'vol' as RepositoryName;

export interface OperationContext {
  readonly home: Home;
  readonly threads: Threads;
  readonly by: Attempt;
  /** Where a restore of this task goes. */
  readonly target: string;
  /** The file that holds a store's passphrase, and what it shall hold. */
  readonly secretOf: (store: StoreName) => string;
}

/** By store: what became of the snapshot there; null for operations that are not about one. */
export type Outcome = Readonly<Record<string, 'committed' | 'hidden' | 'visible' | 'gone' | 'restored'>> | null;

export async function perform(operation: Operation, context: OperationContext): Promise<Outcome> {
  const { home, by } = context;
  switch (operation.kind) {
    case 'capture':
      return capture(operation, context);
    case 'copy':
      return copy(operation, context);
    case 'hide':
    case 'delete':
    case 'purge':
      return remove(operation.kind, operation.snapshot, operation.store, context);
    case 'undelete':
      return show(operation.snapshot, operation.store, context);
    case 'restore':
      return restore(operation.snapshot, operation.store, context);
    case 'passphrase':
      await renewPassphrase(operation.store, context);
      return null;
    case 'reclaim':
      await reclaimDue(await home.repository(operation.store, REPOSITORY, true), by.owner);
      return null;
    case 'collect':
      await collectGarbage(await home.repository(operation.store, REPOSITORY, true), by.owner);
      return null;
    case 'checkpoint': {
      const repository = await home.repository(operation.store, REPOSITORY, true);
      // Sooner than it is due, and with the sweep that it allows.
      await writeCheckpoint(repository);
      await collectGarbage(repository, by.owner);
      return null;
    }
  }
}

const fail = (of: { readonly failure: { readonly code: HoldfastError['code']; readonly message: string } }): never => {
  throw new HoldfastError(of.failure.code, of.failure.message);
};

interface Shipping {
  readonly stores: readonly OpenedDestination[];
  readonly subtrees: number;
  readonly ship: (
    subtree: number,
    claims: readonly OpenClaim[],
  ) => Promise<readonly { readonly store: StoreName; readonly receipt: SubtreeReceipt }[]>;
  readonly shipment: (receipts: readonly SubtreeReceipt[], epoch: number) => Shipment;
}

/** All subtrees to all claims, then a commit per store, shipping again what is missing there. */
async function shipToAll({ home, by }: OperationContext, { stores, subtrees, ship, shipment }: Shipping): Promise<Outcome> {
  const claims = stores.flatMap((one) => (one.kind === 'open' ? [{ ...one, bringAll: false }] : one.kind === 'failed' ? [fail(one)] : []));
  const receipts = new Map<StoreName, Map<number, SubtreeReceipt>>(claims.map(({ store }) => [store, new Map()]));
  const send = async (subtree: number, to: readonly OpenClaim[]): Promise<void> => {
    for (const { store, receipt } of await ship(subtree, to)) receipts.get(store)?.set(subtree, receipt);
  };
  for (let subtree = 0; subtree < subtrees && claims.length > 0; subtree++) await send(subtree, claims);
  for (const claim of claims) {
    for (let answers = 1; ; answers++) {
      const of = [...(receipts.get(claim.store)?.values() ?? [])].filter((receipt) => receipt.part !== null);
      const outcome = await commitTo(home, claim.store, REPOSITORY, shipment(of, claim.epoch));
      if (outcome.kind === 'committed') break;
      const again = shipAgain(outcome, answers);
      if (again === null) throw new HoldfastError('MISSING_EXTENTS', 'missing does not end');
      for (const subtree of again.subtrees) await send(subtree, [{ ...claim, bringAll: again.bringAll }]);
    }
    const repository = await home.repository(claim.store, REPOSITORY);
    await mirrorCatalog(home, repository);
    await reclaimDue(repository, by.owner);
  }
  return Object.fromEntries(stores.map(({ store }) => [store, 'committed']));
}

async function capture({ snapshot, stores }: Extract<Operation, { kind: 'capture' }>, context: OperationContext): Promise<Outcome> {
  const { home, threads, by } = context;
  const input = parseInput(captureInput, 'captureSnapshot', { volume: VOLUME, stores: [...stores], snapshot });
  const plan = planCapture(await home.catalog.sync(), input, snapshot);
  const opened = await openCapture(home, BARE_HOST, plan, by);
  return shipToAll(context, {
    stores: opened.destinations,
    subtrees: opened.subtrees,
    async ship(subtree, claims) {
      const part = await shipVolume(home, plan, opened, subtree, claims, { threads });
      for (const one of part.failures) fail(one);
      if (part.paused) throw new HoldfastError('STORE_UNREACHABLE', `paused by ${part.paused.store}: ${part.paused.reason}`);
      if (!part.stable) throw new HoldfastError('INTERNAL', 'the image changed though nobody writes');
      return part.receipts;
    },
    shipment: (receipts, epoch) => ({
      ...{ lineage: plan.lineage, epoch, snapshot, sizeBytes: opened.sizeBytes, extentBytes: plan.extentBytes },
      ...{ takenMs: opened.takenMs, consistency: 'crash', label: null, receipts },
    }),
  });
}

async function copy({ snapshot, from, to }: Extract<Operation, { kind: 'copy' }>, context: OperationContext): Promise<Outcome> {
  const { home, threads, by } = context;
  const input = parseInput(copyInput, 'copySnapshot', { volume: VOLUME, snapshot, from, to: [...to] });
  const plan = planCopy(await home.catalog.sync(), input);
  const gone = Object.fromEntries(to.map((store) => [store, 'gone'] as const));
  const opened = await openCopy(home, plan, by).catch((error: unknown) => {
    if (isHoldfastError(error, 'SNAPSHOT_NOT_FOUND', 'SNAPSHOT_GONE')) return null;
    throw error;
  });
  if (opened === null) return gone;
  const { lineage, sizeBytes, extentBytes, takenMs, consistency, label } = opened.snapshot;
  const outcome = await shipToAll(context, {
    stores: opened.destinations,
    subtrees: opened.subtrees,
    async ship(subtree, claims) {
      const part = await copyPart(home, plan, snapshot, subtree, claims, { pin: opened.pin, threads });
      for (const one of part.failures) fail(one);
      if (part.paused) throw new HoldfastError('STORE_UNREACHABLE', `paused by ${part.paused.store}: ${part.paused.reason}`);
      return part.receipts;
    },
    shipment: (receipts, epoch) => ({ lineage, epoch, snapshot, sizeBytes, extentBytes, takenMs, consistency, label, receipts }),
  });
  await closeCopy(home, plan, opened.pin);
  return outcome;
}

/** What is there of a snapshot; null when it was reclaimed, or never came here because its source was gone before the copy. */
async function look(repository: Repository, snapshot: SnapshotId) {
  try {
    const inspection = await inspect(repository, snapshot);
    return inspection.kind === 'gone' ? null : inspection;
  } catch (error) {
    if (isHoldfastError(error, 'SNAPSHOT_NOT_FOUND')) return null;
    throw error;
  }
}

async function remove(
  kind: 'hide' | 'delete' | 'purge',
  snapshot: SnapshotId,
  store: StoreName,
  { home, by }: OperationContext,
): Promise<Outcome> {
  const repository = await home.repository(store, REPOSITORY, true);
  const inspection = await look(repository, snapshot);
  if (inspection === null) return { [store]: 'gone' };
  await hide(repository, inspection.seen, kind === 'purge');
  if (kind !== 'hide') await reclaimDue(repository, by.owner);
  return { [store]: 'hidden' };
}

async function show(snapshot: SnapshotId, store: StoreName, { home }: OperationContext): Promise<Outcome> {
  const repository = await home.repository(store, REPOSITORY, true);
  const inspection = await look(repository, snapshot);
  if (inspection === null) return { [store]: 'gone' };
  if (!inspection.hidden) return { [store]: 'visible' };
  try {
    await undelete(repository, inspection.seen);
    return { [store]: 'visible' };
  } catch (error) {
    if (isHoldfastError(error, 'SNAPSHOT_NOT_FOUND')) return { [store]: 'gone' };
    throw error;
  }
}

async function restore(snapshot: SnapshotId, store: StoreName, { home, threads, by, target }: OperationContext): Promise<Outcome> {
  const repository = await home.repository(store, REPOSITORY, true);
  const { owner, attempt } = by;
  try {
    await restoreSnapshot(repository, threads, { volume: VOLUME, snapshot, target, mode: 'overwrite', owner, again: attempt > 1 });
    return { [store]: 'restored' };
  } catch (error) {
    if (isHoldfastError(error, 'SNAPSHOT_NOT_FOUND', 'SNAPSHOT_GONE')) return { [store]: 'gone' };
    throw error;
  }
}

/** The first of these passphrases that opens it; the last one is for a doubled change that has just gone through. Null: nothing there. */
async function unlockWith(inside: ObjectStore, passphrases: readonly string[]): Promise<UnlockedRepository | null> {
  for (const [i, passphrase] of passphrases.entries()) {
    try {
      return await openRepositoryFormat(inside, passphrase);
    } catch (error) {
      if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) return null;
      if (!isHoldfastError(error, 'PASSPHRASE_WRONG') || i === passphrases.length - 1) throw error;
    }
  }
  return null;
}

/** Killed anywhere, the passphrase is the old one or the new one; made again, it is the new one and no other slot is left. */
async function renewPassphrase(store: StoreName, { home, by, secretOf }: OperationContext): Promise<void> {
  const inside = within(await home.store(store), repositoryPrefix(REPOSITORY));
  const file = secretOf(store);
  const before = (await readFile(file, 'utf8')).trim();
  const after = `passphrase of ${by.owner}`;
  const unlocked = await unlockWith(inside, [after, before, after]);
  if (unlocked === null) return;
  const cheap = { random: (size: number) => home.environment.random(size), scryptN: 2 };
  await changePassphrase(inside, unlocked, after, cheap);
  await writeFile(`${file}.new`, after);
  await rename(`${file}.new`, file);
}

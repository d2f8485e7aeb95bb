/**
 * Destinations of a job: claimed, opened and committed store by store, so that one store's trouble is its own.
 */
import type { Failure } from '../../domain/jobs.ts';
import { isHoldfastError, type HoldfastError, messageOf } from '../../domain/errors.ts';
import type { Lineage, RepositoryName, SnapshotId, StoreName } from '../../domain/ids.ts';
import { codecOf } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { abortClaim, claimLineage } from '../../engine/repository/claims.ts';
import { commitShipment, type CommitOutcome, type Shipment } from '../../engine/repository/commit.ts';
import { openDestination } from '../../engine/repository/destination.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import type { Destination, SubtreeReceipt } from '../../engine/transfer/contract.ts';
import type { ShipOutcome } from '../../engine/transfer/sending.ts';
import { StorePaused } from './gate.ts';
import type { OpenedDestination } from './plan.ts';

export const failureOf = (error: unknown): Failure =>
  isHoldfastError(error) ? { code: error.code, message: error.message } : { code: 'INTERNAL', message: messageOf(error) };

export interface DestinationRequest {
  readonly lineage: Lineage;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId;
  readonly owner: string;
  readonly attempt: number;
  /** Refuses a base that the job must not build on; throws. */
  readonly check?: (base: Snapshot | null, repository: Repository) => void;
}

/**
 * Claims a lineage in each store. What cannot be claimed is an answer, not an error of the others; a fault of the whole job
 * closes what was claimed in the others before it is thrown.
 */
export async function claimStores(home: Home, stores: readonly StoreName[], request: DestinationRequest): Promise<OpenedDestination[]> {
  const settled = await Promise.allSettled(
    stores.map(async (store): Promise<OpenedDestination> => {
      try {
        const repository = await home.repository(store, request.repository, true);
        const newest = repository.ledger().order.get(request.lineage)?.at(-1);
        if (!repository.ledger().used.has(request.snapshot))
          request.check?.(newest === undefined ? null : (repository.ledger().snapshots.get(newest) ?? null), repository);
        const outcome = await claimLineage(repository, request);
        if (outcome.kind === 'committed') return { kind: 'committed', store, root: outcome.root };
        return { kind: 'open', store, epoch: outcome.claim.epoch, base: outcome.base?.id ?? null };
      } catch (error) {
        if (!isHoldfastError(error) || isJobFault(error)) throw error;
        return { kind: 'failed', store, failure: failureOf(error) };
      }
    }),
  );
  const claimed = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  for (const one of settled) {
    if (one.status === 'fulfilled') continue;
    const open = claimed.flatMap((done) => (done.kind === 'open' ? [done] : []));
    // One that cannot be closed now ends with the next claim.
    await Promise.allSettled(open.map((claim) => abandonClaims(home, request.repository, request.lineage, [claim])));
    throw one.reason;
  }
  return claimed;
}

/** Faults that no other store can make up for: the job ends. */
const isJobFault = (error: HoldfastError): boolean =>
  ['VOLUME_SHRANK', 'ARGUMENT_INVALID', 'VOLUME_RETIRED', 'INTERNAL'].includes(error.code);

/** What a subtree has come to, store by store. */
export interface StoreParts {
  readonly receipts: readonly { readonly store: StoreName; readonly receipt: SubtreeReceipt }[];
  readonly failures: readonly StoreFailure[];
  /** Set when a store fell below its first threshold: nothing of this subtree counts yet. */
  readonly paused: { readonly store: StoreName; readonly reason: string } | null;
}

export interface StoreFailure {
  readonly store: StoreName;
  readonly failure: Failure;
}

/** Runs a transfer and sorts its outcomes by store; a store that pauses the job is an answer. `failures`: of stores that could not even be opened. */
export async function shipped<Result extends { readonly outcomes: ReadonlyMap<string, ShipOutcome> }>(
  failures: readonly StoreFailure[],
  transfer: () => Promise<Result>,
): Promise<{ readonly parts: StoreParts; readonly result: Result | null }> {
  try {
    const result = await transfer();
    const outcomes = [...result.outcomes].map(([store, outcome]) => ({ store: store as StoreName, outcome }));
    const receipts = outcomes.flatMap(({ store, outcome }) => (outcome.ok ? [{ store, receipt: outcome.receipt }] : []));
    const failed = outcomes.flatMap(({ store, outcome }) => (outcome.ok ? [] : [{ store, failure: failureOf(outcome.error) }]));
    return { parts: { receipts, failures: [...failures, ...failed], paused: null }, result };
  } catch (error) {
    if (!(error instanceof StorePaused)) throw error;
    return { parts: { receipts: [], failures, paused: { store: error.store as StoreName, reason: error.reason } }, result: null };
  }
}

/** A claim as it is closed. */
export type HeldClaim = Pick<OpenClaim, 'store' | 'epoch'>;

export interface OpenClaim {
  readonly store: StoreName;
  readonly epoch: number;
  /** The last answer to *missing*: what is shipped relies on the claim's base alone; see domain/missing.ts. */
  readonly bringAll: boolean;
}

/** Opens the pipeline's ends for claims that are open; a store that has lost its claim answers with its failure. */
export async function openDestinations(
  home: Home,
  of: { readonly repository: RepositoryName; readonly lineage: Lineage },
  claims: readonly OpenClaim[],
): Promise<{ readonly destinations: Destination[]; readonly failures: readonly StoreFailure[] }> {
  const state = await home.catalog.sync();
  const destinations: Destination[] = [];
  const failures: StoreFailure[] = [];
  for (const { store, epoch, bringAll } of claims) {
    try {
      const repository = await home.repository(store, of.repository);
      destinations.push(openDestination({ store, repository, lineage: of.lineage, epoch, codec: codecOf(state, store), bringAll }));
    } catch (error) {
      failures.push({ store, failure: failureOf(error) });
    }
  }
  return { destinations, failures };
}

export async function commitTo(home: Home, store: StoreName, repository: RepositoryName, shipment: Shipment): Promise<CommitOutcome> {
  return commitShipment(await home.repository(store, repository), shipment);
}

/** Ends claims that will not be committed, so that what they brought can be swept. */
export async function abandonClaims(home: Home, repository: RepositoryName, lineage: Lineage, claims: readonly HeldClaim[]): Promise<void> {
  for (const { store, epoch } of claims) await abortClaim(await home.repository(store, repository), lineage, epoch);
}

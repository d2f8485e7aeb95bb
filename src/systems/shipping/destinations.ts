/**
 * Destinations of a job: claimed, opened and committed store by store, so that one store's trouble is its own.
 */
import type { Failure } from '../../domain/jobs.ts';
import { isHoldfastError, type HoldfastError } from '../../domain/errors.ts';
import type { Lineage, RepositoryName, SnapshotId, StoreName } from '../../domain/ids.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { abortClaim, claimLineage } from '../../engine/repository/claims.ts';
import { commitShipment, type CommitOutcome, type Shipment } from '../../engine/repository/commit.ts';
import { openDestination } from '../../engine/repository/destination.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import type { Destination } from '../../engine/transfer/contract.ts';
import { codecOf, type OpenedDestination } from './plan.ts';

export const failureOf = (error: unknown): Failure =>
  isHoldfastError(error)
    ? { code: error.code, message: error.message }
    : { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };

export interface DestinationRequest {
  readonly lineage: Lineage;
  readonly repository: RepositoryName;
  readonly snapshot: SnapshotId;
  readonly owner: string;
  readonly attempt: number;
  /** Refuses a base that the job must not build on; throws. */
  readonly check?: (base: Snapshot | null, repository: Repository) => void;
}

/** Claims a lineage in each store. What cannot be claimed is an answer, not an error of the others. */
export const claimStores = (home: Home, stores: readonly StoreName[], request: DestinationRequest): Promise<OpenedDestination[]> =>
  Promise.all(
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

/** Faults that no other store can make up for: the job ends. */
const isJobFault = (error: HoldfastError): boolean =>
  ['VOLUME_SHRANK', 'ARGUMENT_INVALID', 'VOLUME_RETIRED', 'INTERNAL'].includes(error.code);

export interface OpenClaim {
  readonly store: StoreName;
  readonly epoch: number;
}

/** Opens the pipeline's ends for claims that are open; a store that has lost its claim answers with its failure. */
export async function openDestinations(
  home: Home,
  of: { readonly repository: RepositoryName; readonly lineage: Lineage },
  claims: readonly OpenClaim[],
): Promise<{ readonly destinations: Destination[]; readonly failures: { readonly store: StoreName; readonly failure: Failure }[] }> {
  const state = await home.catalog.sync();
  const destinations: Destination[] = [];
  const failures: { store: StoreName; failure: Failure }[] = [];
  for (const { store, epoch } of claims) {
    try {
      const repository = await home.repository(store, of.repository);
      destinations.push(openDestination({ store, repository, lineage: of.lineage, epoch, codec: codecOf(state, store) }));
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
export async function abandonClaims(home: Home, repository: RepositoryName, lineage: Lineage, claims: readonly OpenClaim[]): Promise<void> {
  for (const { store, epoch } of claims) await abortClaim(await home.repository(store, repository), lineage, epoch);
}

/**
 * Claims: how an attempt begins and ends.
 *
 * Nothing is written under a prefix before the CLAIM whose number it is; nothing commits once its claim is closed. That one
 * rule fences every process that was left behind, without a clock and without a lock.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import { COLLECTOR, type Actor } from './entries.ts';
import type { Claim, Snapshot } from './ledger.ts';
import type { Repository } from './repository.ts';

export interface ClaimRequest {
  readonly lineage: Lineage;
  readonly snapshot: SnapshotId;
  /** Who claims: the workflow's run. A woken older attempt of the same run is refused. */
  readonly owner: string;
  readonly attempt: number;
}

export type ClaimOutcome =
  | { readonly kind: 'claimed'; readonly claim: Claim; readonly base: Snapshot | null }
  /** The snapshot was committed by an earlier attempt that was not told. */
  | { readonly kind: 'committed'; readonly root: string | null };

/** Opens a claim on a lineage, adopting what earlier attempts have put. */
export async function claimLineage(repository: Repository, request: ClaimRequest): Promise<ClaimOutcome> {
  const epoch = await repository.append((ledger) => {
    if (ledger.used.has(request.snapshot)) return null;
    const open = ledger.claims.get(request.lineage);
    // The same attempt again: its answer was lost, or the activity that made it was.
    if (open && open.snapshot === request.snapshot && open.owner === request.owner && open.attempt === request.attempt) return null;
    return {
      kind: 'CLAIM',
      actor: request.lineage,
      snapshot: request.snapshot,
      owner: request.owner,
      attempt: request.attempt,
      adopt: true,
    };
  });
  const ledger = repository.ledger();
  const root = ledger.used.get(request.snapshot);
  if (root !== undefined) return { kind: 'committed', root };
  const claim = ledger.claims.get(request.lineage);
  if (!claim || claim.snapshot !== request.snapshot || (epoch !== null && claim.epoch !== epoch))
    throw new HoldfastError('CLAIM_LOST', 'another attempt has claimed the lineage at once', { lineage: request.lineage });
  return { kind: 'claimed', claim, base: claim.base === null ? null : (ledger.snapshots.get(claim.base) ?? null) };
}

/** The open claim of this epoch; CLAIM_LOST when it is closed or taken over. */
export function claimAt(repository: Repository, actor: Actor, epoch: number): Claim {
  const claim = repository.ledger().claims.get(actor);
  if (claim?.epoch !== epoch) throw new HoldfastError('CLAIM_LOST', 'the claim is not open any more', { actor, epoch });
  return claim;
}

/** Closes a claim for good. Nothing to do when it is closed already. */
export async function abortClaim(repository: Repository, actor: Actor, epoch: number): Promise<void> {
  await repository.append((ledger) => (ledger.claims.get(actor)?.epoch === epoch ? { kind: 'ABORT', actor, epoch } : null));
}

/** Takes over collection; a collector that is still at it is fenced. */
export async function claimCollection(repository: Repository, owner: string): Promise<number> {
  const epoch = await repository.append((ledger) => {
    const open = ledger.claims.get(COLLECTOR);
    return { kind: 'CLAIM', actor: COLLECTOR, snapshot: null, owner, attempt: open?.owner === owner ? open.attempt + 1 : 1, adopt: false };
  });
  if (epoch === null) throw new HoldfastError('INTERNAL', 'a collector was not given an epoch');
  return epoch;
}

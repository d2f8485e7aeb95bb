/**
 * An OPEN on the log: judged on the state that its CLAIM is judged on, so a late copy never undoes a claim that its sender had
 * not seen (N7).
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { Lineage } from '../../../domain/ids.ts';
import type { Entry } from '../../repository/entries.ts';
import type { Claim, Ledger } from '../../repository/ledger.ts';
import type { Repository } from '../../repository/repository.ts';
import type { OpenFrame } from '../frames.ts';
import { judgeOpen } from '../receiver.ts';

export type Claiming =
  | { readonly kind: 'claimed'; readonly claim: Claim; readonly isNew: boolean }
  | { readonly kind: 'taken'; readonly claim: Claim }
  | { readonly kind: 'lost' }
  | { readonly kind: 'committed'; readonly root: string | null };

/** `beforeClaim` may refuse what would be a new claim. */
export async function claimFor(repository: Repository, lineage: Lineage, open: OpenFrame, beforeClaim: () => unknown): Promise<Claiming> {
  // As wide as what the plan sets it to, which the compiler does not follow.
  let judged = 'claim' as ReturnType<typeof judgeOpen>;
  const epoch = await repository.append((ledger): Entry | null => {
    if (ledger.used.has(open.snapshot)) return null;
    refuseBase(ledger, lineage, open);
    const claim = ledger.claims.get(lineage);
    // An owner is one session's: of another snapshot it is another one.
    const owner = claim?.snapshot === open.snapshot ? claim.owner : `${claim?.owner} of another snapshot`;
    judged = judgeOpen(claim === undefined ? null : { epoch: claim.epoch, owner, attempt: claim.attempt }, { ...open, kind: 'OPEN' });
    if (judged !== 'claim') return null;
    beforeClaim();
    return { kind: 'CLAIM', actor: lineage, snapshot: open.snapshot, owner: open.owner, attempt: open.attempt, adopt: true };
  });
  const ledger = repository.ledger();
  const root = ledger.used.get(open.snapshot);
  if (root !== undefined) {
    const there = ledger.snapshots.get(open.snapshot);
    if (there !== undefined && there.lineage !== lineage)
      throw new HoldfastError('RECEIVER_DENIED', 'the snapshot is none of this lineage', { snapshot: open.snapshot });
    return { kind: 'committed', root };
  }
  const claim = ledger.claims.get(lineage);
  // Closed again at once, or taken over: the sender asks once more.
  if (claim === undefined || (epoch !== null && claim.epoch !== epoch) || judged === 'older') return { kind: 'lost' };
  if (judged === 'taken') return { kind: 'taken', claim };
  return { kind: 'claimed', claim, isNew: epoch !== null };
}

/** A volume whose extents are of another size is another lineage. */
function refuseBase(ledger: Ledger, lineage: Lineage, { extentBytes }: OpenFrame): void {
  const newest = ledger.order.get(lineage)?.at(-1);
  const base = newest === undefined ? undefined : ledger.snapshots.get(newest);
  if (base !== undefined && base.extentBytes !== extentBytes)
    throw new HoldfastError('ARGUMENT_INVALID', 'the lineage was begun with another extent size', {
      field: 'extentBytes',
      expected: String(base.extentBytes),
    });
}

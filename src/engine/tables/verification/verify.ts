/**
 * Whether a table's past can be relied on: the packs that its log names (packs.ts), and one past state folded twice, from the newest bases and
 * from as far back as there is anything. The two share no partition snapshot, so the same rows and the same hash say that the snapshots
 * between them are what the events make (docs/tables.md, T2).
 */
import type { TableArchive } from '../archive/archive.ts';
import type { Duck } from '../archive/duck.ts';
import { buildPastState, type PastOutcome, type PastProof } from '../past-state/past-state.ts';
import { parsePosition } from '../events/position.ts';
import type { Target } from '../past-state/plan.ts';
import type { TransactionTarget } from '../past-state/targets.ts';

export interface FoldedTwice {
  readonly kind: 'folded';
  readonly same: boolean;
  /** There is another way: some partition was folded from another base. */
  readonly independent: boolean;
  readonly proof: PastProof;
  readonly other: PastProof;
}

export async function foldTwice(
  archive: TableArchive,
  duck: Duck,
  target: Target | TransactionTarget,
): Promise<FoldedTwice | Exclude<PastOutcome, { kind: 'built' }>> {
  const first = await buildPastState(archive, duck, target);
  if (first.kind !== 'built') return first;
  const { proof } = first;
  // By the same cut: what is asked for may lie elsewhere once more has been archived.
  const again: Target | TransactionTarget = proof.cut === null ? target : { kind: 'cut', cut: parsePosition(proof.cut) };
  const second = await buildPastState(archive, duck, again, { oldestBases: true });
  if (second.kind !== 'built') return second;
  const other = second.proof;
  const independent = proof.partitions.some(({ base }, i) => base !== other.partitions[i]?.base);
  const same = proof.hash === other.hash && proof.rows === other.rows && proof.cut === other.cut;
  return { kind: 'folded', same, independent, proof, other };
}

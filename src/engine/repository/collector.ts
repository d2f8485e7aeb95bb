/**
 * The collector: reclaims what may go, rewrites thin packs, and sweeps. A second one fences the first; either may die at
 * any step, for each step stands alone in the log.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { GROUP_TOP } from '../../domain/limits.ts';
import { reclaimObstacle } from '../../domain/lifecycle.ts';
import { checkpointDue, newestCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { abortClaim, claimCollection } from './claims.ts';
import { tryNames } from './destination.ts';
import { COLLECTOR } from './entries.ts';
import { factsOf, type Ledger } from './ledger.ts';
import { changeName } from './object-names.ts';
import { reclaimSnapshot } from './reclaim.ts';
import type { Repository } from './repository.ts';
import { rewriteThinPacks } from './rewrite.ts';
import { sweep, sweepEmptied } from './sweep.ts';

export interface CollectOptions {
  readonly owner: string;
  /** List the whole repository for what crashes have left, and write a checkpoint when one is due. */
  readonly full: boolean;
  readonly rewrite?: boolean;
}

export interface CollectResult {
  readonly reclaimed: readonly SnapshotId[];
  readonly packsRewritten: number;
  readonly objectsDeleted: number;
  /** Stored bytes of packs in use before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly checkpoint: number | null;
}

/** Snapshots that nothing stands against reclaiming, in log order. */
export const dueSnapshots = (ledger: Ledger): SnapshotId[] =>
  [...ledger.snapshots.values()].filter((snapshot) => reclaimObstacle(factsOf(ledger, snapshot)) === null).map((snapshot) => snapshot.id);

export async function collect(repository: Repository, options: CollectOptions): Promise<CollectResult> {
  await repository.sync();
  const bytesBefore = repository.table.packBytes();
  const reclaimed: SnapshotId[] = [];
  let packsRewritten = 0;
  await abortAttemptsOnPurged(repository);
  if (dueSnapshots(repository.ledger()).length > 0 || options.full) {
    const epoch = await claimCollection(repository, options.owner);
    const names = tryNames(epoch, repository.environment.random(4).readUInt32BE(0));
    for (const id of dueSnapshots(repository.ledger()))
      if (await reclaimSnapshot(repository, id, epoch, () => changeName(names.change(GROUP_TOP)))) reclaimed.push(id);
    if (options.rewrite !== false) packsRewritten = (await rewriteThinPacks(repository, epoch, names)).packs;
    await abortClaim(repository, COLLECTOR, epoch);
  }
  let objectsDeleted = await sweepEmptied(repository);
  let checkpoint: number | null = null;
  if (options.full) {
    const newest = await newestCheckpoint(repository.store, repository.key);
    if (checkpointDue(repository.ledger(), newest, repository.table.size().rows)) checkpoint = await writeCheckpoint(repository);
    objectsDeleted += (await sweep(repository)).objects;
  }
  return { reclaimed, packsRewritten, objectsDeleted, bytesBefore, bytesAfter: repository.table.packBytes(), checkpoint };
}

/** A purge gives up the base under an open attempt: the attempt is ended first and starts anew without it (hole 11). */
async function abortAttemptsOnPurged(repository: Repository): Promise<void> {
  for (const claim of [...repository.ledger().claims.values()]) {
    const base = claim.base === null ? undefined : repository.ledger().snapshots.get(claim.base);
    if (!base?.hidden || !base.purge) continue;
    try {
      await abortClaim(repository, claim.actor, claim.epoch);
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'CLAIM_LOST')) throw error;
    }
  }
}

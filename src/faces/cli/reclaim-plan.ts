/** What a collection would free now, from the repository's own log and listing; nothing is changed and no job is started. */
import type { SnapshotId } from '../../domain/ids.ts';
import { dueSnapshots } from '../../engine/repository/collector.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { planSweep } from '../../engine/repository/sweep.ts';
import { planDelete } from '../../systems/lifecycle/deletion.ts';

export interface ReclaimPlan {
  readonly due: readonly SnapshotId[];
  /** What the due ones hold, each by itself: together they may free more. */
  readonly freedBytes: number;
  readonly thinPacks: number;
  readonly litter: { readonly objects: number; readonly bytes: number };
}

/** Thin packs counted at the most; a run rewrites fewer. */
const PACKS_MAX = 1024;

export async function planReclaim(repository: Repository): Promise<ReclaimPlan> {
  const due = dueSnapshots(await repository.sync());
  let freedBytes = 0;
  for (const id of due) freedBytes += (await planDelete(repository, id)).freedBytes;
  const litter = { objects: 0, bytes: 0 };
  for await (const { names, bytes } of planSweep(repository)) {
    litter.objects += names.length;
    litter.bytes += bytes;
  }
  return { due, freedBytes, thinPacks: repository.table.thinPacks(PACKS_MAX).length, litter };
}

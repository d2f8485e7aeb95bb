/** A snapshot at the receiver, read as a stranger would: every value of it, held against its name. */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import type { Snapshot } from '../../../src/engine/repository/ledger.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { subtreeCount, transferReader, valuesOf } from '../../../src/engine/repository/transfer-reader.ts';
import { verifyValues } from '../../../src/engine/transfer/verify.ts';
import type { Threads } from '../../../src/ground/threads/threads.ts';
import { THERE } from './world.ts';

/** Names that cannot be read, but for those in `passedOver` subtrees; 'no map': not even what it has can be said. */
export async function damageIn(
  repository: Repository,
  snapshot: Snapshot,
  threads: Threads,
  passedOver: ReadonlySet<number> = new Set(),
): Promise<readonly string[] | 'no map'> {
  const { sizeBytes, extentBytes } = snapshot;
  const damaged: string[] = [];
  try {
    for (let subtree = 0; subtree < subtreeCount(sizeBytes, extentBytes); subtree++) {
      if (passedOver.has(subtree)) continue;
      const values = valuesOf(repository, snapshot, subtree);
      const { damage } = await verifyValues({ reader: transferReader(repository, THERE), extentBytes, threads, values });
      damaged.push(...damage.map(({ fingerprint }) => fingerprint ?? 'a whole pack'));
    }
  } catch (error) {
    if (isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) return 'no map';
    throw error;
  }
  return damaged;
}

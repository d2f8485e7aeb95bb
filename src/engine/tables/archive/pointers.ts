/**
 * A snapshot that is only a pointer: it says that what is there already comes to the rows of a partition at this offset, and costs a
 * record. Nothing is read from it (whoever folds takes the base that it names, and the parts since); it is where the next
 * snapshot counts from.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { TableArchive } from './archive.ts';
import { newestBase } from './bases.ts';
import type { PointerEntry } from './entries.ts';
import { newestAnchor, type TableState } from './state.ts';

/** Points at all that is archived of a partition, under a claim of the role `snapshots`. Null when nothing came since the last snapshot or pointer. */
export async function pointSnapshot(archive: TableArchive, epoch: number, partition: string): Promise<PointerEntry | null> {
  let pointed: PointerEntry | null = null;
  await archive.append((state) => (pointed = pointerTo(state, epoch, partition)));
  return pointed;
}

function pointerTo(state: TableState, epoch: number, id: string): PointerEntry | null {
  const partition = state.partitions.get(id);
  if (partition === undefined) throw new HoldfastError('RECORD_REFUSED', `no partition ${id} is known`, { partition: id });
  if (newestAnchor(partition) >= partition.next) return null;
  const base = newestBase(state, partition);
  if (base === 'gone')
    throw new HoldfastError('RECORD_REFUSED', 'no base serves: events were sent again from before the oldest one', { partition: id });
  const { next: offset, high, runningUs: stampUs } = partition;
  return { kind: 'POINTER', epoch, partition: id, offset, high, stampUs, base: base?.offset ?? 0 };
}

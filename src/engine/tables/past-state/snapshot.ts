/**
 * Makes a partition snapshot from the one before and the parts since, never from the live table (docs/tables.md, section 6).
 *
 * It holds each key's deciding event after [0, offset), with its position, so that what is sent again later finds its place; and where that has
 * placeholders, the events they are taken from as far as this partition knows, for another one may know better. Deletes since the base are kept as dead rows; rows that a truncate has taken are not.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { TableArchive } from '../archive/archive.ts';
import { newestBase } from '../archive/bases.ts';
import type { Duck } from '../archive/duck.ts';
import type { FileRef, SnapshotEntry } from '../archive/entries.ts';
import { cellColumn, FIXED_COLUMNS, parquetCopy } from '../archive/rows.ts';
import type { PartitionState, TableState } from '../archive/state.ts';
import { keepFile } from '../archive/writer.ts';
import { UNAVAILABLE } from '../events/event.ts';
import { parsePosition, positionText, POSITION_ZERO } from '../events/position.ts';
import { findWinners, isLive, keptEvents } from './fold.ts';
import { loadEvents, type LoadedEvents } from './loading.ts';
import { truncatedAt } from './past-state.ts';
import { partsAfter, type PartitionPlan } from './plan.ts';

/** Makes a snapshot of all that is archived of a partition. Null when there is nothing since the one before. */
export async function makeSnapshot(archive: TableArchive, duck: Duck, epoch: number, partitionId: string): Promise<SnapshotEntry | null> {
  const state = archive.known();
  const partition = state.partitions.get(partitionId);
  if (partition === undefined)
    throw new HoldfastError('RECORD_REFUSED', `no partition ${partitionId} is known`, { partition: partitionId });
  const offset = partition.next;
  if ((partition.snapshots.at(-1)?.offset ?? 0) >= offset) return null;
  const plan = planFor(state, partition);
  if (plan === null)
    throw new HoldfastError('RECORD_REFUSED', 'no base serves: events were sent again from before the oldest one', {
      partition: partitionId,
    });
  const loaded = await loadEvents(archive, duck, [plan]);
  const floor = floorFor(partition, plan.base);
  const counts = await decide(duck, loaded, truncatedAt(state, parsePosition(partition.high) + 1n), floor);
  const path = duck.file('snapshot.parquet');
  let file: FileRef | null = null;
  if (counts.rows + counts.dead > 0) {
    await duck.run(parquetCopy('decided', path));
    file = await keepFile(archive, 'snapshot', epoch, path);
  }
  const entry: SnapshotEntry = {
    kind: 'SNAPSHOT',
    epoch,
    partition: partitionId,
    offset,
    high: partition.high,
    floor,
    stampUs: partition.runningUs,
    ...counts,
    file,
  };
  await archive.append((now) => ((now.partitions.get(partitionId)?.snapshots.at(-1)?.offset ?? 0) >= offset ? null : entry));
  return entry;
}

/** The newest base that remembers enough, and the parts since. */
function planFor(state: TableState, partition: PartitionState): PartitionPlan | null {
  const base = newestBase(state, partition);
  if (base === 'gone') return null;
  return { id: partition.id, number: partition.number, base, parts: partsAfter(partition, base?.offset ?? 0, null) };
}

/** Deletes below it are forgotten: those that the base had already, unless keys may have moved. */
function floorFor({ floorMost }: PartitionState, base: SnapshotEntry | null): string {
  const floor = base?.high ?? positionText(POSITION_ZERO);
  return floorMost !== null && floorMost < floor ? floorMost : floor;
}

type Counts = Pick<SnapshotEntry, 'rows' | 'dead' | 'unavailable'>;

/** Makes the table `decided`, in the columns of a segment, ascending by key. */
async function decide(duck: Duck, loaded: LoadedEvents, truncated: bigint | null, floor: string): Promise<Counts> {
  const cells = loaded.columns.map(cellColumn);
  const fixed = FIXED_COLUMNS.map((name) => (name === '_raw' ? 'NULL::BLOB AS _raw' : name));
  const dead = `_op = 'd' AND _pos >= ${parsePosition(floor)}::UHUGEINT`;
  await findWinners(duck, loaded, { above: null, below: null });
  await duck.run(
    `CREATE OR REPLACE TABLE decided AS SELECT ${[...fixed, ...cells].join(', ')} FROM (${keptEvents(loaded, `(${isLive(truncated)}) OR (${dead})`)})
     ORDER BY _key, _pos`,
  );
  const [[rows, deadRows] = []] = await duck.rows(
    `SELECT count(*) FILTER (WHERE _op = 'p'), count(*) FILTER (WHERE _op = 'd') FROM decided`,
  );
  const unavailable: number[] = [];
  for (const column of loaded.unavailable) {
    const [[left] = []] = await duck.rows(`SELECT count(*) FROM decided WHERE ${cellColumn(column)} = '${UNAVAILABLE}'`);
    if (Number(left) > 0) unavailable.push(column);
  }
  return { rows: Number(rows), dead: Number(deadRows), unavailable };
}

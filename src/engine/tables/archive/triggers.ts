/**
 * When a partition is due for a snapshot, and whether that is a copy of its rows or only a pointer to what there is already
 * (docs/tables.md, section 6). Pure, over the state of the archive; whoever archives asks after its batches.
 *
 * A fold reads a base and the segments since. A copy is worth its bytes where it would be much less than those two together: where rows
 * are changed again and again. A table that only grows is never less than its segments, and a quiet one is no less than its base; there a pointer
 * says the same and costs a record. What a copy would come to is guessed by what the last one did; since the guess grows old, four
 * times the base in segments make a copy whatever it says, which is a quarter more to write at the most.
 */
import { SNAPSHOT_RATE_ROWS_MIN, SNAPSHOT_RATE_SHIFT, SNAPSHOT_SAVING_MIN, SNAPSHOT_SEGMENTS_MAX } from '../../../domain/limits.ts';
import { newestBase } from './bases.ts';
import type { SnapshotEntry } from './entries.ts';
import { newestAnchor, type ArchivedPart, type PartitionState, type TableState } from './state.ts';

/** What makes a partition due, counted since its last snapshot or pointer; null: not that. As a table's definition has them. */
export interface SnapshotTriggers {
  /** Packed bytes of segments. */
  readonly bytes: number | null;
  /** Changes, as a share of the rows of the base; or, when SNAPSHOT_RATE_ROWS_MIN have come, SNAPSHOT_RATE_SHIFT times faster or slower than before. */
  readonly changed: number | null;
  /** The source's time, where anything has changed. */
  readonly ageMs: number | null;
}

export interface DueSnapshot {
  readonly partition: string;
  readonly because: 'request' | 'bytes' | 'changed' | 'rate' | 'age';
  readonly form: 'copy' | 'pointer';
  /** Packed bytes of segments since the last snapshot or pointer, and since the base that a fold would take. */
  readonly bytesSince: number;
  readonly bytesSinceBase: number;
}

/** Partitions that are due, in the order of their numbers; `requested`: ids of those that somebody asked for. */
export function dueSnapshots(state: TableState, triggers: SnapshotTriggers, requested: ReadonlySet<string> = new Set()): DueSnapshot[] {
  const bytesOf = shareOfFiles(state);
  return [...state.partitions.values()].flatMap((partition) => {
    const base = newestBase(state, partition);
    // Without a base that serves none can be made; with nothing since the last there is nothing to say.
    if (base === 'gone' || partition.next <= newestAnchor(partition)) return [];
    const bytesSince = sum(partsFrom(partition, newestAnchor(partition)), bytesOf);
    const bytesSinceBase = sum(partsFrom(partition, base?.offset ?? 0), bytesOf);
    const because = requested.has(partition.id) ? 'request' : reasonOf(partition, base, bytesSince, triggers);
    if (because === null) return [];
    return [{ partition: partition.id, because, form: formOf(partition, base, bytesSinceBase), bytesSince, bytesSinceBase }];
  });
}

const partsFrom = ({ parts }: PartitionState, offset: number): readonly ArchivedPart[] => parts.filter((part) => part.to > offset);
const sum = (parts: readonly ArchivedPart[], of: (part: ArchivedPart) => number): number => parts.reduce((all, part) => all + of(part), 0);
const rowsOf = ({ rows }: ArchivedPart): number => rows;

/** A part's share of the file that it lies in with others, by its rows. */
function shareOfFiles(state: TableState): (part: ArchivedPart) => number {
  const rows = new Map<string, number>();
  const nameOf = ({ file }: ArchivedPart): string => file?.packs[0]?.name ?? '';
  for (const { parts } of state.partitions.values())
    for (const part of parts) rows.set(nameOf(part), (rows.get(nameOf(part)) ?? 0) + part.rows);
  return (part) => (part.file === null || part.rows === 0 ? 0 : (part.file.bytes * part.rows) / (rows.get(nameOf(part)) ?? part.rows));
}

function reasonOf(
  partition: PartitionState,
  base: SnapshotEntry | null,
  bytesSince: number,
  { bytes, changed, ageMs }: SnapshotTriggers,
): DueSnapshot['because'] | null {
  if (bytes !== null && bytesSince >= bytes) return 'bytes';
  const rows = sum(partsFrom(partition, newestAnchor(partition)), rowsOf);
  if (changed !== null && base !== null && rows >= changed * base.rows) return 'changed';
  if (changed !== null && rows >= SNAPSHOT_RATE_ROWS_MIN && rateShifted(partition)) return 'rate';
  const sinceUs = anchorsOf(partition).at(-1)?.stampUs ?? partition.parts[0]?.stampMinUs ?? null;
  const old = ageMs !== null && sinceUs !== null && partition.runningUs !== null && partition.runningUs - sinceUs >= ageMs * 1000;
  return old ? 'age' : null;
}

interface Anchor {
  readonly offset: number;
  readonly stampUs: number | null;
}

const anchorsOf = ({ snapshots, pointers }: PartitionState): Anchor[] => [...snapshots, ...pointers].sort((a, b) => a.offset - b.offset);

/** Rows a second since the last anchor, against those between it and the one before. */
function rateShifted(partition: PartitionState): boolean {
  const [before, last] = anchorsOf(partition).slice(-2);
  if (before === undefined || last === undefined) return false;
  const rows = sum(partsFrom(partition, last.offset), rowsOf);
  const rowsBefore = sum(
    partsFrom(partition, before.offset).filter((part) => part.to <= last.offset),
    rowsOf,
  );
  const now = perSecond(rows, last.stampUs, partition.runningUs);
  const then = perSecond(rowsBefore, before.stampUs, last.stampUs);
  return now !== null && then !== null && Math.max(now / then, then / now) >= SNAPSHOT_RATE_SHIFT;
}

/** Null where nothing can be said. */
function perSecond(rows: number, sinceUs: number | null, untilUs: number | null): number | null {
  return rows === 0 || sinceUs === null || untilUs === null || untilUs <= sinceUs ? null : (rows * 1e6) / (untilUs - sinceUs);
}

function formOf(partition: PartitionState, base: SnapshotEntry | null, segmentBytes: number): DueSnapshot['form'] {
  const baseBytes = base?.file?.bytes ?? 0;
  if (base === null || segmentBytes >= SNAPSHOT_SEGMENTS_MAX * baseBytes) return 'copy';
  const copyBytes = baseBytes + growthBy(partition, base) * segmentBytes;
  return baseBytes + segmentBytes >= SNAPSHOT_SAVING_MIN * copyBytes ? 'copy' : 'pointer';
}

/** Of the rows that came between a copy and the one before, the share by which it grew; 0 where that cannot be told: the first one is a load. */
function growthBy(partition: PartitionState, made: SnapshotEntry): number {
  const before = partition.snapshots.findLast((one) => one.offset < made.offset);
  if (before === undefined) return 0;
  const came = partsFrom(partition, before.offset).filter((part) => part.to <= made.offset);
  return Math.max(0, made.rows + made.dead - before.rows - before.dead) / Math.max(1, sum(came, rowsOf));
}

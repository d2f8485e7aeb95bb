/**
 * Neighbouring parts of a partition as one, when their rows have come to lie in one file. Pure, and only about what parts say:
 * where the partition stands was settled when they came.
 *
 * No part reaches over the offset of a snapshot: from a base on, all that came after it and nothing else has to be had. Nor does one
 * name more than a batch's may (PART_NOTES_MAX).
 */
import { PART_NOTES_MAX } from '../../../domain/limits.ts';
import type { BatchPart, FileRef } from './entries.ts';
import type { ArchivedPart, PartitionState } from './state.ts';

/** The parts of records first..last lie in `file` from now on. */
export function withMerged(old: PartitionState, first: number, last: number, file: FileRef | null): PartitionState {
  if (!old.parts.some((part) => isOf(part, first, last))) return old;
  const bounds = new Set(old.snapshots.map((snapshot) => snapshot.offset));
  const parts: ArchivedPart[] = [];
  let open = false;
  for (const part of old.parts) {
    const before = parts.at(-1);
    const merged = isOf(part, first, last);
    const own = merged ? { ...part, file: hasRows(part) ? file : null } : part;
    if (merged && open && before !== undefined && !bounds.has(part.from) && notesOf(before) + notesOf(part) <= PART_NOTES_MAX)
      parts[parts.length - 1] = joined(before, own);
    else parts.push(own);
    open = merged;
  }
  return { ...old, parts };
}

export const isOf = (part: ArchivedPart, first: number, last: number): boolean => part.seq >= first && part.last <= last;

/** Whether anything of a part stands in a file. */
export const hasRows = (part: BatchPart): boolean => part.rows + part.quarantined.length > 0;

const notesOf = ({ truncates, gaps, quarantined }: ArchivedPart): number => truncates.length + gaps.length + quarantined.length;

function joined(a: ArchivedPart, b: ArchivedPart): ArchivedPart {
  return {
    partition: a.partition,
    from: a.from,
    to: b.to,
    rows: a.rows + b.rows,
    skipped: a.skipped + b.skipped,
    late: a.late + b.late,
    lateMin: least(a.lateMin, b.lateMin),
    positionMin: least(a.positionMin, b.positionMin),
    positionMax: most(a.positionMax, b.positionMax),
    high: b.high,
    stampMinUs: least(a.stampMinUs, b.stampMinUs),
    stampMaxUs: most(a.stampMaxUs, b.stampMaxUs),
    runningUs: b.runningUs,
    initialUs: most(a.initialUs, b.initialUs),
    streaming: b.streaming,
    afterDelete: b.afterDelete,
    unavailable: [...new Set([...a.unavailable, ...b.unavailable])].sort((x, y) => x - y),
    truncates: [...a.truncates, ...b.truncates],
    gaps: [...a.gaps, ...b.gaps],
    quarantined: [...a.quarantined, ...b.quarantined],
    seq: a.seq,
    last: b.last,
    file: a.file ?? b.file,
  };
}

/** Positions in text have one length, so they compare as numbers do. */
const least = <T extends string | number>(a: T | null, b: T | null): T | null => (a === null || (b !== null && b < a) ? b : a);
const most = <T extends string | number>(a: T | null, b: T | null): T | null => (a === null || (b !== null && b > a) ? b : a);

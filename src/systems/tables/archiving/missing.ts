/**
 * Offsets that a topic no longer has, told apart: marks of Kafka's transactions (and what they took back), what compaction has removed, what
 * is lost (docs/tables.md, section 4). Pure.
 */
import type { GapCause } from '../../../engine/tables/archive/batch.ts';
import type { OffsetRange } from '../../../ground/kafka/record-batches.ts';

export interface MissingRange extends OffsetRange {
  readonly kind: GapCause['kind'];
}

/** [from, to) cut up: what lies in `controls` (ascending) is theirs, the rest is of the kind of a hole. */
export function splitMissing(from: number, to: number, controls: readonly OffsetRange[], hole: GapCause['kind']): MissingRange[] {
  const found: MissingRange[] = [];
  const add = (begin: number, end: number, kind: GapCause['kind']): void => {
    if (end <= begin) return;
    const last = found.at(-1);
    if (last?.kind === kind) found[found.length - 1] = { from: last.from, to: end, kind };
    else found.push({ from: begin, to: end, kind });
  };
  let at = from;
  for (const range of controls) {
    if (range.to <= at) continue;
    if (range.from >= to) break;
    add(at, Math.min(range.from, to), hole);
    at = Math.max(at, range.from);
    add(at, Math.min(range.to, to), 'control');
    at = Math.min(range.to, to);
  }
  add(at, to, hole);
  return found;
}

/**
 * What a hole in the middle of a log is. Only compaction makes one, and it removes a record only for a younger one of its key; but it
 * removes deletes, too, when they have lain there for a while. A row that was archived before, and whose delete was both written and
 * removed since, would stay for ever. So a hole is only taken for that if what was archived was known to be all there was at a moment since
 * which no delete can have gone.
 */
export const holeKind = (completeMs: number | null, nowMs: number, deleteRetentionMs: number | null): 'compacted' | 'lost' =>
  completeMs !== null && deleteRetentionMs !== null && nowMs - completeMs < deleteRetentionMs ? 'compacted' : 'lost';

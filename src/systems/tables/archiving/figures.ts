/** What an archiver of a table has done since it was started, and how far it is: plain numbers, for whoever shows them. */
import type { BatchPart, Gap } from '../../../engine/tables/archive/entries.ts';

export interface ArchivingFigures {
  readonly batches: number;
  /** Records that were archived: rows, what changes nothing, quarantined. */
  readonly records: number;
  /** Of their keys and values. */
  readonly bytes: number;
  readonly quarantined: number;
  /** Offsets that the topics no longer had, by what became of them. */
  readonly missing: Readonly<Record<Gap['kind'], number>>;
  readonly late: number;
  readonly heartbeats: number;
  /** Times that Kafka or the store did not answer. */
  readonly interruptions: number;
}

export const NO_ARCHIVING: ArchivingFigures = {
  ...{ batches: 0, records: 0, bytes: 0, quarantined: 0, late: 0, heartbeats: 0, interruptions: 0 },
  missing: { lost: 0, compacted: 0, control: 0 },
};

export function addBatch(figures: ArchivingFigures, parts: readonly BatchPart[], bytes: number): ArchivingFigures {
  const missing = { ...figures.missing };
  let { records, quarantined, late } = figures;
  for (const part of parts) {
    quarantined += part.quarantined.length;
    late += part.late;
    records += part.to - part.from;
    for (const gap of part.gaps) {
      missing[gap.kind] += gap.to - gap.from;
      records -= gap.to - gap.from;
    }
  }
  return { ...figures, batches: figures.batches + 1, bytes: figures.bytes + bytes, records, quarantined, late, missing };
}

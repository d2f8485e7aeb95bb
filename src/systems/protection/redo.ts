/**
 * Records that survived are written to the volumes again, in order: after a machine was lost, which may have taken any part of them
 * (docs/protection.md, section 3). Doing it twice harms nothing.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import { fetchBatch } from '../../engine/journal/reading/copies.ts';
import { readHistory } from '../../engine/journal/reading/history.ts';
import { beginningOf, markAfter } from '../../engine/journal/reading/marks.ts';
import { readingOf } from '../../engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../engine/journal/records.ts';
import type { JournalState } from '../../engine/journal/state.ts';
import type { ServedVolume } from '../../engine/volumes/served-volume.ts';

export async function redo(volumes: readonly ServedVolume[], records: AsyncIterable<JournalRecord>): Promise<void> {
  for await (const record of records) {
    if (record.kind === 'flush' || record.kind === 'gap') continue;
    const volume = volumes[record.volume];
    if (volume === undefined)
      throw new HoldfastError('DAMAGED', `record ${record.seq} is of a volume that the group does not have`, {
        seq: record.seq,
        volume: record.volume,
      });
    const { offset } = record;
    if (record.kind === 'zero') await volume.redo({ kind: 'zero', offset, length: record.length });
    else await volume.redo({ kind: 'write', offset, length: record.data.length, parts: [Buffer.from(record.data)] });
  }
}

/** The records from `from` up to `through` that closed epochs hold, from any region. Errors as of `readHistory`. */
export async function* recordsOfRegions(journal: Journal, from: number, through: number): AsyncGenerator<JournalRecord> {
  if (from > through) return;
  const reading = readingOf(journal);
  const state = await journal.log.sync();
  for await (const { head } of readHistory(reading, state, newestMark(state, from))) {
    const last = head.first + head.count - 1;
    if (last >= from) {
      const { batch } = (await fetchBatch(reading, state, head, head.after)).what;
      for (const record of batch.records) if (record.seq >= from && record.seq <= through) yield record;
    }
    if (last >= through) return;
  }
}

/** The newest place to begin at from which `from` is read. */
function newestMark(state: JournalState, from: number) {
  const bases = [...state.bases.values()].flat().flatMap((base) => markAfter(state, { kind: 'base', base }) ?? []);
  const marks = [...bases, ...[...state.epochs.values()].map(beginningOf)].filter(({ next }) => next <= from);
  const newest = marks.reduce<(typeof marks)[number] | null>((best, one) => (best === null || one.next >= best.next ? one : best), null);
  if (newest === null) throw new HoldfastError('OBJECT_MISSING', `nothing leads to record ${from}`, { seq: from });
  return newest;
}

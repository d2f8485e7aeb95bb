/**
 * A base of the live volume, read while it was written: the first baseline, and the end of a time in which order was lost.
 *
 * Whoever captures it has the owner write a gap before the first byte is read, and notes the newest number when the last one is:
 * `from` and `to`. A replay from the gap overwrites whatever the reading caught half-way, so points are whole from `to` on. It is
 * recorded when the region's chain has reached `to`, and lies in the epoch of the gap; otherwise there is another gap to be made.
 * Of the open epoch the region's own chain is all that counts: nobody else is asked, for one that is silent would hold it up.
 */
import { lastOf } from '../batch.ts';
import { readHistory } from '../reading/history.ts';
import { beginningOf, markAfter } from '../reading/marks.ts';
import type { Reading } from '../reading/reading.ts';
import type { ChainMark } from '../chain.ts';
import type { Epoch, JournalState } from '../state.ts';
import type { BaseSnapshots } from './bases.ts';
import { recordBase, type Recorded } from './record-base.ts';

export interface FuzzyBase {
  readonly region: string;
  readonly snapshots: BaseSnapshots;
  /** The epoch in which the gap was written. */
  readonly epoch: number;
  /** Number of the gap. */
  readonly from: number;
  /** The newest number when the reading had ended. */
  readonly to: number;
}

export type FuzzyRecorded =
  | Recorded
  /** Not yet: the chain has not reached `to`. */
  | { readonly kind: 'waits'; readonly reachedSeq: number }
  /** Never: another gap came between, or the epoch ended before. A new gap, and a new reading. */
  | { readonly kind: 'void'; readonly why: string };

export async function recordFuzzyBase(reading: Reading, wanted: FuzzyBase): Promise<FuzzyRecorded> {
  const { region, snapshots, epoch: number, from, to } = wanted;
  const state = await reading.journal.log.sync();
  const epoch = state.epochs.get(number);
  if (epoch === undefined || from < epoch.start) return { kind: 'void', why: `${from} is not of epoch ${number}` };
  if (epoch.end !== null && to > epoch.end.seq) return { kind: 'void', why: `epoch ${number} ended at ${epoch.end.seq}` };
  const begin = beginBefore(state, epoch, wanted);
  let at = begin;
  let reachedSeq = begin.next - 1;
  const own: Reading = { ...reading, prefer: [region, ...reading.prefer], member: region };
  if (reachedSeq < to)
    for await (const { head, mark } of readHistory(own, state, begin)) {
      if (head.epoch !== number) break;
      if (head.rows.some(({ kind, seq }) => kind === 'gap' && seq > from && seq <= to))
        return { kind: 'void', why: 'order was lost again' };
      reachedSeq = lastOf(head);
      if (reachedSeq <= from) at = mark;
      if (reachedSeq >= to) break;
    }
  if (reachedSeq < to) return { kind: 'waits', reachedSeq };
  const digest = Buffer.from(at.digest).toString('hex');
  const place = { epoch: number, index: at.index - 1, seq: at.next - 1, digest };
  return recordBase(reading.journal, { kind: 'BASE', region, snapshots, from, to, at: place });
}

/** The newest place of that epoch that the region has a base for, or the epoch's beginning. */
function beginBefore(state: JournalState, epoch: Epoch, { region, from }: FuzzyBase): ChainMark {
  const base = state.bases.get(region)?.findLast(({ at }) => at.epoch === epoch.epoch && at.seq <= from);
  const mark = base === undefined ? null : markAfter(state, { kind: 'base', base });
  return mark ?? beginningOf(epoch);
}

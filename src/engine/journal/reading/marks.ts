/** Places that a reading may begin with: the beginning of an epoch, and what follows a base. */
import type { ChainMark } from '../chain.ts';
import type { ReplayStart } from '../holdings.ts';
import type { Epoch, JournalState } from '../state.ts';

const said = { acknowledged: 0, labelUs: 0 };

export const beginningOf = ({ epoch, start, before }: Epoch): ChainMark => ({
  ...{ epoch, index: 0, next: start, digest: Buffer.from(before, 'hex') },
  ...said,
});

/** The mark after what a replay begins with; null when the journal has no epoch yet. */
export function markAfter(state: JournalState, start: ReplayStart): ChainMark | null {
  const [first] = state.epochs.values();
  if (start.kind === 'empty') return first === undefined ? null : beginningOf(first);
  const { epoch, index, seq, digest } = start.base.at;
  return { epoch, index: index + 1, next: seq + 1, digest: Buffer.from(digest, 'hex'), ...said };
}

/** The epoch that begins where this one ends. */
export function epochAfter(state: JournalState, epoch: number): Epoch | undefined {
  const numbers = [...state.epochs.keys()];
  const next = numbers[numbers.indexOf(epoch) + 1];
  return next === undefined ? undefined : state.epochs.get(next);
}

/** Order of places in a journal. */
export const comparePlaces = (
  a: { readonly epoch: number; readonly index: number },
  b: { readonly epoch: number; readonly index: number },
): number => a.epoch - b.epoch || a.index - b.index;

/**
 * The newest label of a journal, as far as it can be had: labels are times that people ask for, and are to rise from epoch to epoch,
 * too. Nothing is decided by them, so a region that does not answer costs no more than that a clock which was set back shows.
 */
import { headAt } from '../chain.ts';
import type { Journal } from '../journal.ts';
import { batchName, copyName } from '../object-names.ts';
import type { Epoch, JournalState } from '../state.ts';
import type { SealedChain } from './seal-chain.ts';
import { whyUnheard } from './unheard.ts';

/** `chains` are those of the epoch that is being closed; null: the journal begins. */
export async function labelFloor(journal: Journal, state: JournalState, chains: readonly SealedChain[]): Promise<number> {
  const walked = Math.max(0, ...chains.map(({ end }) => end.labelUs));
  if (walked > 0) return walked;
  const before = [...state.epochs.values()].findLast(({ end }) => end !== null && end.index >= 0);
  for (const region of before?.full ?? []) {
    const label = before === undefined ? 0 : await labelAtEnd(journal, before, region);
    if (label > 0) return label;
  }
  return 0;
}

async function labelAtEnd({ regions, key }: Journal, { epoch, end }: Epoch, region: string): Promise<number> {
  const store = regions.get(region)?.store;
  if (store === undefined || end === null) return 0;
  const place = { epoch, index: end.index };
  for (const name of [batchName(epoch, end.index), copyName(epoch, end.index)])
    try {
      const found = await headAt({ store, key }, place, name);
      if (typeof found === 'object') return found.labelUs;
    } catch (error) {
      whyUnheard(error);
    }
  return 0;
}

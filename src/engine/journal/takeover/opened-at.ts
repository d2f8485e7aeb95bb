import { HoldfastError } from '../../../domain/errors.ts';
import type { JournalState } from '../state.ts';
import type { Opened } from './opened.ts';

/** What was won with record `seq`; null: with one whose answer had been lost, and which is the current epoch. */
export function openedAt(state: JournalState, owner: string, seq: number | null, labelUs: number): Opened {
  const epoch = state.epochs.get(seq ?? state.current ?? 0);
  if (epoch?.owner !== owner) throw new HoldfastError('INTERNAL', 'an epoch that was opened is not there', { epoch: seq });
  const closed = [...state.epochs.values()].findLast((one) => one.epoch < epoch.epoch) ?? null;
  const { mode, members, start } = epoch;
  return { epoch: epoch.epoch, owner, mode, members, start, before: Buffer.from(epoch.before, 'hex'), labelUs, closed, state };
}

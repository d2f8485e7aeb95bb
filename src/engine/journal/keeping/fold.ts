/**
 * Folding: the newest base of a region and the journal after it become a base at an exact point, from = to.
 *
 * The point is the end of a batch that the region holds with all before it: of the open epoch one that is acknowledged, of a closed
 * one any. Folded from what the region itself holds where that is sound, and where it is not from another region's copy; never in a
 * region that is not whole (J10), for a base hides what is older. Each head is read once.
 */
import { lastOf } from '../batch.ts';
import type { BaseEntry } from '../entries.ts';
import { holdsAll, isWhole } from '../holdings.ts';
import { planFold } from '../recovery/plan.ts';
import { replay } from '../recovery/replay.ts';
import type { ReadHead } from '../reading/history.ts';
import type { Reading } from '../reading/reading.ts';
import type { Epoch, JournalState } from '../state.ts';
import type { Bases, BaseSnapshots } from './bases.ts';
import { recordBase } from './record-base.ts';

export type Folded =
  | { readonly kind: 'folded'; readonly base: BaseEntry; readonly bytes: number }
  /** Nothing newer than its newest base could be folded. */
  | { readonly kind: 'nothing' }
  /** It lacks what is older, and gets that by backfill first; or its base was overtaken while it was made. */
  | { readonly kind: 'refused'; readonly why: string };

export interface FoldOptions {
  /** Fold at the newest batch that ends by this number; without it at the newest that may be. */
  readonly by?: number;
}

/** `reading` as of any reader; the region that is folded is asked first. Errors as of `planRecovery`. */
export async function foldRegion(reading: Reading, bases: Bases, { by = Infinity }: FoldOptions = {}): Promise<Folded> {
  const { region } = bases;
  const { journal } = reading;
  const own: Reading = { ...reading, prefer: [region, ...reading.prefer.filter((one) => one !== region)] };
  const state = await journal.log.sync();
  if (!isWhole(state, region)) return { kind: 'refused', why: `${region} is not whole` };
  const through = newestEpoch(state, region, by);
  const planned = through === undefined ? null : await planFold(own, state, region, through, judgeFor(state, region, by));
  if (planned === null) return { kind: 'nothing' };
  const { plan, last } = planned;
  const { epoch, index, after, labelUs } = last;
  const seq = lastOf(last);
  const on: BaseSnapshots = plan.start.kind === 'base' ? plan.start.base.snapshots : [];
  const notes = { epoch, from: seq, takenMs: Math.floor(labelUs / 1000), consistency: 'crash' as const };
  const bytes = plan.stretches.lengths.reduce((sum, length) => sum + length, 0);
  const snapshots = [...(await bases.write(on, replay(own, plan), notes, reading.signal))];
  const at = { epoch, index, seq, digest: Buffer.from(after).toString('hex') };
  const recorded = await recordBase(journal, { kind: 'BASE', region, snapshots, from: seq, to: seq, at });
  return recorded.kind === 'recorded' ? { kind: 'folded', base: recorded.base, bytes } : recorded;
}

/** The newest epoch of which the region may hold a batch that ends by a number and that its newest base does not have. */
function newestEpoch(state: JournalState, region: string, by: number): Epoch | undefined {
  const from = state.bases.get(region)?.at(-1)?.at.epoch ?? 0;
  const isHeld = (epoch: Epoch): boolean =>
    epoch.end === null ? isMember(epoch, region) : epoch.end.index >= 0 && holdsAll(state, region, epoch);
  return [...state.epochs.values()].findLast((epoch) => epoch.epoch >= from && epoch.start <= by && isHeld(epoch));
}

const isMember = ({ members }: Epoch, region: string): boolean => members.some((member) => member.region === region);

/** Which batches a base of the region may end with: by a number, held by the region, and such that will not be taken back. */
const judgeFor =
  (state: JournalState, region: string, by: number) =>
  ({ head, region: foundIn }: ReadHead): 'take' | 'pass' | 'end' => {
    const epoch = state.epochs.get(head.epoch);
    if (epoch === undefined || lastOf(head) > by) return 'end';
    if (epoch.end !== null) return holdsAll(state, region, epoch) ? 'take' : 'pass';
    // A chain that is taken over is walked from the base: what is before it must be in the region itself.
    if (foundIn !== region || !isMember(epoch, region)) return 'end';
    // An empty batch has no number that could be acknowledged: it may be in one member alone, and a base that names it would bind the end to it.
    return head.count > 0 ? 'take' : 'pass';
  };

/**
 * What the journal of a protected group needs beside its host: regions that lack something are filled, bases are made of what has been written, and
 * what nobody may ask for any more is let go (docs/protection.md, section 9).
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { holdsAll } from '../../../engine/journal/holdings.ts';
import { heldOnce } from '../../../engine/journal/keeping/at-risk.ts';
import { backfillRegion, type Backfilled } from '../../../engine/journal/keeping/backfill.ts';
import { collectRegion } from '../../../engine/journal/keeping/collecting.ts';
import { foldRegion } from '../../../engine/journal/keeping/fold.ts';
import { applyRetention, datesOf, type RetentionPolicy } from '../../../engine/journal/keeping/retention.ts';
import type { Reading } from '../../../engine/journal/reading/reading.ts';
import { currentEpoch } from '../../../engine/journal/state.ts';
import type { OpenedProtection } from '../home-journal.ts';

export interface JournalLook {
  /** Members of the current epoch that lack something of closed ones, and are not lost. */
  readonly lagging: readonly string[];
  readonly atRiskBytes: number;
}

export async function lookAtJournal({ journal, lost }: Reading, signal: AbortSignal): Promise<JournalLook> {
  const { bytes } = await heldOnce(journal, signal);
  const state = journal.log.known();
  const closed = [...state.epochs.values()].filter(({ end }) => end !== null);
  const members = (currentEpoch(state)?.members ?? []).map(({ region }) => region);
  const lagging = members.filter((region) => !lost.has(region) && closed.some((epoch) => !holdsAll(state, region, epoch)));
  return { lagging, atRiskBytes: bytes };
}

export interface FillingCall {
  readonly signal: AbortSignal;
  readonly onCopied: (bytes: number, ofBytes: number) => void;
}

export interface FilledRegion extends Backfilled {
  /** Of the journal, when it was done. */
  readonly atRiskBytes: number;
}

/** Errors as of `backfillRegion`. */
export async function fillRegion(
  { reading, bases }: Pick<OpenedProtection, 'reading'> & Partial<OpenedProtection>,
  region: string,
  { signal, onCopied }: FillingCall,
): Promise<FilledRegion> {
  const { bytes: ofBytes } = await heldOnce(reading.journal, signal);
  let copied = 0;
  const pace = async (bytes: number): Promise<void> => {
    signal.throwIfAborted();
    onCopied((copied += bytes), Math.max(ofBytes, copied));
    return Promise.resolve();
  };
  const filled = await backfillRegion({ ...reading, signal }, region, { pace, ...(bases === undefined ? {} : { bases }) });
  return { ...filled, atRiskBytes: (await heldOnce(reading.journal, signal)).bytes };
}

export interface Kept {
  readonly folded: number;
  readonly floor: number | null;
  readonly batches: number;
  readonly bytes: number;
  readonly snapshots: number;
  /** `region: why`: what could not be kept now. */
  readonly troubles: readonly string[];
}

export interface KeepingCall extends RetentionPolicy {
  readonly signal: AbortSignal;
}

/** Folds each region, lets the floor rise as the group's window allows, and collects. One region's trouble is none of the others'. */
export async function keepJournal({ reading, bases }: OpenedProtection, { windowMs, frozen, signal }: KeepingCall): Promise<Kept> {
  const done = { folded: 0, floor: null as number | null, batches: 0, bytes: 0, snapshots: 0 };
  const troubles: string[] = [];
  const own = { ...reading, signal };
  const unlessInTrouble = async (region: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!isHoldfastError(error) || error.code === 'INTERNAL' || signal.aborted) throw error;
      troubles.push(`${region}: ${error.code}: ${error.message}`);
    }
  };
  for (const [region, one] of bases)
    await unlessInTrouble(region, async () => {
      if ((await foldRegion(own, one)).kind === 'folded') done.folded++;
    });
  await unlessInTrouble('retention', async () => {
    const taken = await datesOf([...bases.values()], signal);
    done.floor = (await applyRetention(reading.journal, taken, { windowMs, frozen })).floor;
  });
  for (const [region, one] of bases)
    await unlessInTrouble(region, async () => {
      const collected = await collectRegion(reading.journal, region, { bases: one, signal });
      done.batches += collected.batches;
      done.bytes += collected.bytes;
      done.snapshots += collected.snapshots;
    });
  return { ...done, troubles };
}

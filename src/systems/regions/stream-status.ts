/** What a stream's log and regions say of it: who holds what, and how much of it is held once. */
import { messageOf } from '../../domain/errors.ts';
import { holdsAll } from '../../engine/journal/holdings.ts';
import type { Member } from '../../engine/journal/entries.ts';
import { backfillRegion, type Backfilled } from '../../engine/journal/keeping/backfill.ts';
import { heldOnce, type AtRisk } from '../../engine/journal/keeping/at-risk.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import { currentEpoch } from '../../engine/journal/state.ts';
import { ownerName } from '../../engine/journal/takeover/owner-mark.ts';
import { streamEnds, type StreamEnds } from './stream-places.ts';

export interface StreamEpoch {
  readonly epoch: number;
  readonly owner: string;
  readonly members: readonly Member[];
  /** Regions that hold all of it; null: it is the current one. */
  readonly full: readonly string[] | null;
  /** Its batches; null: it is the current one. */
  readonly batches: number | null;
}

export interface StreamStatus {
  readonly journal: string;
  /** Of the current epoch; null: nobody has appended yet. */
  readonly owner: string | null;
  readonly members: readonly Member[];
  /** Null: no region that answers says it. */
  readonly ends: StreamEnds | null;
  readonly why: string | null;
  readonly heldOnce: AtRisk;
  /** Oldest first. */
  readonly epochs: readonly StreamEpoch[];
}

/** STORE_UNREACHABLE: the log does not answer. */
export async function streamStatus(reading: Reading): Promise<StreamStatus> {
  const { journal } = reading;
  const state = await journal.log.sync();
  const current = currentEpoch(state);
  const ends = await streamEnds(reading, state).catch(messageOf);
  return {
    journal: journal.name,
    owner: current === undefined ? null : ownerName(current.owner),
    members: current?.members ?? [],
    ends: typeof ends === 'string' ? null : ends,
    why: typeof ends === 'string' ? ends : null,
    heldOnce: await heldOnce(journal, reading.signal),
    epochs: [...state.epochs.values()].map(({ epoch, owner, members, full, end }) => ({
      ...{ epoch, owner: ownerName(owner), members },
      full: end === null ? null : full,
      batches: end === null ? null : end.index + 1,
    })),
  };
}

export interface BackfilledRegion extends Backfilled {
  readonly region: string;
}

/** Brings each current member what it lacks of closed epochs, one after another. The first error as of `backfillRegion`, when all had their turn. */
export async function backfillStream(reading: Reading, onRegion: (region: string) => void): Promise<readonly BackfilledRegion[]> {
  const { log } = reading.journal;
  const state = await log.sync();
  const lacking = (currentEpoch(state)?.members ?? []).filter(({ region }) =>
    [...state.epochs.values()].some((epoch) => epoch.end !== null && !holdsAll(state, region, epoch)),
  );
  const filled: BackfilledRegion[] = [];
  const failed: unknown[] = [];
  for (const { region } of lacking) {
    onRegion(region);
    try {
      filled.push({ region, ...(await backfillRegion(reading, region)) });
    } catch (error) {
      reading.signal?.throwIfAborted();
      failed.push(error);
    }
  }
  if (failed.length > 0) throw failed[0];
  return filled;
}

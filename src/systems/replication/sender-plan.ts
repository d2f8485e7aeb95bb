/**
 * The plan of a session (system B): which snapshot goes from which store to which receiver, as plain data that a workflow carries.
 *
 * The receiver is in it by name alone: its address and its token are looked up by each call, so that they may change while a
 * session goes on, and are in no history.
 */
import type { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import type { replicateInput } from '../../domain/job-inputs.ts';
import { findStore, findVolume } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { findReceiver } from '../../engine/catalog/receivers.ts';
import type { ProofLevel } from '../../engine/replication/frames.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import { findSnapshot, newestVisible } from '../../engine/repository/transfer-reader.ts';

export interface ReplicationPlan {
  readonly volume: VolumeName;
  readonly repository: RepositoryName;
  readonly store: StoreName;
  readonly snapshot: SnapshotId;
  readonly receiver: string;
  readonly proof: ProofLevel;
  readonly takeOver: boolean;
}

/** RECEIVER_NOT_FOUND, VOLUME_NOT_FOUND, STORE_NOT_FOUND; SNAPSHOT_NOT_FOUND when no store that answers has one. */
export async function planReplication(home: Home, input: z.output<typeof replicateInput>): Promise<ReplicationPlan> {
  const state = await home.catalog.sync();
  findReceiver(state, input.receiver);
  const { name: volume, repository, stores } = findVolume(state, input.volume);
  if (input.store !== undefined) findStore(state, input.store);
  const { store, snapshot } = await chooseSource(home, input.store === undefined ? stores : [input.store], {
    ...{ volume, repository },
    snapshot: input.snapshot ?? null,
  });
  const { receiver, proof = 'sampled', takeOver = false } = input;
  return { volume, repository, store, snapshot, receiver, proof, takeOver };
}

interface Wanted {
  readonly volume: VolumeName;
  readonly repository: RepositoryName;
  /** Null: the newest. */
  readonly snapshot: SnapshotId | null;
}

/** The first store that has what is wanted; of the newest ones the newest. A store that is away is passed over if another has one. */
async function chooseSource(home: Home, stores: readonly StoreName[], { volume, repository, snapshot }: Wanted) {
  let newest: { readonly store: StoreName; readonly found: Snapshot } | null = null;
  let reason: unknown = new HoldfastError('SNAPSHOT_NOT_FOUND', `volume ${volume} has no stores`, { volume });
  for (const store of stores) {
    try {
      const reader = await home.reader(store, repository);
      await reader.sync();
      const found = snapshot === null ? newestVisible(reader, volume) : findSnapshot(reader, volume, snapshot);
      if (newest === null || found.takenMs > newest.found.takenMs) newest = { store, found };
      if (snapshot !== null) break;
    } catch (error) {
      if (!isHoldfastError(error, 'SNAPSHOT_NOT_FOUND', 'REPOSITORY_NOT_FOUND', 'STORE_UNREACHABLE')) throw error;
      // That it is nowhere else says nothing while a store is away.
      if (!isHoldfastError(reason, 'STORE_UNREACHABLE')) reason = error;
    }
  }
  if (newest === null) throw reason;
  return { store: newest.store, snapshot: newest.found.id };
}

/** What the sender's side asks a receiver of its catalog: how its sessions stand there, and that a snapshot be hidden. */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { lineageOf, type SnapshotId, type VolumeName } from '../../domain/ids.ts';
import { findVolume } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { findReceiver } from '../../engine/catalog/receivers.ts';
import {
  createAsking,
  type AskedSnapshot,
  type Asking,
  type ToldSession,
  type ToldVisibility,
} from '../../engine/replication/transport/asking.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import { tlsOf } from './sender-link.ts';

/** A volume that was added anew is looked for in so many of its lives, the newest first: each that lacks it counts as a refusal there. */
const LIVES_MAX = 8;

async function askingOf(home: Home, receiver: string): Promise<Asking> {
  const record = findReceiver(await home.catalog.sync(), receiver);
  return createAsking({ url: record.url, token: await resolvePassphrase(record.token, home.variables), ...(await tlsOf(record)) });
}

/** Sessions as the receiver sees them, the open ones first. */
export const sessionsAt = async (home: Home, receiver: string): Promise<readonly ToldSession[]> =>
  (await askingOf(home, receiver)).sessions();

export interface HiddenThere {
  readonly receiver: string;
  readonly snapshot: SnapshotId;
  readonly lineage: AskedSnapshot['lineage'];
  /** It was hidden before. */
  readonly already: boolean;
}

/**
 * Hides a snapshot at a receiver. What is hidden is reclaimed when the receiver's side chooses to. SNAPSHOT_NOT_FOUND, RETENTION_FLOOR,
 * RECEIVER_DENIED; VISIBILITY_CHANGED when it was hidden or shown between the look and the wish.
 */
export async function hideAt(home: Home, receiver: string, volume: VolumeName, snapshot: SnapshotId): Promise<HiddenThere> {
  const { incarnation } = findVolume(await home.catalog.sync(), volume);
  const asking = await askingOf(home, receiver);
  for (let life = incarnation; life > Math.max(0, incarnation - LIVES_MAX); life--) {
    const of = { lineage: lineageOf(volume, life), snapshot };
    const there = await lookAt(asking, of);
    if (there === null) continue;
    if (!there.hidden) await asking.hide(of, there.version);
    return { receiver, snapshot, lineage: of.lineage, already: there.hidden };
  }
  throw new HoldfastError('SNAPSHOT_NOT_FOUND', `${receiver} has no snapshot ${snapshot} of ${volume}`, { receiver, snapshot, volume });
}

async function lookAt(asking: Asking, of: AskedSnapshot): Promise<ToldVisibility | null> {
  try {
    return await asking.look(of);
  } catch (error) {
    if (isHoldfastError(error, 'SNAPSHOT_NOT_FOUND')) return null;
    throw error;
  }
}

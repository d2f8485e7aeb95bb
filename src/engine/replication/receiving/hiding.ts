/**
 * A sender hides what it has sent: with the right to, in its own name space, and nothing younger than its floor. It is the only way in
 * which a sender can delete; when what is hidden is reclaimed is for the receiver's own side to say.
 *
 * It looks first, and says with its wish which version of the snapshot's visibility it has seen. So a wish that comes late or twice, after
 * the receiver's operator has shown the snapshot again, is refused (VISIBILITY_CHANGED) and not carried out a second time.
 */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { lineageSchema, snapshotSchema } from '../../../domain/id-schemas.ts';
import { storeName } from '../../../domain/ids.ts';
import type { Home } from '../../catalog/home.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import { hideSnapshot } from '../../repository/pins.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import type { Peer } from '../frames.ts';
import { placeOf } from './place.ts';

const place = {
  /** As the sender has it. */
  lineage: lineageSchema,
  snapshot: snapshotSchema,
};
export const lookWish = z.strictObject(place);
export type LookWish = z.infer<typeof lookWish>;
export const hideWish = z.strictObject({ ...place, seen: z.int().min(0) });
export type HideWish = z.infer<typeof hideWish>;

/** A snapshot as its sender is told of it. */
export interface Visibility {
  readonly snapshot: Snapshot['id'];
  readonly hidden: boolean;
  /** Grows whenever it is hidden or shown. */
  readonly version: number;
}

/** SNAPSHOT_NOT_FOUND, RECEIVER_DENIED. */
export async function lookFor(home: Home, peer: Peer, wish: LookWish): Promise<Visibility> {
  const { snapshot } = await find(home, peer, wish);
  return { snapshot: snapshot.id, hidden: snapshot.hidden, version: snapshot.version };
}

/** Done again it changes nothing. SNAPSHOT_NOT_FOUND, RETENTION_FLOOR, VISIBILITY_CHANGED, RECEIVER_DENIED. */
export async function hideFor(home: Home, peer: Peer, wish: HideWish): Promise<void> {
  const { repository, snapshot } = await find(home, peer, wish);
  const ageMs = repository.environment.nowMs() - snapshot.takenMs;
  const { retentionFloorMs: floorMs } = peer;
  if (floorMs !== null && ageMs < floorMs) {
    const fromMs = snapshot.takenMs + floorMs;
    const from = Number.isNaN(new Date(fromMs).getTime()) ? 'a time that is far away' : new Date(fromMs).toISOString();
    throw new HoldfastError('RETENTION_FLOOR', `the snapshot is younger than the token lets go; it does from ${from} on`, { fromMs });
  }
  if (!snapshot.hidden) await hideSnapshot(repository, wish.snapshot, wish.seen, false);
}

async function find(
  home: Home,
  peer: Peer,
  wish: LookWish,
): Promise<{ readonly repository: RepositoryReader; readonly snapshot: Snapshot }> {
  if (!peer.rights.includes('hide')) throw new HoldfastError('RECEIVER_DENIED', 'the token may not hide snapshots');
  const { store, repository: name, lineage } = placeOf(peer, wish);
  const repository = await home.reader(storeName(store), name).catch((error: unknown) => {
    // That there is none is no more than it may know.
    if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) throw notFound(wish);
    throw error;
  });
  const snapshot = (await repository.sync()).snapshots.get(wish.snapshot);
  // In a shared repository, one of another sender's is none of this one's.
  if (snapshot?.lineage !== lineage) throw notFound(wish);
  return { repository, snapshot };
}

const notFound = ({ snapshot }: LookWish): HoldfastError =>
  new HoldfastError('SNAPSHOT_NOT_FOUND', 'there is no such snapshot here', { snapshot });

/**
 * A sender hides what it has sent: with the right to, in its own name space, and nothing younger than its floor. It is the only way in
 * which a sender can delete; when what is hidden is reclaimed is for the receiver's own side to say.
 */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { lineageSchema, snapshotSchema } from '../../../domain/id-schemas.ts';
import { storeName } from '../../../domain/ids.ts';
import type { Home } from '../../catalog/home.ts';
import { hideSnapshot } from '../../repository/pins.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import type { Peer } from '../frames.ts';
import { placeOf } from './place.ts';

export const hideWish = z.strictObject({
  /** As the sender has it. */
  lineage: lineageSchema,
  snapshot: snapshotSchema,
});
export type HideWish = z.infer<typeof hideWish>;

/** Done again it changes nothing. SNAPSHOT_NOT_FOUND, RETENTION_FLOOR, RECEIVER_DENIED. */
export async function hideFor(home: Home, peer: Peer, wish: HideWish): Promise<void> {
  if (!peer.rights.includes('hide')) throw new HoldfastError('RECEIVER_DENIED', 'the token may not hide snapshots');
  const place = placeOf(peer, wish);
  const repository = await home.reader(storeName(place.store), place.repository).catch((error: unknown) => {
    // That there is none is no more than it may know.
    if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) throw notFound(wish);
    throw error;
  });
  await hideIn(repository, peer, wish, place.lineage);
}

async function hideIn(repository: RepositoryReader, peer: Peer, wish: HideWish, lineage: string): Promise<void> {
  const there = (await repository.sync()).snapshots.get(wish.snapshot);
  // In a shared repository, one of another sender's is none of this one's.
  if (there?.lineage !== lineage) throw notFound(wish);
  const ageMs = repository.environment.nowMs() - there.takenMs;
  const { retentionFloorMs: floorMs } = peer;
  if (floorMs !== null && ageMs < floorMs)
    throw new HoldfastError('RETENTION_FLOOR', 'the snapshot is younger than the token lets go', { fromMs: there.takenMs + floorMs });
  if (!there.hidden) await hideSnapshot(repository, wish.snapshot, there.version, false);
}

const notFound = ({ snapshot }: HideWish): HoldfastError =>
  new HoldfastError('SNAPSHOT_NOT_FOUND', 'there is no such snapshot here', { snapshot });

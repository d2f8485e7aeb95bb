/** Where what a peer names lies here: below its prefix, in the store and repository of its token. Nothing else exists for it. */
import { lineage as lineageOf, repositoryName, storeName, volumeOf, type Lineage, type SnapshotId } from '../../../domain/ids.ts';
import type { Peer } from '../frames.ts';
import type { SessionPlace } from './opening.ts';

/** `lineage`: as the sender has it. */
export function placeOf(
  { store, repository, prefix }: Peer,
  { lineage: sent, snapshot }: { readonly lineage: Lineage; readonly snapshot: SnapshotId },
): SessionPlace {
  const lineage = lineageOf(`${prefix}${sent}`);
  return { store: storeName(store), repository: repositoryName(repository ?? volumeOf(lineage)), lineage, snapshot };
}

/**
 * Which life of a volume begins when it is added: after every one that was retired, in the catalog or in a store; and the one
 * that goes on where a store still knows it, as when an installation is built anew around its stores.
 */
import type { RepositoryName, StoreName, VolumeName } from '../../domain/ids.ts';
import type { CatalogState } from '../../engine/catalog/catalog.ts';
import type { Ledger } from '../../engine/repository/ledger.ts';
import { openPlaces } from './repositories.ts';
import type { Session } from './session.ts';

/** Incarnations of a volume that a repository knows: the highest that is alive, and the highest that was retired. */
function incarnationsIn(ledger: Ledger, volume: VolumeName): { readonly alive: number; readonly retired: number } {
  const numbers = (lineages: Iterable<string>): number[] =>
    [...lineages].filter((lineage) => lineage.startsWith(`${volume}@`)).map((lineage) => Number(lineage.slice(volume.length + 1)));
  const retired = Math.max(0, ...numbers(ledger.retired));
  const alive = Math.max(0, ...numbers([...ledger.snapshots.values()].map((snapshot) => snapshot.lineage)).filter((n) => n > retired));
  return { alive, retired };
}

export async function nextIncarnation(
  session: Session,
  state: CatalogState,
  volume: VolumeName,
  repository: RepositoryName,
  stores: readonly StoreName[],
) {
  const before = state.volumes.get(volume);
  let retired = before?.retired === true ? before.incarnation : 0;
  let alive = 0;
  for await (const { opened } of openPlaces(
    session,
    stores.map((store) => ({ store, repository })),
  )) {
    const known = incarnationsIn(opened.ledger(), volume);
    retired = Math.max(retired, known.retired);
    alive = Math.max(alive, known.alive);
  }
  return Math.max(alive, retired + 1);
}

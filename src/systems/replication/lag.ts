/**
 * How far a receiver is behind: snapshots that it does not have, the bytes in which its newest differs from ours, and since when.
 *
 * From our own logs alone: what was confirmed is in the catalog, what there is in the store. The receiver is not asked.
 */
import type { StoreName, VolumeName } from '../../domain/ids.ts';
import { volumeOf } from '../../domain/ids.ts';
import type { CatalogState } from '../../engine/catalog/catalog.ts';
import { findVolume } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { policyKey, type Replicated } from '../../engine/catalog/replication-policies.ts';
import { isAbsent } from '../../engine/map/node.ts';
import { diffMaps, mapRoot } from '../../engine/map/walk.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';

export interface Lag {
  readonly volume: VolumeName;
  readonly receiver: string;
  /** Null: it has none yet. */
  readonly last: Replicated | null;
  /** Visible ones that are newer than that. */
  readonly snapshots: number;
  /** Plain bytes of the extents in which the newest differs from what it has; the whole volume where that is not known. */
  readonly bytes: number;
  /** Since the oldest of them was taken. */
  readonly ms: number;
}

/** Pairs that are replicated, by a policy or once by hand. */
export const replicatedPairs = ({ policies, replicated }: CatalogState): readonly Pick<Replicated, 'volume' | 'receiver'>[] => [
  ...new Map([...policies, ...replicated].map(([key, { volume, receiver }]) => [key, { volume, receiver }])).values(),
];

/** Null: none of the volume's stores has a snapshot. STORE_UNREACHABLE when the one to read from is away. */
export async function lagOf(home: Home, state: CatalogState, pair: Pick<Replicated, 'volume' | 'receiver'>): Promise<Lag | null> {
  const { volume, receiver } = pair;
  const { repository, stores } = findVolume(state, volume);
  const from = state.policies.get(policyKey(pair))?.from ?? null;
  const last = state.replicated.get(policyKey(pair)) ?? null;
  let best: { readonly source: RepositoryReader; readonly newer: readonly Snapshot[]; readonly takenMs: number } | null = null;
  for (const store of from === null ? stores : [from]) {
    const source = await openSource(home, store, repository);
    if (source === null) continue;
    const own = [...source.ledger().snapshots.values()].filter((one) => !one.hidden && volumeOf(one.lineage) === volume);
    const takenMs = Math.max(...own.map((one) => one.takenMs), 0);
    if (own.length === 0 || (best !== null && best.takenMs >= takenMs)) continue;
    const newer = own.filter((one) => last === null || one.takenMs > last.takenMs).sort((a, b) => a.takenMs - b.takenMs);
    best = { source, newer, takenMs };
  }
  if (best === null) return null;
  const { source, newer } = best;
  const [oldest] = newer;
  const ms = oldest === undefined ? 0 : Math.max(0, home.environment.nowMs() - oldest.takenMs);
  return { volume, receiver, last, snapshots: newer.length, bytes: await bytesBehind(source, last, newer.at(-1)), ms };
}

async function openSource(home: Home, store: StoreName, repository: Parameters<Home['reader']>[1]): Promise<RepositoryReader | null> {
  const { repositories, stores } = home.catalog.known();
  if (!stores.has(store) || !repositories.has(`${store}/${repository}`)) return null;
  const source = await home.reader(store, repository);
  await source.sync();
  return source;
}

async function bytesBehind(source: RepositoryReader, last: Replicated | null, newest: Snapshot | undefined): Promise<number> {
  if (newest === undefined) return 0;
  const base = last === null ? undefined : source.ledger().snapshots.get(last.snapshot);
  if (base === undefined || base.extentBytes !== newest.extentBytes) return newest.sizeBytes;
  const { readNode } = source;
  let extents = 0;
  for await (const { level, new: now } of diffMaps(
    mapRoot(base.root, base.rootLocation),
    mapRoot(newest.root, newest.rootLocation),
    readNode,
    readNode,
  ))
    if (level === 0 && !isAbsent(now)) extents++;
  return extents * newest.extentBytes;
}

/**
 * The catalog as a store mirrors it, and how an installation is built anew from it: stores, volumes, tables, receivers, what is replicated to them,
 * tokens of its own receiver, where events go, what those of others start, protected disks with the names of their points, and streams are entered in a home that does not know them, references and all. What the home knows already stays as it is.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Catalog, CatalogEntry, CatalogState } from '../../engine/catalog/catalog.ts';
import { policyKey } from '../../engine/catalog/replication-policies.ts';
import { journalKey, journalOfKey } from '../../engine/catalog/journals.ts';
import { lostRegionsOf } from '../../engine/catalog/lost-regions.ts';
import { readMirror, type MirroredCatalog } from '../../engine/catalog/mirror.ts';
import type { RescueStore } from './rescue-store.ts';

/** The newest mirror in a store. */
export async function newestMirror({ repositories, url }: RescueStore): Promise<MirroredCatalog> {
  let newest: MirroredCatalog | null = null;
  for (const { repository } of repositories) {
    const mirror = await readMirror(repository);
    if (mirror !== null && (newest === null || mirror.n > newest.n)) newest = mirror;
  }
  if (newest) return newest;
  throw new HoldfastError('OBJECT_MISSING', `${url} holds no mirror of a catalog: nothing was captured into it by a worker yet`, { url });
}

/** What the home lacks of a mirror, in an order in which each finds what it names. */
function planRebuild(state: CatalogState, mirror: MirroredCatalog): readonly CatalogEntry[] {
  const { stores, volumes, receivers = [], policies = [], tokens = [], tables = [], events = null, triggers = [] } = mirror;
  const { protections = [], points = [], streams = [], lostRegions = [], journals = [] } = mirror;
  const entries: CatalogEntry[] = [
    ...stores.map((store) => ({ kind: 'STORE_ADD' as const, store })),
    ...volumes.map((volume) => ({ kind: 'VOLUME_ADD' as const, volume })),
    ...receivers.map((receiver) => ({ kind: 'RECEIVER_ADD' as const, receiver })),
    ...policies.map((policy) => ({ kind: 'REPLICATE_SET' as const, policy })),
    ...tokens.map((token) => ({ kind: 'TOKEN_ADD' as const, token })),
    ...tables.map((table) => ({ kind: 'TABLE_ADD' as const, table })),
    ...(events === null ? [] : [{ kind: 'EVENTS_SET' as const, events }]),
    ...triggers.map((trigger) => ({ kind: 'TRIGGER_ADD' as const, trigger })),
    ...protections.map((protection) => ({ kind: 'PROTECTION_SET' as const, protection })),
    ...streams.map((stream) => ({ kind: 'STREAM_SET' as const, stream })),
    ...points.map((point) => ({ kind: 'POINT_NAMED' as const, ...point })),
    ...lostRegions.map((lost) => ({ kind: 'REGION_LOST' as const, ...lost })),
    ...journals.map(([key, id]) => ({ kind: 'JOURNAL_SEEN' as const, ...journalOfKey(key), id })),
  ];
  return entries.filter((entry) => isMissing(state, entry));
}

function isMissing(state: CatalogState, entry: CatalogEntry): boolean {
  switch (entry.kind) {
    case 'STORE_ADD':
      return !state.stores.has(entry.store.name);
    case 'VOLUME_ADD':
      return !state.volumes.has(entry.volume.name);
    case 'RECEIVER_ADD':
      return !state.receivers.has(entry.receiver.name);
    case 'REPLICATE_SET':
      return !state.policies.has(policyKey(entry.policy));
    case 'TOKEN_ADD':
      return !state.tokens.has(entry.token.id);
    case 'TABLE_ADD':
      return !state.tables.has(entry.table.name);
    case 'EVENTS_SET':
      return state.events === null;
    case 'TRIGGER_ADD':
      return !state.triggers.has(entry.trigger.name);
    case 'PROTECTION_SET':
      return !state.protections.has(entry.protection.journal);
    case 'STREAM_SET':
      return !state.streams.has(entry.stream.journal);
    case 'POINT_NAMED':
      return state.points.get(entry.journal)?.has(entry.name) !== true;
    case 'REGION_LOST':
      return !lostRegionsOf(state, entry.journal).has(entry.region);
    case 'JOURNAL_SEEN':
      return !state.journals.has(journalKey(entry));
    default:
      return false;
  }
}

export async function rebuildCatalog(catalog: Catalog, mirror: MirroredCatalog): Promise<readonly CatalogEntry[]> {
  const missing = planRebuild(await catalog.sync(), mirror);
  for (const entry of missing) await catalog.append((state) => (isMissing(state, entry) ? entry : null));
  return missing;
}

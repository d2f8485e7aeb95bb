/**
 * The catalog: what stores, volumes, tables, receivers, policies, tokens and triggers there are, where events go, and which jobs were
 * begun and how they ended. A log in the home store, folded in memory.
 *
 * The product needs no database: this log, and those of the repositories, are all that must survive. Temporal can be wiped;
 * a job that was begun and has no end is started again under its own id. The catalog is small (a record a decision), so it
 * is read as a whole; only the last JOBS_KEPT ended jobs are remembered.
 */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import {
  hostSchema,
  repositorySchema as repositoryName,
  storeSchema as storeName,
  volumeSchema as volumeName,
} from '../../domain/id-schemas.ts';
import { lineageOf, type Lineage, type RepositoryName, type StoreName, type VolumeName } from '../../domain/ids.ts';
import { EXTENT_BYTES_MAX, EXTENT_BYTES_MIN } from '../../domain/limits.ts';
import type { Codec } from '../../ground/sealing/blob.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { createFoldedLog, type FoldedLog } from '../log/folded-log.ts';
import { createLog, type LogPort } from '../log/log.ts';
import { tokenRecord, type TokenRecord } from '../replication/tokens.ts';
import { logName } from '../repository/object-names.ts';
import type { Environment } from '../repository/environment.ts';
import { eventsRecord, type EventsRecord } from './events.ts';
import { journalSeen, withJournal } from './journals.ts';
import { regionOfJournal, withRegion } from './lost-regions.ts';
import {
  groupState,
  journalName,
  pointName,
  protectionMoved,
  protectionRecord,
  protectionTested,
  type GroupStateNoted,
  type PointName,
  type ProtectionRecord,
} from './protections.ts';
import { receiverName, receiverRecord, type ReceiverRecord } from './receivers.ts';
import { refusal } from './refusals.ts';
import { policyKey, replicated, replicationPolicy, type Replicated, type ReplicationPolicy } from './replication-policies.ts';
import { streamRecord, type StreamRecord } from './streams.ts';
import { archiveKey, tableDefinition, tableName, type TableDefinition } from './tables.ts';
import { triggerName, triggerRecord, type TriggerRecord } from './triggers.ts';

const CODEC = /^(raw|zstd-(?:[1-9]|1[0-9]))$/;

export const storeRecord = z.strictObject({
  name: storeName,
  url: z.string().max(2000),
  endpoint: z.string().max(2000).nullable(),
  region: z.string().max(100).nullable(),
  /** Names of environment variables; null: what the SDK finds by itself. */
  credentials: z.strictObject({ accessKeyIdEnv: z.string().max(200), secretAccessKeyEnv: z.string().max(200) }).nullable(),
  /** Passphrase by reference: env:NAME, file:/path or command:... */
  passphrase: z.string().max(2000),
  codec: z.string().regex(CODEC),
  bytesPerSecondMax: z.int().min(1).nullable(),
});
export type StoreRecord = z.infer<typeof storeRecord>;

const volumeRecord = z.strictObject({
  name: volumeName,
  incarnation: z.int().min(1),
  /** The host whose node reads it. */
  node: hostSchema,
  path: z.string().min(1).max(4096),
  extentBytes: z.int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
  stores: z.array(storeName).max(64),
  /** The repository it shares with its group; by default its own. */
  repository: repositoryName,
  retired: z.boolean(),
});
export type VolumeRecord = z.infer<typeof volumeRecord>;

const jobKind = z.string().max(60);
export const catalogEntrySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('STORE_ADD'), store: storeRecord }),
  z.strictObject({ kind: z.literal('STORE_SET'), store: storeRecord }),
  z.strictObject({ kind: z.literal('STORE_REMOVE'), name: storeName }),
  z.strictObject({ kind: z.literal('VOLUME_ADD'), volume: volumeRecord }),
  z.strictObject({ kind: z.literal('VOLUME_SET'), volume: volumeRecord }),
  z.strictObject({ kind: z.literal('VOLUME_RETIRE'), name: volumeName }),
  /** The repository first seen in a store under a name: another one there is refused from then on. */
  z.strictObject({ kind: z.literal('REPOSITORY_SEEN'), store: storeName, repository: repositoryName, id: z.string() }),
  z.strictObject({ kind: z.literal('RECEIVER_ADD'), receiver: receiverRecord }),
  z.strictObject({ kind: z.literal('RECEIVER_SET'), receiver: receiverRecord }),
  z.strictObject({ kind: z.literal('RECEIVER_REMOVE'), name: receiverName }),
  z.strictObject({ kind: z.literal('REPLICATE_SET'), policy: replicationPolicy }),
  z.strictObject({ kind: z.literal('REPLICATE_REMOVE'), receiver: receiverName, volume: volumeName }),
  /** A receiver has confirmed a snapshot. */
  z.strictObject({ kind: z.literal('REPLICATED'), ...replicated.shape }),
  /** What a receiver of this installation lets a sender do; its secret is not here. */
  z.strictObject({ kind: z.literal('TOKEN_ADD'), token: tokenRecord }),
  z.strictObject({ kind: z.literal('TOKEN_REMOVE'), id: tokenRecord.shape.id }),
  z.strictObject({ kind: z.literal('TABLE_ADD'), table: tableDefinition }),
  z.strictObject({ kind: z.literal('TABLE_SET'), table: tableDefinition }),
  z.strictObject({ kind: z.literal('TABLE_REMOVE'), name: tableName }),
  /** The archive that was first made for a table in a store: another one there is refused from then on. */
  z.strictObject({ kind: z.literal('ARCHIVE_SEEN'), store: storeName, table: tableName, id: z.string().max(100) }),
  /** Events go to Kafka, or not any more. */
  z.strictObject({ kind: z.literal('EVENTS_SET'), events: eventsRecord }),
  z.strictObject({ kind: z.literal('EVENTS_REMOVE') }),
  z.strictObject({ kind: z.literal('TRIGGER_ADD'), trigger: triggerRecord }),
  z.strictObject({ kind: z.literal('TRIGGER_REMOVE'), name: triggerName }),
  /** Disks whose every change goes to a journal; or not any more. */
  z.strictObject({ kind: z.literal('PROTECTION_SET'), protection: protectionRecord }),
  z.strictObject({ kind: z.literal('PROTECTION_REMOVE'), journal: journalName }),
  z.strictObject({ kind: z.literal('PROTECTION_MOVED'), ...protectionMoved.shape }),
  z.strictObject({ kind: z.literal('PROTECTION_TESTED'), ...protectionTested.shape }),
  z.strictObject({ kind: z.literal('PROTECTION_STATE'), ...groupState.shape }),
  /** A region of a journal will not come back, as somebody has said; or it has all the same. */
  z.strictObject({ kind: z.literal('REGION_LOST'), ...regionOfJournal.shape }),
  z.strictObject({ kind: z.literal('REGION_BACK'), ...regionOfJournal.shape }),
  z.strictObject({ kind: z.literal('POINT_NAMED'), ...pointName.shape }),
  z.strictObject({ kind: z.literal('JOURNAL_SEEN'), ...journalSeen.shape }),
  /** A stream of bytes that is kept in a journal; or the catalog forgets it. */
  z.strictObject({ kind: z.literal('STREAM_SET'), stream: streamRecord }),
  z.strictObject({ kind: z.literal('STREAM_REMOVE'), journal: journalName }),
  z.strictObject({ kind: z.literal('JOB_BEGIN'), id: z.string().max(300), job: jobKind, input: z.unknown() }),
  z.strictObject({
    kind: z.literal('JOB_END'),
    id: z.string().max(300),
    outcome: z.enum(['done', 'failed', 'cancelled']),
    summary: z.string().max(1000),
  }),
]);
export type CatalogEntry = z.infer<typeof catalogEntrySchema>;
const KINDS: ReadonlySet<string> = new Set(catalogEntrySchema.options.map((option) => option.shape.kind.value));

export interface JobRecord {
  readonly id: string;
  readonly job: string;
  readonly input: unknown;
  readonly begunMs: number;
  readonly ended: { readonly outcome: 'done' | 'failed' | 'cancelled'; readonly summary: string; readonly atMs: number } | null;
}

export interface CatalogState {
  readonly n: number;
  readonly head: string;
  readonly stores: ReadonlyMap<StoreName, StoreRecord>;
  readonly volumes: ReadonlyMap<VolumeName, VolumeRecord>;
  /** `<store>/<repository>` -> repository id. */
  readonly repositories: ReadonlyMap<string, string>;
  /** Where snapshots can be replicated to, by name. */
  readonly receivers: ReadonlyMap<string, ReceiverRecord>;
  /** What is replicated by itself, by `<receiver>/<volume>`. */
  readonly policies: ReadonlyMap<string, ReplicationPolicy>;
  /** The newest snapshot that each receiver has of each volume, by the same. */
  readonly replicated: ReadonlyMap<string, Replicated>;
  /** Who may replicate to here, by the token's id. */
  readonly tokens: ReadonlyMap<string, TokenRecord>;
  readonly tables: ReadonlyMap<string, TableDefinition>;
  /** `<store>/<table>` -> id of the archive. */
  readonly archives: ReadonlyMap<string, string>;
  /** Where events go; null: nowhere. */
  readonly events: EventsRecord | null;
  /** What events of others start, by name. */
  readonly triggers: ReadonlyMap<string, TriggerRecord>;
  /** What is protected, by journal. */
  readonly protections: ReadonlyMap<string, ProtectionRecord>;
  /** Points that were given names, by journal and name. */
  readonly points: ReadonlyMap<string, ReadonlyMap<string, PointName>>;
  /** How groups were when they were last looked at, by journal. */
  readonly groupStates: ReadonlyMap<string, GroupStateNoted>;
  /** Regions that will not come back, by journal. */
  readonly lostRegions: ReadonlyMap<string, ReadonlySet<string>>;
  /** `<store of its log>/<journal>` -> id of the journal. */
  readonly journals: ReadonlyMap<string, string>;
  /** Streams of bytes, by journal. */
  readonly streams: ReadonlyMap<string, StreamRecord>;
  readonly jobs: ReadonlyMap<string, JobRecord>;
}

const JOBS_KEPT = 500;
const EMPTY: CatalogState = {
  n: 0,
  head: '',
  stores: new Map(),
  volumes: new Map(),
  repositories: new Map(),
  receivers: new Map(),
  policies: new Map(),
  replicated: new Map(),
  tokens: new Map(),
  tables: new Map(),
  archives: new Map(),
  events: null,
  triggers: new Map(),
  protections: new Map(),
  points: new Map(),
  groupStates: new Map(),
  journals: new Map(),
  lostRegions: new Map(),
  streams: new Map(),
  jobs: new Map(),
};

export const repositoryKey = (store: StoreName, repository: RepositoryName): string => `${store}/${repository}`;
export const lineageOfVolume = (volume: VolumeRecord): Lineage => lineageOf(volume.name, volume.incarnation);

function apply(state: CatalogState, entry: CatalogEntry, timeMs: number): CatalogState {
  switch (entry.kind) {
    case 'STORE_ADD':
    case 'STORE_SET':
      return { ...state, stores: new Map(state.stores).set(entry.store.name, entry.store) };
    case 'STORE_REMOVE':
      return { ...state, stores: without(state.stores, entry.name) };
    case 'VOLUME_ADD':
    case 'VOLUME_SET':
      return { ...state, volumes: new Map(state.volumes).set(entry.volume.name, entry.volume) };
    case 'VOLUME_RETIRE': {
      const volume = state.volumes.get(entry.name);
      return volume ? { ...state, volumes: new Map(state.volumes).set(entry.name, { ...volume, retired: true }) } : state;
    }
    case 'REPOSITORY_SEEN': {
      const key = repositoryKey(entry.store, entry.repository);
      return state.repositories.has(key) ? state : { ...state, repositories: new Map(state.repositories).set(key, entry.id) };
    }
    case 'RECEIVER_ADD':
    case 'RECEIVER_SET':
      return { ...state, receivers: new Map(state.receivers).set(entry.receiver.name, entry.receiver) };
    case 'RECEIVER_REMOVE':
      return {
        ...state,
        receivers: without(state.receivers, entry.name),
        replicated: new Map([...state.replicated].filter(([, { receiver }]) => receiver !== entry.name)),
      };
    case 'REPLICATE_SET':
      return { ...state, policies: new Map(state.policies).set(policyKey(entry.policy), entry.policy) };
    case 'REPLICATE_REMOVE':
      return { ...state, policies: without(state.policies, policyKey(entry)) };
    case 'REPLICATED': {
      const { kind: _, ...reached } = entry;
      const before = state.replicated.get(policyKey(reached));
      // An older snapshot that was sent after a newer one says nothing of how far it is.
      if (before !== undefined && before.takenMs > reached.takenMs) return state;
      return { ...state, replicated: new Map(state.replicated).set(policyKey(reached), reached) };
    }
    case 'TOKEN_ADD':
      return { ...state, tokens: new Map(state.tokens).set(entry.token.id, entry.token) };
    case 'TOKEN_REMOVE':
      return { ...state, tokens: without(state.tokens, entry.id) };
    case 'TABLE_ADD':
    case 'TABLE_SET':
      return { ...state, tables: new Map(state.tables).set(entry.table.name, entry.table) };
    case 'TABLE_REMOVE':
      return { ...state, tables: without(state.tables, entry.name) };
    case 'ARCHIVE_SEEN': {
      const key = archiveKey({ store: entry.store, name: entry.table });
      return state.archives.has(key) ? state : { ...state, archives: new Map(state.archives).set(key, entry.id) };
    }
    case 'JOURNAL_SEEN':
      return { ...state, journals: withJournal(state.journals, entry) };
    case 'EVENTS_SET':
      return { ...state, events: entry.events };
    case 'EVENTS_REMOVE':
      return { ...state, events: null };
    case 'TRIGGER_ADD':
      return { ...state, triggers: new Map(state.triggers).set(entry.trigger.name, entry.trigger) };
    case 'TRIGGER_REMOVE':
      return { ...state, triggers: without(state.triggers, entry.name) };
    case 'PROTECTION_SET':
      return { ...state, protections: new Map(state.protections).set(entry.protection.journal, entry.protection) };
    case 'PROTECTION_MOVED': {
      const protection = state.protections.get(entry.journal);
      if (protection === undefined) return state;
      return { ...state, protections: new Map(state.protections).set(entry.journal, { ...protection, host: entry.host }) };
    }
    case 'PROTECTION_STATE': {
      const { kind: _, ...noted } = entry;
      return { ...state, groupStates: new Map(state.groupStates).set(entry.journal, noted) };
    }
    case 'REGION_LOST':
    case 'REGION_BACK':
      return { ...state, lostRegions: withRegion(state.lostRegions, entry, entry.kind === 'REGION_LOST') };
    case 'PROTECTION_TESTED':
      // For whoever follows the log.
      return state;
    case 'PROTECTION_REMOVE':
      return { ...state, ...forgotten(state, entry.journal), protections: without(state.protections, entry.journal) };
    case 'POINT_NAMED': {
      const { kind: _, ...point } = entry;
      const names = new Map(state.points.get(point.journal)).set(point.name, point);
      return { ...state, points: new Map(state.points).set(point.journal, names) };
    }
    case 'STREAM_SET':
      return { ...state, streams: new Map(state.streams).set(entry.stream.journal, entry.stream) };
    case 'STREAM_REMOVE':
      return { ...state, ...forgotten(state, entry.journal), streams: without(state.streams, entry.journal) };
    case 'JOB_BEGIN': {
      const jobs = new Map(state.jobs);
      jobs.delete(entry.id);
      jobs.set(entry.id, { id: entry.id, job: entry.job, input: entry.input, begunMs: timeMs, ended: null });
      return { ...state, jobs: forgetOldest(jobs) };
    }
    case 'JOB_END': {
      const job = state.jobs.get(entry.id);
      const ended = { outcome: entry.outcome, summary: entry.summary, atMs: timeMs };
      return job ? { ...state, jobs: new Map(state.jobs).set(entry.id, { ...job, ended }) } : state;
    }
  }
}

const without = <K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> => new Map([...map].filter(([one]) => one !== key));

/** What is known of a journal beside itself. */
const forgotten = ({ groupStates, lostRegions }: CatalogState, journal: string): Pick<CatalogState, 'groupStates' | 'lostRegions'> => ({
  groupStates: without(groupStates, journal),
  lostRegions: without(lostRegions, journal),
});

/** Ended jobs beyond the last JOBS_KEPT are forgotten; those still open never. */
function forgetOldest(jobs: Map<string, JobRecord>): Map<string, JobRecord> {
  let surplus = jobs.size - JOBS_KEPT;
  for (const [id, job] of jobs) {
    if (surplus <= 0) break;
    if (job.ended === null) continue;
    jobs.delete(id);
    surplus--;
  }
  return jobs;
}

export type Catalog = FoldedLog<CatalogState, CatalogEntry>;

export const openCatalogLog = (store: ObjectStore, key: SealingKey, random: Environment['random']): LogPort<CatalogEntry> =>
  createLog<CatalogEntry>({ store, sealing: key, nameOf: logName, entrySchema: catalogEntrySchema, kinds: KINDS, random });

export function openCatalog(store: ObjectStore, key: SealingKey, environment: Environment): Catalog {
  const log = openCatalogLog(store, key, environment.random);
  return createFoldedLog<CatalogState, CatalogEntry>(
    log,
    { of: 'the catalog', empty: EMPTY, refusal, apply: (state, entry, { timeMs }) => apply(state, entry, timeMs) },
    environment,
  );
}

export function findVolume(state: CatalogState, volume: VolumeName): VolumeRecord {
  const found = state.volumes.get(volume);
  if (!found) throw new HoldfastError('VOLUME_NOT_FOUND', `no volume ${volume}`, { volume });
  return found;
}

export function findStore(state: CatalogState, store: StoreName): StoreRecord {
  const found = state.stores.get(store);
  if (!found) throw new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });
  return found;
}

/** The compression of a store, as the catalog was checked to say it. */
export const codecOf = (state: CatalogState, store: StoreName): Codec => (state.stores.get(store)?.codec ?? 'zstd-1') as Codec;

/** The state as a person or a mirror keeps it. */
export const printableCatalog = (state: CatalogState) => ({
  n: state.n,
  stores: [...state.stores.values()],
  volumes: [...state.volumes.values()],
  repositories: [...state.repositories],
  receivers: [...state.receivers.values()],
  policies: [...state.policies.values()],
  replicated: [...state.replicated.values()],
  tokens: [...state.tokens.values()],
  tables: [...state.tables.values()],
  archives: [...state.archives],
  events: state.events,
  triggers: [...state.triggers.values()],
  protections: [...state.protections.values()],
  points: [...state.points.values()].flatMap((names) => [...names.values()]),
  streams: [...state.streams.values()],
  lostRegions: [...state.lostRegions].flatMap(([journal, regions]) =>
    [...regions].map((region) => ({ journal, region: region as StoreName })),
  ),
  journals: [...state.journals],
});

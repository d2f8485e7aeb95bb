/**
 * The events of the catalog's log: keyed by the lineage of the volume that an entry names, by its table, else by its store or receiver.
 *
 * The catalog holds no secret, but it is sealed and a topic is not: references to secrets, digests of tokens and the files of certificates
 * stay there. What a job was begun with goes out without members that are named like a secret.
 */
import { z } from 'zod';
import { lineageOf, type VolumeName } from '../../domain/ids.ts';
import { catalogEntrySchema, storeRecord, type CatalogEntry } from '../catalog/catalog.ts';
import { eventsRecord } from '../catalog/events.ts';
import { receiverRecord } from '../catalog/receivers.ts';
import { kafkaSource, tableDefinition } from '../catalog/tables.ts';
import { tokenRecord } from '../replication/tokens.ts';
import { createEventMapper, whole, type EventData, type EventMapper } from './event-kinds.ts';

type Kind = CatalogEntry['kind'];
const shapes = new Map(catalogEntrySchema.options.map(({ shape }) => [shape.kind.value, shape]));
const wholly = (kind: Kind): z.ZodType<object> => whole(shapes.get(kind) ?? {});

const { credentials: _, passphrase: __, ...publicStore } = storeRecord.shape;
const store = z.object({ store: z.object(publicStore) });

const { name, url, bytesPerSecondMax } = receiverRecord.shape;
const receiver = z.object({ receiver: z.object({ name, url, bytesPerSecondMax }) });

const { digest: ___, certificate: ____, ...publicToken } = tokenRecord.shape;

const { brokers, topics, transactions, heartbeats } = kafkaSource.shape;
const table = z.object({
  table: z.object({ ...tableDefinition.shape, source: z.object({ brokers, topics, transactions, heartbeats }) }),
});

const { topic, partitions, generation, cluster } = eventsRecord.shape;
const events = z.object({
  events: z.object({ topic, partitions, generation, cluster: z.object({ brokers: cluster.shape.brokers }) }),
});

const SECRET = /pass(word|phrase)|secret|token|credential|key$/i;

/** Plain values, lists and objects, without members that are named like a secret. */
function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([member]) => !SECRET.test(member))
      .map(([member, inner]) => [member, withoutSecrets(inner)]),
  );
}
const jobInput = z.unknown().transform(withoutSecrets);

export const CATALOG_EVENTS: EventData<Kind> = {
  STORE_ADD: store,
  STORE_SET: store,
  STORE_REMOVE: wholly('STORE_REMOVE'),
  VOLUME_ADD: wholly('VOLUME_ADD'),
  VOLUME_SET: wholly('VOLUME_SET'),
  VOLUME_RETIRE: wholly('VOLUME_RETIRE'),
  REPOSITORY_SEEN: wholly('REPOSITORY_SEEN'),
  RECEIVER_ADD: receiver,
  RECEIVER_SET: receiver,
  RECEIVER_REMOVE: wholly('RECEIVER_REMOVE'),
  REPLICATE_SET: wholly('REPLICATE_SET'),
  REPLICATE_REMOVE: wholly('REPLICATE_REMOVE'),
  REPLICATED: wholly('REPLICATED'),
  TOKEN_ADD: z.object({ token: z.object(publicToken) }),
  TOKEN_REMOVE: wholly('TOKEN_REMOVE'),
  TABLE_ADD: table,
  TABLE_SET: table,
  TABLE_REMOVE: wholly('TABLE_REMOVE'),
  ARCHIVE_SEEN: wholly('ARCHIVE_SEEN'),
  JOURNAL_SEEN: wholly('JOURNAL_SEEN'),
  EVENTS_SET: events,
  EVENTS_REMOVE: wholly('EVENTS_REMOVE'),
  TRIGGER_ADD: wholly('TRIGGER_ADD'),
  TRIGGER_REMOVE: wholly('TRIGGER_REMOVE'),
  PROTECTION_SET: wholly('PROTECTION_SET'),
  PROTECTION_MOVED: wholly('PROTECTION_MOVED'),
  PROTECTION_TESTED: wholly('PROTECTION_TESTED'),
  PROTECTION_STATE: wholly('PROTECTION_STATE'),
  REGION_LOST: wholly('REGION_LOST'),
  REGION_BACK: wholly('REGION_BACK'),
  PROTECTION_REMOVE: wholly('PROTECTION_REMOVE'),
  POINT_NAMED: wholly('POINT_NAMED'),
  STREAM_SET: wholly('STREAM_SET'),
  STREAM_REMOVE: wholly('STREAM_REMOVE'),
  JOB_BEGIN: z.object({ id: z.string(), job: z.string(), input: jobInput }),
  JOB_END: wholly('JOB_END'),
};

const CATALOG_SOURCE = '/holdfast/catalog';
/** Of what concerns nothing that has a name: the catalog itself. */
const CATALOG_KEY = 'catalog';

/** What a job's input may name. */
const named = z.object({
  volume: z.string().optional(),
  disk: z.string().optional(),
  table: z.string().optional(),
  journal: z.string().optional(),
  name: z.string().optional(),
  store: z.string().optional(),
  repository: z.string().optional(),
});

/** From the catalog's first record on: an entry names a volume, and only those before it say which life of it that is. */
export function mapCatalog(logId: string): EventMapper<CatalogEntry> {
  const incarnations = new Map<string, number>();
  /** Of jobs that have not ended. */
  const jobs = new Map<string, string>();
  const tokens = new Map<string, string>();
  const lineageKey = (volume: string): string => {
    const incarnation = incarnations.get(volume);
    return incarnation === undefined ? volume : lineageOf(volume as VolumeName, incarnation);
  };

  const keyOfInput = (input: unknown): string => {
    const { volume, disk, table: ofTable, journal, name: ofName, store: ofStore, repository } = named.safeParse(input).data ?? {};
    if (volume !== undefined) return lineageKey(volume);
    if (disk !== undefined && incarnations.has(disk)) return lineageKey(disk);
    if (ofTable !== undefined) return ofTable;
    if (journal !== undefined) return journal;
    if (ofStore !== undefined) return repository === undefined ? ofStore : `${ofStore}/${repository}`;
    return ofName ?? CATALOG_KEY;
  };

  const keyOf = (entry: CatalogEntry): string => {
    switch (entry.kind) {
      case 'STORE_ADD':
      case 'STORE_SET':
        return entry.store.name;
      case 'VOLUME_ADD':
      case 'VOLUME_SET':
        incarnations.set(entry.volume.name, entry.volume.incarnation);
        return lineageKey(entry.volume.name);
      case 'VOLUME_RETIRE':
        return lineageKey(entry.name);
      case 'REPOSITORY_SEEN':
        return `${entry.store}/${entry.repository}`;
      case 'RECEIVER_ADD':
      case 'RECEIVER_SET':
        return entry.receiver.name;
      case 'REPLICATE_SET':
        return lineageKey(entry.policy.volume);
      case 'REPLICATE_REMOVE':
      case 'REPLICATED':
        return lineageKey(entry.volume);
      case 'TOKEN_ADD':
        tokens.set(entry.token.id, entry.token.store);
        return entry.token.store;
      case 'TOKEN_REMOVE':
        return tokens.get(entry.id) ?? CATALOG_KEY;
      case 'TABLE_ADD':
      case 'TABLE_SET':
        return entry.table.name;
      case 'ARCHIVE_SEEN':
        return entry.table;
      case 'STORE_REMOVE':
      case 'RECEIVER_REMOVE':
      case 'TABLE_REMOVE':
        return entry.name;
      case 'PROTECTION_SET':
        return entry.protection.journal;
      case 'PROTECTION_MOVED':
      case 'PROTECTION_TESTED':
      case 'PROTECTION_STATE':
      case 'REGION_LOST':
      case 'REGION_BACK':
      case 'PROTECTION_REMOVE':
      case 'POINT_NAMED':
      case 'JOURNAL_SEEN':
      case 'STREAM_REMOVE':
        return entry.journal;
      case 'STREAM_SET':
        return entry.stream.journal;
      case 'EVENTS_SET':
      case 'EVENTS_REMOVE':
      case 'TRIGGER_ADD':
      case 'TRIGGER_REMOVE':
        return CATALOG_KEY;
      case 'JOB_BEGIN': {
        const key = keyOfInput(entry.input);
        jobs.set(entry.id, key);
        return key;
      }
      case 'JOB_END': {
        const key = jobs.get(entry.id) ?? CATALOG_KEY;
        jobs.delete(entry.id);
        return key;
      }
    }
  };
  return createEventMapper({ logId, source: CATALOG_SOURCE, family: 'catalog' }, CATALOG_EVENTS, keyOf);
}

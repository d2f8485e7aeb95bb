/**
 * The logs of an installation, each as a source of events: the catalog's, and those of the repositories, table archives and journals that the
 * catalog has seen. Read record by record, in windows; nothing is ever written to them here.
 */
import { isHoldfastError, HoldfastError } from '../../domain/errors.ts';
import type { Lineage, RepositoryName, SnapshotId, StoreName } from '../../domain/ids.ts';
import { SYNC_WINDOW } from '../../domain/limits.ts';
import { findStore, openCatalogLog, type CatalogEntry, type CatalogState } from '../../engine/catalog/catalog.ts';
import { repositoryPrefix, type Home } from '../../engine/catalog/home.ts';
import { journalOfKey } from '../../engine/catalog/journals.ts';
import { mapCatalog } from '../../engine/events/catalog-events.ts';
import type { CloudEvent } from '../../engine/events/cloud-event.ts';
import type { EventMapper } from '../../engine/events/event-kinds.ts';
import type { LogPosition } from '../../engine/events/position.ts';
import { mapJournal } from '../../engine/events/journal-events.ts';
import { mapRepository } from '../../engine/events/repository-events.ts';
import { mapTable } from '../../engine/events/table-events.ts';
import { JOURNAL_ENTRY_KINDS, journalEntrySchema, type JournalEntry } from '../../engine/journal/entries.ts';
import { journalPrefix } from '../../engine/journal/object-names.ts';
import { createLog, type LogPort, type StoredRecord } from '../../engine/log/log.ts';
import { checkpoints, readCheckpointLedger } from '../../engine/repository/checkpoint.ts';
import type { Entry } from '../../engine/repository/entries.ts';
import { openLog } from '../../engine/repository/follower.ts';
import { openRepositoryFormat } from '../../engine/repository/format.ts';
import { logName } from '../../engine/repository/object-names.ts';
import { tablePrefix } from '../../engine/catalog/tables.ts';
import { TABLE_ENTRY_KINDS, tableEntrySchema, type TableEntry } from '../../engine/tables/archive/entries.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { within } from '../../ground/stores/within.ts';

/** A record with its events; `events` is to be called once for each record, in the order of the log. */
export interface EventRecord {
  readonly seq: number;
  readonly digest: string;
  readonly previous: string;
  readonly timeMs: number;
  events(): readonly CloudEvent[];
}

export interface EventReader {
  /** Up to `count` records from `seq` on; fewer at the head. */
  read(seq: number, count: number): Promise<readonly EventRecord[]>;
}

export interface EventLog {
  /** As its store's header has it. */
  readonly id: string;
  /** As people see it: `catalog`, `<store>/<repository>`, `<store>/tables/<table>`, `<store>/journals/<journal>`. */
  readonly name: string;
  /** Opened behind a position. LOG_DIVERGED when the log is not the one that it was taken of. */
  openAt(position: LogPosition): Promise<EventReader>;
  /** The newest record's number, found from one that is known to be there (or 0). */
  head(known: number): Promise<number>;
  /** When a record was written; null: there is none of that number. */
  writtenMs(seq: number): Promise<number | null>;
}

interface OpenedLog<Of> {
  readonly store: ObjectStore;
  readonly log: LogPort<Of>;
  /** A mapper that knows the first n records. */
  mapperAt(n: number): Promise<EventMapper<Of>>;
}

export const BEGINNING: LogPosition = { n: 0, head: '' };

export function listEventLogs(home: Home, state: CatalogState): readonly EventLog[] {
  const catalog = eventLog(home.catalogPlace.id, 'catalog', () => Promise.resolve(openCatalog(home)));
  const repositories = [...state.repositories].map(([key, id]) => {
    const [store = '', repository = ''] = split(key);
    return eventLog(id, key, () => openRepository(home, store as StoreName, repository as RepositoryName, id));
  });
  const tables = [...state.archives].map(([key, id]) => {
    const [store = '', table = ''] = split(key);
    return eventLog(id, `${store}/tables/${table}`, () => openTable(home, store as StoreName, table, id));
  });
  const journals = [...state.journals].map(([key, id]) => {
    const { store, journal } = journalOfKey(key);
    return eventLog(id, `${store}/journals/${journal}`, () => openJournal(home, store, journal, id));
  });
  return [catalog, ...repositories, ...tables, ...journals];
}

const split = (key: string): readonly string[] => [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)];

function eventLog<Of>(id: string, name: string, open: () => Promise<OpenedLog<Of>>): EventLog {
  let opened: Promise<OpenedLog<Of>> | null = null;
  const held = (): Promise<OpenedLog<Of>> =>
    (opened ??= open().catch((error: unknown) => {
      opened = null;
      throw error;
    }));
  return {
    id,
    name,
    async openAt({ n, head }) {
      const { log, mapperAt } = await held();
      if (n > 0 && (await log.read(n))?.digest !== head)
        throw new HoldfastError('LOG_DIVERGED', `the log of ${name} is not the one whose first ${n} records were sent as events`, {
          seq: n,
        });
      const mapper = await mapperAt(n);
      return {
        read: async (seq, count) => {
          const records = await Promise.all(Array.from({ length: count }, (_, i) => log.read(seq + i)));
          const end = records.indexOf(null);
          const there = (end < 0 ? records : records.slice(0, end)).filter((record) => record !== null);
          return there.map((record) => eventRecord(record, mapper));
        },
      };
    },
    head: async (known) => headOf((await held()).store, known),
    writtenMs: async (seq) => (await (await held()).log.read(seq))?.timeMs ?? null,
  };
}

const eventRecord = <Of>(record: StoredRecord<Of>, mapper: EventMapper<Of>): EventRecord => {
  const { seq, digest, previous, timeMs } = record;
  return { seq, digest, previous, timeMs, events: () => mapper.next(record) };
};

/** Doubling, then halving: records have no gaps. */
async function headOf(store: ObjectStore, known: number): Promise<number> {
  const isThere = async (n: number): Promise<boolean> => (await store.head(logName(n))) !== null;
  let low = known;
  let step = 1;
  while (await isThere(low + step)) {
    low += step;
    step *= 2;
  }
  for (let high = low + step; high - low > 1;) {
    const middle = Math.floor((low + high) / 2);
    if (await isThere(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Tells a mapper of records that were sent already, so that it knows what they say. */
async function tell<Of>(log: LogPort<Of>, mapper: EventMapper<Of>, from: number, to: number): Promise<void> {
  for (let at = from; at <= to; at += SYNC_WINDOW) {
    const count = Math.min(SYNC_WINDOW, to - at + 1);
    for (const record of await Promise.all(Array.from({ length: count }, (_, i) => log.read(at + i)))) {
      if (record === null) throw new HoldfastError('OBJECT_MISSING', 'a record below the head of a log is not there', { from, to });
      mapper.next(record);
    }
  }
}

function openCatalog({ catalogPlace, environment }: Home): OpenedLog<CatalogEntry> {
  const { id, store, key } = catalogPlace;
  const log = openCatalogLog(store, key, environment.random);
  return {
    ...{ store, log },
    async mapperAt(n) {
      const mapper = mapCatalog(id);
      await tell(log, mapper, 1, n);
      return mapper;
    },
  };
}

async function unlock(home: Home, store: StoreName, prefix: string, id: string): Promise<{ store: ObjectStore; key: SealingKey }> {
  const inside = within(await home.store(store), prefix);
  const { passphrase } = findStore(home.catalog.known(), store);
  const { key } = await openRepositoryFormat(inside, await resolvePassphrase(passphrase, home.variables), id);
  return { store: inside, key };
}

async function openRepository(home: Home, storeName: StoreName, repository: RepositoryName, id: string): Promise<OpenedLog<Entry>> {
  const { store, key } = await unlock(home, storeName, repositoryPrefix(repository), id);
  const log = openLog(store, key, home.environment.random);
  return {
    ...{ store, log },
    async mapperAt(n) {
      const { live, from } = await liveBefore(store, key, n);
      const mapper = mapRepository({ logId: id, store: storeName, repository }, live);
      await tell(log, mapper, from + 1, n);
      return mapper;
    },
  };
}

/** The live snapshots of the newest checkpoint that is no newer than n, and its number. */
async function liveBefore(store: ObjectStore, key: SealingKey, n: number): Promise<{ live: Map<SnapshotId, Lineage>; from: number }> {
  for await (const checkpoint of checkpoints(store, key)) {
    if (checkpoint.n > n) continue;
    try {
      const { snapshots } = await readCheckpointLedger(store, key, checkpoint);
      return { live: new Map([...snapshots].map(([snapshot, { lineage }]) => [snapshot, lineage])), from: checkpoint.n };
    } catch (error) {
      if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) throw error;
    }
  }
  return { live: new Map(), from: 0 };
}

async function openTable(home: Home, storeName: StoreName, table: string, id: string): Promise<OpenedLog<TableEntry>> {
  const { store, key } = await unlock(home, storeName, tablePrefix(table), id);
  const { random } = home.environment;
  const log = createLog<TableEntry>({
    ...{ store, sealing: key, nameOf: logName, entrySchema: tableEntrySchema, kinds: TABLE_ENTRY_KINDS, random },
  });
  return { store, log, mapperAt: () => Promise.resolve(mapTable({ logId: id, store: storeName, table })) };
}

async function openJournal(home: Home, storeName: StoreName, journal: string, id: string): Promise<OpenedLog<JournalEntry>> {
  const { store, key } = await unlock(home, storeName, journalPrefix(journal), id);
  const { random } = home.environment;
  const log = createLog<JournalEntry>({
    ...{ store, sealing: key, nameOf: logName, entrySchema: journalEntrySchema, kinds: JOURNAL_ENTRY_KINDS, random },
  });
  return { store, log, mapperAt: () => Promise.resolve(mapJournal({ logId: id, store: storeName, journal })) };
}

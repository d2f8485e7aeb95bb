/** The product's archivers of the three tables, each with an archive of its own, which is read through another view of the same store. */
import type { Kafka } from 'kafkajs';
import { kafkaSource } from '../../../src/engine/catalog/tables.ts';
import { claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import type { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import { makeSnapshot } from '../../../src/engine/tables/past-state/snapshot.ts';
import { windowOf } from '../../../src/engine/tables/past-state/window.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { archiveTopics } from '../../../src/systems/tables/archiving/archiver.ts';
import { createMemoryStore } from '../../engine/memory-store.ts';
import { KEY } from '../../engine/repository/world.ts';
import { environmentOf } from '../../systems/installation.ts';
import { PARTITIONS, PREFIX, PULSE, TABLES, topicOf, type TableName } from './shop.ts';

export const partitionIds = (table: TableName): readonly string[] =>
  Array.from({ length: PARTITIONS[table] }, (_, n) => `${topicOf(table)}/${n}`);

export interface ArchivedTable {
  readonly table: TableName;
  /** For reading. */
  readonly archive: TableArchive;
  /** A partition snapshot of each partition: bases for past states after it. */
  makeBases(duck: Duck): Promise<void>;
  /** Another archiver takes the archive over; the one before it finds out. */
  takeOver(): Promise<void>;
  /** LATEST, as it is now; 0 where there is none yet. */
  latestUs(): Promise<number>;
  stop(): Promise<void>;
}

async function openArchive(store: ObjectStore): Promise<TableArchive> {
  const archive = openTableArchive({ store, key: KEY, environment: environmentOf('chain', () => undefined) });
  await archive.sync();
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  return archive;
}

interface Archiver {
  stop(): Promise<void>;
  /** Settles as it does. */
  readonly done: Promise<unknown>;
}

async function startArchiver(table: TableName, store: ObjectStore, kafka: Kafka, brokers: readonly string[]): Promise<Archiver> {
  const archive = await openArchive(store);
  const epoch = await claimRole(archive, 'archive');
  const source = kafkaSource.parse({
    ...{ brokers, tls: null, sasl: null, topics: [topicOf(table)] },
    ...{ transactions: `${PREFIX}.transaction`, heartbeats: [topicOf(PULSE)] },
  });
  const stopping = new AbortController();
  const done = archiveTopics({ archive, epoch, source, kafka, signal: stopping.signal });
  done.catch(() => undefined);
  return {
    done,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

export async function startArchivers(kafka: () => Promise<Kafka>, brokers: readonly string[]): Promise<readonly ArchivedTable[]> {
  const started: ArchivedTable[] = [];
  for (const table of TABLES) {
    const store = createMemoryStore();
    let archiver = await startArchiver(table, store, await kafka(), brokers);
    const archive = await openArchive(store);
    const snapshots = await claimRole(archive, 'snapshots');
    started.push({
      ...{ table, archive },
      async makeBases(duck) {
        await archive.sync();
        for (const id of partitionIds(table)) await makeSnapshot(archive, duck, snapshots, id);
      },
      async takeOver() {
        const before = archiver;
        archiver = await startArchiver(table, store, await kafka(), brokers);
        const lost: unknown = await before.done.catch((error: unknown) => error);
        if (!(lost instanceof Error && 'code' in lost && lost.code === 'CLAIM_LOST'))
          throw new Error('two archivers at once', { cause: lost });
      },
      async latestUs() {
        await archive.sync();
        return windowOf(archive.known()).latestUs ?? 0;
      },
      stop: () => archiver.stop(),
    });
  }
  return started;
}

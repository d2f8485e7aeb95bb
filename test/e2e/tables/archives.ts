/** Archives of the three tables that are fed from topics as an archiver feeds them: batches, taken over now and then, with bases in between. */
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { createBatch } from '../../../src/engine/tables/archive/batch.ts';
import type { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import { makeSnapshot } from '../../../src/engine/tables/past-state/snapshot.ts';
import { createMemoryStore } from '../../engine/memory-store.ts';
import { environment, KEY } from '../../engine/repository/world.ts';
import { PARTITIONS, TABLES, topicOf, type TableName } from './shop.ts';
import type { TopicReader } from './topics.ts';

export interface Fed {
  readonly table: TableName;
  readonly archive: TableArchive;
  epoch: number;
  readonly snapshots: number;
}

const FORM = { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT } as const;
export const partitionIds = (table: TableName): readonly string[] =>
  Array.from({ length: PARTITIONS[table] }, (_, n) => `${topicOf(table)}/${n}`);

export async function openArchives(): Promise<readonly Fed[]> {
  const fed: Fed[] = [];
  for (const table of TABLES) {
    const archive = openTableArchive({ store: createMemoryStore(), key: KEY, environment, checkpointRecords: 50 });
    await archive.sync();
    await ensureForm(archive, FORM);
    await addPartitions(archive, partitionIds(table));
    fed.push({ table, archive, epoch: await claimRole(archive, 'archive'), snapshots: await claimRole(archive, 'snapshots') });
  }
  return fed;
}

/** Archives what was read since. */
export async function feed({ table, archive, epoch }: Fed, duck: Duck, topics: TopicReader): Promise<void> {
  const batch = createBatch(archive.known(), createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT }));
  partitionIds(table).forEach((id, partition) => {
    const next = archive.known().partitions.get(id)?.next ?? 0;
    for (const record of topics.records(topicOf(table), partition)) {
      if (batch.full()) break;
      if (record.offset >= next) batch.add(id, record, { kind: 'lost', end: 0 });
    }
  });
  await archiveBatch(archive, duck, epoch, batch.seal());
}

/** A partition snapshot of each partition: bases for past states after it. */
export async function makeBases({ table, archive, snapshots }: Fed, duck: Duck): Promise<void> {
  for (const id of partitionIds(table)) await makeSnapshot(archive, duck, snapshots, id);
}

/** The consumer's word that all of it was read up to where the source is known to be past a stamp. */
export async function sayThrough({ archive, epoch }: Fed, throughUs: number): Promise<void> {
  const parts = [...archive.known().partitions.values()].map(({ id, next }) => ({ partition: id, next, throughUs }));
  await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
}

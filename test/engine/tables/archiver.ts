/** An archiver of the model's topic, by the dice: batches of any size, restarts, records that come again, snapshots of partitions. */
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { createBatch, type SealedBatch } from '../../../src/engine/tables/archive/batch.ts';
import type { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { environment, KEY } from '../repository/world.ts';
import type { Random, Source } from './source-model.ts';

export const idOf = (partition: number): string => `shop.public.orders/${partition}`;
const CAUSE = { kind: 'lost', end: 0 } as const;

export interface Archiver {
  readonly archive: TableArchive;
  epoch: number;
}

export async function openArchiver(store: ObjectStore, source: Source): Promise<Archiver> {
  const archive = openTableArchive({ store, key: KEY, environment, checkpointRecords: 5 });
  await archive.sync();
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  await addPartitions(
    archive,
    source.topic.map((_, partition) => idOf(partition)),
  );
  return { archive, epoch: await claimRole(archive, 'archive') };
}

/** The next batch: of some partitions some records, and a few of those that were archived already. */
export function nextBatch({ archive }: Archiver, source: Source, random: Random, all = false): SealedBatch {
  const state = archive.known();
  const batch = createBatch(state, createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT }));
  source.topic.forEach((records, partition) => {
    const next = state.partitions.get(idOf(partition))?.next ?? 0;
    const from = Math.max(0, next - Math.floor(random() * 3));
    const to = all ? records.length : next + Math.floor(random() * (records.length - next + 1));
    for (const record of records.slice(from, to)) batch.add(idOf(partition), record, CAUSE);
  });
  return batch.seal();
}

export const archiveSome = async (archiver: Archiver, duck: Duck, source: Source, random: Random, all = false): Promise<void> =>
  void (await archiveBatch(archiver.archive, duck, archiver.epoch, nextBatch(archiver, source, random, all)));

/** The word of a consumer about partitions that it has read to their end: behind the source by more than its clock ever steps back. */
export async function cautiousHeartbeat({ archive, epoch }: Archiver, source: Source): Promise<void> {
  const throughUs = source.latestUs() - 60_000;
  const parts = [...archive.known().partitions.values()]
    .filter(({ number, next }) => next === source.topic[number]?.length)
    .map(({ id, next }) => ({ partition: id, next, throughUs }));
  if (parts.length > 0) await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
}

/** The word of a consumer that has read everything of a source that has stopped. */
export async function heartbeat({ archive, epoch }: Archiver, source: Source): Promise<void> {
  const parts = [...archive.known().partitions.values()].map(({ id, next }) => ({ partition: id, next, throughUs: source.latestUs() }));
  await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
}

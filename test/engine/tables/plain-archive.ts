/** An archive of plain keyed JSON in memory, for tests that say record by record what comes. */
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { createBatch, type GapCause } from '../../../src/engine/tables/archive/batch.ts';
import type { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import type { TableRecord } from '../../../src/engine/tables/events/event.ts';
import { createPlainDecoder } from '../../../src/engine/tables/events/plain.ts';
import { environment, KEY } from '../repository/world.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';

export interface PlainArchive {
  readonly archive: TableArchive;
  readonly store: MemoryStore;
  readonly epoch: number;
  /** Archives one batch. */
  put(duck: Duck, partition: string, records: readonly TableRecord[], cause?: GapCause): Promise<void>;
}

/** A row of key `k`, of the broker's time `timeMs`; no value deletes. */
export const plain = (offset: number, timeMs: number, k: unknown, value: unknown): TableRecord => ({
  offset,
  timeMs,
  key: k === null ? null : Buffer.from(JSON.stringify(k)),
  value: value === null ? null : Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value)),
});

export async function openPlain(partitions: readonly string[], store = createMemoryStore()): Promise<PlainArchive> {
  const archive = openTableArchive({ store, key: KEY, environment });
  await ensureForm(archive, { form: 'plain', key: 'json', time: 'record' });
  await addPartitions(archive, partitions);
  const epoch = await claimRole(archive, 'archive');
  return {
    archive,
    store,
    epoch,
    async put(duck, partition, records, cause = { kind: 'lost', end: 0 }) {
      const batch = createBatch(archive.known(), createPlainDecoder({ key: 'json', time: 'record' }));
      for (const record of records) batch.add(partition, record, cause);
      await archiveBatch(archive, duck, epoch, batch.seal());
    },
  };
}

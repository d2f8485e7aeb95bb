/**
 * An archiver and a keeper of one table as the worker of tables runs them, in a process of its own so that its memory can be told, without Temporal.
 * Arguments: a store's folder, the broker, the topic. Says ten times a second how far it is.
 */
import { createFileStore } from '../src/ground/stores/file-store.ts';
import { kafkaSource } from '../src/engine/catalog/tables.ts';
import { claimRole, ensureForm, openTableArchive } from '../src/engine/tables/archive/archive.ts';
import { PLACEHOLDER_DEFAULT } from '../src/engine/tables/events/debezium.ts';
import { windowOf } from '../src/engine/tables/past-state/window.ts';
import { createKafka } from '../src/ground/kafka/kafka-cluster.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { archiveTopics } from '../src/systems/tables/archiving/archiver.ts';
import { keepArchive } from '../src/systems/tables/keeping.ts';
import { environment } from './tables-archive.ts';

export interface ArchiverReport {
  readonly atMs: number;
  readonly records: number;
  readonly latestUs: number | null;
  readonly batches: number;
}

tightenAllocator();
const [, , root = '', broker = '', topic = ''] = process.argv;
const key = { dataKey: Buffer.alloc(32, 1), repositoryId: Buffer.alloc(16, 2) };
const archive = openTableArchive({ store: createFileStore({ root }), key, environment });
await archive.sync();
await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
const source = kafkaSource.parse({ brokers: [broker], tls: null, sasl: null, topics: [topic], transactions: null, heartbeats: [] });
const table = { source, snapshots: { bytes: 64 << 20, changed: null, ageMs: null }, retainMs: null };
const stopping = new AbortController();
const { signal } = stopping;
const parts = { archive, signal };
const client = (what: string) => createKafka(source, { clientId: what, variables: {}, retries: 1 });
const roles = { archive: await claimRole(archive, 'archive'), snapshots: await claimRole(archive, 'snapshots') };
const timer = setInterval(() => {
  const state = archive.known();
  const records = [...state.partitions.values()].reduce((sum, { next }) => sum + next, 0);
  process.send?.({ atMs: Date.now(), records, latestUs: windowOf(state).latestUs, batches: state.n } satisfies ArchiverReport);
}, 100);
process.once('message', () => stopping.abort());
await Promise.all([
  archiveTopics({ ...parts, epoch: roles.archive, source, kafka: await client('archive') }),
  keepArchive({ ...parts, epoch: roles.snapshots, table, kafka: await client('keep'), requested: false }),
]);
clearInterval(timer);
process.disconnect();

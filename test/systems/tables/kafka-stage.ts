/** A broker of our own with topics, and archivers of tables over it, for tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin, Kafka, Producer } from 'kafkajs';
import { kafkaSource, type KafkaSource } from '../../../src/engine/catalog/tables.ts';
import { claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';
import type { TableForm } from '../../../src/engine/tables/archive/entries.ts';
import { buildPastState, type PastOutcome } from '../../../src/engine/tables/past-state/past-state.ts';
import { windowOf } from '../../../src/engine/tables/past-state/window.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { clusterOf } from '../../../src/ground/kafka/partition-reader.ts';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { stderrProgress } from '../../../src/faces/stack/progress.ts';
import { createKafka } from '../../../src/ground/kafka/kafka-cluster.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { archiveTopics, type ArchivingEvent } from '../../../src/systems/tables/archiving/archiver.ts';
import type { ArchivingFigures } from '../../../src/systems/tables/archiving/figures.ts';
import { KEY } from '../../engine/repository/world.ts';
import { environmentOf } from '../installation.ts';

export const PLAIN: TableForm = { form: 'plain', key: 'json', time: 'record' };

export interface KafkaStage extends AsyncDisposable {
  readonly folder: string;
  readonly brokers: readonly string[];
  readonly admin: Admin;
  readonly producer: Producer;
  kafka(): Promise<Kafka>;
  createTopic(topic: string, partitions: number, config?: Readonly<Record<string, string>>): Promise<void>;
  /** What retention does in its time: drops what lies below an offset. */
  dropBelow(topic: string, offset: number): Promise<void>;
  /** kill -9, and another broker on the same folder and port. */
  killBroker(): Promise<void>;
  restartBroker(): Promise<void>;
}

/** Its own, for scripts outside of the test runner raise a stage, too. */
const finder = { environment: readStackEnvironment(), progress: stderrProgress };

interface InnerCluster {
  readonly brokerPool: { readonly seedBroker: { deleteRecords(request: object): Promise<unknown> } };
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

export async function raiseKafka(): Promise<KafkaStage> {
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-archiving-'));
  const dir = path.join(folder, 'broker');
  let broker: RunningKafka = await startKafka({ dir }, finder);
  const { brokers } = broker;
  const kafka = () => createKafka({ brokers: [...brokers], tls: null, sasl: null }, { clientId: 'test', variables: {}, retries: 8 });
  const client = await kafka();
  const admin = client.admin();
  const producer = client.producer({ allowAutoTopicCreation: false });
  await Promise.all([admin.connect(), producer.connect()]);
  return {
    ...{ folder, brokers, admin, producer, kafka },
    async createTopic(topic, numPartitions, config = {}) {
      const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
      await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, configEntries }] });
    },
    // The admin's own deleteTopicRecords does not find its broker (kafkajs 2.2.4).
    async dropBelow(topic, offset) {
      // The reader needs less of it, and types no more than it needs.
      const cluster = clusterOf(client) as unknown as InnerCluster;
      await cluster.connect();
      await cluster.brokerPool.seedBroker.deleteRecords({ topics: [{ topic, partitions: [{ partition: 0, offset: String(offset) }] }] });
      await cluster.disconnect();
    },
    killBroker: () => broker.kill(),
    async restartBroker() {
      broker = await startKafka({ dir, port: Number(brokers[0]?.split(':')[1]) }, finder);
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([admin.disconnect(), producer.disconnect()]);
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const sourceOf = (stage: KafkaStage, ...topics: readonly string[]): KafkaSource =>
  kafkaSource.parse({ brokers: stage.brokers, tls: null, sasl: null, topics, transactions: null, heartbeats: [] });

export interface Running {
  readonly archive: TableArchive;
  readonly events: ArchivingEvent[];
  /** Settles as the archiver does. */
  readonly done: Promise<ArchivingFigures>;
  stop(): Promise<ArchivingFigures>;
}

export async function openArchive(store: ObjectStore, form: TableForm = PLAIN): Promise<TableArchive> {
  const archive = openTableArchive({ store, key: KEY, environment: environmentOf('archiver', () => undefined) });
  await archive.sync();
  await ensureForm(archive, form);
  return archive;
}

export async function startArchiver(stage: KafkaStage, store: ObjectStore, source: KafkaSource, form: TableForm = PLAIN): Promise<Running> {
  const archive = await openArchive(store, form);
  const epoch = await claimRole(archive, 'archive');
  const stopping = new AbortController();
  const events: ArchivingEvent[] = [];
  const { signal } = stopping;
  const done = archiveTopics({ archive, epoch, source, kafka: await stage.kafka(), signal, onEvent: (event) => void events.push(event) });
  done.catch(() => undefined);
  return {
    ...{ archive, events, done },
    stop() {
      stopping.abort();
      return done;
    },
  };
}

/** Waits until it holds; what `of` says when it does not. */
export async function until(holds: () => boolean | Promise<boolean>, of: () => unknown = () => '', withinMs = 45_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it did not come to hold: ${JSON.stringify(await of())}`);
    await sleep(50);
  }
}

export const nextOf = (archive: TableArchive, id: string): number => archive.known().partitions.get(id)?.next ?? -1;
export const latestMs = (archive: TableArchive): number => (windowOf(archive.known()).latestUs ?? 0) / 1000;

/** Past state at a time as `key -> row`, and its outcome. */
export async function rowsAt(
  archive: TableArchive,
  us: number,
): Promise<{ readonly outcome: PastOutcome; readonly rows: ReadonlyMap<string, Readonly<Record<string, unknown>>> }> {
  await archive.sync();
  await using duck = await Duck.open({ memoryBytes: 256 << 20, threads: 1 });
  const outcome = await buildPastState(archive, duck, { kind: 'time', us });
  const rows = new Map<string, Record<string, unknown>>();
  if (outcome.kind === 'built')
    for (const { number, name } of outcome.columns)
      for (const [key, text] of await duck.rows(`SELECT _key, c${number} FROM past`)) {
        const row = rows.get(String(key)) ?? {};
        if (text !== null) row[name] = JSON.parse(String(text)) as unknown;
        rows.set(String(key), row);
      }
  return { outcome, rows };
}

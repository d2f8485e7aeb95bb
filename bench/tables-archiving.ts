/**
 * Archiving from a real broker on the same two cores, by the job that a user starts in an installation as a user has one: how fast a full topic is caught up with,
 * then by how much LATEST is behind while events keep coming, and what memory the worker took.
 *
 * Events are Debezium's, of 500 bytes with their key, in four partitions.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer } from 'kafkajs';
import { MIB } from '../src/domain/limits.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import { tableDefinition } from '../src/engine/catalog/tables.ts';
import type { TableArchive } from '../src/engine/tables/archive/archive.ts';
import { PLACEHOLDER_DEFAULT } from '../src/engine/tables/events/debezium.ts';
import { windowOf } from '../src/engine/tables/past-state/window.ts';
import { readStackEnvironment } from '../src/faces/stack/environment.ts';
import { startKafka } from '../src/faces/stack/kafka.ts';
import { stderrProgress } from '../src/faces/stack/progress.ts';
import { createKafka } from '../src/ground/kafka/kafka-cluster.ts';
import { openTable } from '../src/systems/tables/opening.ts';
import { openInstallation } from './installation.ts';

const TOPIC = 'shop.public.orders';
const PARTITIONS = 4;
const KEYS = 200_000;
const SENT_AT_ONCE = 2000;
const EVENT_BYTES = 500;
/** Events a second that keep coming, and for how long. */
const STEADY = { perSecond: 5000, seconds: 15 };

const round = (n: number): number => Math.round(n * 1000) / 1000;

function eventOf(i: number, stampUs: number) {
  const id = (i * 7919) % KEYS;
  const key = `{"id":${id}}`;
  const lsn = 1_000_000 + i * 64;
  const value = (note: string): string =>
    `{"before":null,"after":{"id":${id},"customer":"customer ${i % 1000}","status":"paid","amount":"${i % 1000}.50","note":"${note}"},` +
    `"source":{"version":"3.4.0.Final","connector":"postgresql","name":"shop","ts_ms":${Math.floor(stampUs / 1000)},"snapshot":"false","db":"shop",` +
    `"sequence":"[\\"${lsn - 8}\\",\\"${lsn}\\"]","ts_us":${stampUs},"schema":"public","table":"orders","txId":${1000 + i},"lsn":${lsn},"xmin":null},` +
    `"op":"${i < KEYS ? 'c' : 'u'}","ts_ms":${Math.floor(stampUs / 1000)},"transaction":null}`;
  // Half of it says nothing new, as text does.
  const room = EVENT_BYTES - key.length - value('').length;
  const note = `${(i * 2_654_435_761).toString(36)} `.repeat(20).slice(0, Math.max(0, room));
  return { partition: id % PARTITIONS, key, value: value(note), bytes: key.length + value(note).length };
}

/** Sends events [from, from + count), stamped now. Returns their bytes. */
async function send(producer: Producer, from: number, count: number): Promise<number> {
  const stampUs = Date.now() * 1000;
  const messages = Array.from({ length: count }, (_, i) => eventOf(from + i, stampUs));
  await producer.send({ topic: TOPIC, acks: 1, messages: messages.map(({ partition, key, value }) => ({ partition, key, value })) });
  return messages.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** How far the archive is, as its log says. */
interface Look {
  readonly atMs: number;
  readonly records: number;
  readonly latestUs: number | null;
}

async function watch(home: Home, looks: Look[], signal: AbortSignal): Promise<void> {
  let archive: TableArchive | null = null;
  for (; !signal.aborted; await sleep(100)) {
    archive ??= await openTable(home, 'orders')
      .then((opened) => opened.archive)
      .catch(() => null);
    if (archive === null) continue;
    const state = await archive.sync();
    const records = [...state.partitions.values()].reduce((sum, { next }) => sum + next, 0);
    looks.push({ atMs: Date.now(), records, latestUs: windowOf(state).latestUs });
  }
}

export async function benchArchiving(work: string, events: number) {
  await using stack = new AsyncDisposableStack();
  const broker = stack.use(
    await startKafka({ dir: path.join(work, 'broker') }, { environment: readStackEnvironment(), progress: stderrProgress }),
  );
  const [address = ''] = broker.brokers;
  const kafka = await createKafka({ brokers: [address], tls: null, sasl: null }, { clientId: 'bench', variables: {} });
  const admin = kafka.admin();
  await admin.connect();
  stack.defer(() => admin.disconnect());
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: TOPIC, numPartitions: PARTITIONS }] });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  stack.defer(() => producer.disconnect());
  let bytes = 0;
  for (let i = 0; i < events; i += SENT_AT_ONCE) bytes += await send(producer, i, SENT_AT_ONCE);
  const installation = stack.use(await openInstallation(path.join(work, 'installation')));
  const { home } = installation;
  await installation.addStore('archive');
  const table = tableDefinition.parse({
    ...{ name: 'orders', store: 'archive', form: { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT }, retainMs: null },
    source: { brokers: [address], tls: null, sasl: null, topics: [TOPIC], transactions: null, heartbeats: [] },
    snapshots: { bytes: 64 * MIB, changed: null, ageMs: null },
  });
  await home.catalog.append(() => ({ kind: 'TABLE_ADD', table }));
  const worker = installation.startTables();
  await installation.start('archiveTable', { table: 'orders' });
  const looks: Look[] = [];
  const looking = new AbortController();
  const watching = watch(home, looks, looking.signal);
  stack.defer(async () => {
    looking.abort();
    await watching;
  });
  const caughtUp = async (records: number): Promise<void> => {
    while ((looks.at(-1)?.records ?? 0) < records) await sleep(50);
  };
  await caughtUp(events);
  // From its first batch on: before that it starts.
  const first = looks.find(({ records }) => records > 0);
  const last = looks.find(({ records }) => records >= events);
  const perSecond = ((last?.records ?? NaN) - (first?.records ?? NaN)) / (((last?.atMs ?? NaN) - (first?.atMs ?? NaN)) / 1000);
  const begunMs = Date.now();
  let sent = events;
  while (Date.now() - begunMs < STEADY.seconds * 1000) {
    const due = events + Math.floor(((Date.now() - begunMs) / 1000) * STEADY.perSecond);
    for (; sent < due; sent = Math.min(due, sent + SENT_AT_ONCE)) await send(producer, sent, Math.min(SENT_AT_ONCE, due - sent));
    await sleep(50);
  }
  const untilMs = Date.now();
  await caughtUp(sent);
  // The first seconds end what was caught up with.
  const lags = looks
    .filter(({ atMs }) => atMs > begunMs + 3000 && atMs < untilMs)
    .map(({ atMs, latestUs }) => atMs - (latestUs ?? 0) / 1000)
    .sort((a, b) => a - b);
  return {
    ...{ events, eventBytes: Math.round(bytes / events), perSecond: Math.round(perSecond), peakMib: worker.peakMib() },
    steady: {
      perSecond: STEADY.perSecond,
      lagMsMedian: Math.round(lags[lags.length >> 1] ?? NaN),
      lagMsMax: Math.round(lags.at(-1) ?? NaN),
    },
    seconds: round(((last?.atMs ?? NaN) - (first?.atMs ?? NaN)) / 1000),
  };
}

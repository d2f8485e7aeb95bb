/**
 * Archiving from a real broker on the same two cores: how fast a full topic is caught up with, then by how much LATEST is behind while events keep coming, and what
 * memory the archiver's process took.
 *
 * Events are Debezium's, of 500 bytes with their key, in four partitions.
 */
import { fork } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer } from 'kafkajs';
import { workerFlags } from '../src/faces/cli/worker-entry.ts';
import { readStackEnvironment } from '../src/faces/stack/environment.ts';
import { startKafka } from '../src/faces/stack/kafka.ts';
import { stderrProgress } from '../src/faces/stack/progress.ts';
import { createKafka } from '../src/ground/kafka/kafka-cluster.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import type { ArchiverReport } from './tables-archiver.ts';

const TOPIC = 'shop.public.orders';
const PARTITIONS = 4;
const KEYS = 200_000;
const SENT_AT_ONCE = 2000;
const EVENT_BYTES = 500;
/** Events a second that keep coming, and for how long. */
const STEADY = { perSecond: 5000, seconds: 15 };

const round = (n: number): number => Math.round(n * 1000) / 1000;
const peakMib = (pid: number): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? NaN) / 1024);

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
  const root = path.join(work, 'archive');
  mkdirSync(root, { recursive: true });
  await initialiseFileStore(root);
  const reports: ArchiverReport[] = [];
  const child = fork(path.join(import.meta.dirname, 'tables-archiver.ts'), [root, address, TOPIC], {
    stdio: 'inherit',
    execArgv: [...workerFlags('tables')],
  });
  child.on('message', (report) => void reports.push(report as ArchiverReport));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const caughtUp = async (records: number): Promise<void> => {
    while ((reports.at(-1)?.records ?? 0) < records) {
      if (child.exitCode !== null) throw new Error('the archiver has ended');
      await sleep(50);
    }
  };
  await caughtUp(events);
  // From its first batch on: before that it starts.
  const first = reports.find(({ records }) => records > 0);
  const last = reports.find(({ records }) => records >= events);
  const perSecond = ((last?.records ?? NaN) - (first?.records ?? NaN)) / (((last?.atMs ?? NaN) - (first?.atMs ?? NaN)) / 1000);
  const begunMs = Date.now();
  let sent = events;
  while (Date.now() - begunMs < STEADY.seconds * 1000) {
    const due = events + Math.floor(((Date.now() - begunMs) / 1000) * STEADY.perSecond);
    if (due > sent) await send(producer, sent, due - sent);
    sent = Math.max(sent, due);
    await sleep(50);
  }
  const untilMs = Date.now();
  await caughtUp(sent);
  // The first seconds end what was caught up with.
  const lags = reports
    .filter(({ atMs }) => atMs > begunMs + 3000 && atMs < untilMs)
    .map(({ atMs, latestUs }) => atMs - (latestUs ?? 0) / 1000)
    .sort((a, b) => a - b);
  const peak = peakMib(child.pid ?? 0);
  child.send('stop');
  await ended;
  return {
    ...{ events, eventBytes: Math.round(bytes / events), perSecond: Math.round(perSecond), peakMib: peak },
    steady: {
      perSecond: STEADY.perSecond,
      lagMsMedian: Math.round(lags[lags.length >> 1] ?? NaN),
      lagMsMax: Math.round(lags.at(-1) ?? NaN),
    },
    seconds: round(((last?.atMs ?? NaN) - (first?.atMs ?? NaN)) / 1000),
  };
}

/** A topic as a consumer of somebody else's would see it: all its records, in the order of each partition. */
import kafkajs from 'kafkajs';
import { randomUUID } from 'node:crypto';
import type { CloudEvent } from '../../../src/engine/events/cloud-event.ts';
import { createKafka, kafkaCluster, type KafkaCluster } from '../../../src/ground/kafka/kafka-cluster.ts';

export interface Seen {
  readonly partition: number;
  readonly key: string;
  readonly value: string;
  readonly contentType: string;
  readonly event: CloudEvent;
}

export const clusterOf = (brokers: readonly string[]): KafkaCluster => kafkaCluster.parse({ brokers, tls: null, sasl: null });

/** All that the topic holds now. */
export async function readTopic(brokers: readonly string[], topic: string): Promise<readonly Seen[]> {
  const kafka = await createKafka(clusterOf(brokers), { clientId: 'test', variables: {} });
  const admin = kafka.admin();
  await admin.connect();
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, Number(high)]));
  await admin.disconnect();
  const seen: Seen[] = [];
  /** A consumer that starts again is given what it was given before. */
  const next = new Map<number, number>();
  const open = new Set([...ends].filter(([, end]) => end > 0).map(([partition]) => partition));
  if (open.size === 0) return seen;
  const consumer = kafka.consumer({ groupId: `test-${randomUUID()}` });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) reject(payload.error);
    });
    void consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (Number(message.offset) < (next.get(partition) ?? 0)) return;
        next.set(partition, Number(message.offset) + 1);
        const value = message.value?.toString() ?? '';
        seen.push({
          ...{ partition, key: message.key?.toString() ?? '', value, contentType: String(message.headers?.['content-type'] ?? '') },
          event: JSON.parse(value) as CloudEvent,
        });
        if (Number(message.offset) + 1 >= (ends.get(partition) ?? 0)) open.delete(partition);
        if (open.size === 0) resolve();
      },
    });
  });
  await consumer.disconnect();
  return seen;
}

/** A record of somebody else's. */
export async function produce(
  brokers: readonly string[],
  topic: string,
  messages: readonly { key?: string; value: string | Buffer | null; headers?: Record<string, string>; timestamp?: string }[],
): Promise<void> {
  const kafka = await createKafka(clusterOf(brokers), { clientId: 'producer', variables: {} });
  const admin = kafka.admin();
  await admin.connect();
  if (!(await admin.listTopics()).includes(topic)) await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] });
  await admin.disconnect();
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({ topic, messages: [...messages] });
  await producer.disconnect();
}

interface Place {
  readonly seq: number;
  readonly index: number;
}
const placeOf = ({ id }: CloudEvent): Place => {
  const [, seq = '0', index = '0'] = id.split('.');
  return { seq: Number(seq), index: Number(index) };
};

/**
 * What the topic promises: whatever stands there more than once is the same each time; of each log the first sights of a key are in the order
 * of the log, in one partition; and the log's records from the first to the last are all there. Returns ids by log.
 */
export function requirePromises(seen: readonly Seen[]): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string>();
  const partitions = new Map<string, number>();
  const newest = new Map<string, Place>();
  const logs = new Map<string, string[]>();
  for (const { event, key, value, partition } of seen) {
    if (event.specversion !== '1.0' || event.partitionkey !== key) throw new Error(`${event.id} is no event of ${key}`);
    if ((partitions.get(key) ?? partition) !== partition) throw new Error(`${key} is in two partitions`);
    partitions.set(key, partition);
    const before = values.get(event.id);
    if (before !== undefined && before !== value) throw new Error(`${event.id} has two contents`);
    if (before !== undefined) continue;
    values.set(event.id, value);
    const [log = ''] = event.id.split('.');
    const place = placeOf(event);
    const last = newest.get(`${log} ${key}`);
    if (last !== undefined && (last.seq > place.seq || (last.seq === place.seq && last.index >= place.index)))
      throw new Error(`${event.id} comes after ${last.seq}.${last.index} of ${key}`);
    newest.set(`${log} ${key}`, place);
    logs.set(log, [...(logs.get(log) ?? []), event.id]);
  }
  for (const [log, ids] of logs) {
    const seqs = new Set(ids.map((id) => Number(id.split('.')[1])));
    for (let seq = 1; seq <= Math.max(...seqs); seq++) if (!seqs.has(seq)) throw new Error(`record ${seq} of ${log} was lost`);
  }
  return logs;
}

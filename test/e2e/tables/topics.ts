/** A reader of whole topics from their beginnings on, without a group's memory: what is read stays, by topic and partition. */
import type { Consumer } from 'kafkajs';
import type { TableRecord } from '../../../src/engine/tables/events/event.ts';
import { createKafka } from '../../../src/ground/kafka/kafka-cluster.ts';

export interface TopicRecord extends TableRecord {
  /** Debezium says in a header of the new key's record which key it was before. */
  readonly hasMoved: boolean;
}

export interface TopicReader extends AsyncDisposable {
  /** Records in the order of their offsets; grows. */
  readonly records: (topic: string, partition: number) => readonly TopicRecord[];
}

export async function readTopics(brokers: readonly string[], topics: readonly string[]): Promise<TopicReader> {
  const kafka = await createKafka({ brokers: [...brokers], tls: null, sasl: null }, { clientId: 'chain', variables: {}, retries: 10 });
  const consumer: Consumer = kafka.consumer({ groupId: `chain-${process.pid}`, maxWaitTimeInMs: 50 });
  const read = new Map<string, TopicRecord[]>();
  const of = (topic: string, partition: number): TopicRecord[] => {
    const name = `${topic}/${partition}`;
    const known = read.get(name) ?? [];
    read.set(name, known);
    return known;
  };
  await consumer.connect();
  await consumer.subscribe({ topics: [...topics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: ({ topic, partition, message }) => {
      const records = of(topic, partition);
      const offset = Number(message.offset);
      // A group that is balanced anew begins at the beginning.
      if (offset > (records.at(-1)?.offset ?? -1))
        records.push({
          ...{ offset, timeMs: Number(message.timestamp), key: message.key, value: message.value },
          hasMoved: message.headers?.['__debezium.oldkey'] !== undefined,
        });
      return Promise.resolve();
    },
  });
  return { records: of, [Symbol.asyncDispose]: () => consumer.disconnect() };
}

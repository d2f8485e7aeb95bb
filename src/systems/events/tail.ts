/** The events of a topic as they come, for a person or a pipe. Nothing is committed, and the group goes when the reader goes. */
import { randomUUID } from 'node:crypto';
import type { KafkaCluster, KafkaClientOptions } from '../../ground/kafka/kafka-cluster.ts';
import { createKafka } from '../../ground/kafka/kafka-cluster.ts';
import { kafkaFailure } from '../../ground/kafka/kafka-errors.ts';

/** A fetch that finds nothing ends after this, and whoever leaves waits for its end. */
const FETCH_WAIT_MS = 500;

export interface TailOptions {
  readonly cluster: KafkaCluster;
  readonly topic: string;
  /** Otherwise what comes from now on. */
  readonly fromBeginning: boolean;
  readonly client: KafkaClientOptions;
  /** With each record's value; true: enough. */
  onValue(value: Buffer | null): boolean;
  /** Told once, when what comes from now on is seen. */
  onBegun?(): void;
}

/** Runs until there was enough or the signal is aborted. KAFKA_UNREACHABLE, KAFKA_DENIED. */
export async function tailTopic(
  { cluster, topic, fromBeginning, client, onValue, onBegun }: TailOptions,
  signal: AbortSignal,
): Promise<void> {
  const groupId = `holdfast-tail-${randomUUID()}`;
  const kafka = await createKafka(cluster, client);
  const consumer = kafka.consumer({ groupId, allowAutoTopicCreation: false, maxWaitTimeInMs: FETCH_WAIT_MS });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = (): void => resolve();
  signal.addEventListener('abort', stop, { once: true });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (!payload.restart) reject(payload.error);
  });
  consumer.on(consumer.events.GROUP_JOIN, () => onBegun?.());
  let ended = false;
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning });
    await consumer.run({
      autoCommit: false,
      async eachMessage({ message }) {
        // What was fetched with the last one that was wanted comes, too.
        if (ended || !onValue(message.value)) return;
        ended = true;
        resolve();
      },
    });
    await promise;
  } catch (error) {
    throw kafkaFailure(error, cluster.brokers);
  } finally {
    ended = true;
    signal.removeEventListener('abort', stop);
    await consumer.disconnect().catch(() => undefined);
    const admin = kafka.admin({ retry: { retries: 0 } });
    await admin
      .connect()
      .then(() => admin.deleteGroups([groupId]))
      .catch(() => undefined);
    await admin.disconnect().catch(() => undefined);
  }
}

/**
 * Sends events to the brokers: in order, one request at a time, told to have arrived only when all in-sync replicas have them.
 *
 * The producer is idempotent, so that what kafkajs tries again by itself stands there once and in its place. After a failure that it
 * gives up at, a new producer begins: what the old one may have brought through all the same is a repeat, with the ids that it had.
 * The topic is made where it is not there and may be made.
 */
import type { Kafka, Producer } from 'kafkajs';
import type { EventsRecord } from '../../engine/catalog/events.ts';
import { withoutData, type CloudEvent, messageOfEvent, type EventMessage } from '../../engine/events/cloud-event.ts';
import { EVENT_SEND_BYTES_MAX, EVENT_SEND_MAX } from '../../domain/limits.ts';
import { createKafka, type KafkaClientOptions } from '../../ground/kafka/kafka-cluster.ts';
import { requestBatches } from '../../ground/kafka/request-batches.ts';
import { kafkaFailure, protocolErrorOf } from '../../ground/kafka/kafka-errors.ts';

export interface EventSender extends AsyncDisposable {
  /** Resolves when all of them are confirmed; rejects with KAFKA_UNREACHABLE or KAFKA_DENIED, and then any of them may have arrived. */
  send(events: readonly CloudEvent[]): Promise<void>;
}

/** Requests of at most so many events and bytes, in order. */
const requestsOf = (events: readonly CloudEvent[]): Generator<readonly CloudEvent[]> =>
  requestBatches(events, (event) => Buffer.byteLength(messageOfEvent(event).value), { bytes: EVENT_SEND_BYTES_MAX, count: EVENT_SEND_MAX });

const asMessage = ({ key, value, headers }: EventMessage) => ({ key, value, headers: { ...headers } });

export function createEventSender({ cluster, topic, partitions }: EventsRecord, options: KafkaClientOptions): EventSender {
  let producing: Promise<Producer> | null = null;
  /** One request at a time, whoever asks. */
  let tail: Promise<unknown> = Promise.resolve();

  const connect = async (): Promise<Producer> => {
    const kafka = await createKafka(cluster, options);
    await ensureTopic(kafka, topic, partitions);
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: { retries: options.retries ?? 5 } });
    await producer.connect();
    return producer;
  };

  const letGo = async (): Promise<void> => {
    const old = producing;
    producing = null;
    await old?.then((producer) => producer.disconnect()).catch(() => undefined);
  };

  const sendOnce = async (events: readonly CloudEvent[]): Promise<void> => {
    producing ??= connect();
    const producer = await producing;
    await producer.send({ topic, acks: -1, messages: events.map((event) => asMessage(messageOfEvent(event))) });
  };

  /** What a broker calls too large goes in halves, and one that is too large alone goes without its data. */
  const sendFitting = async (events: readonly CloudEvent[]): Promise<void> => {
    try {
      await sendOnce(events);
    } catch (error) {
      await letGo();
      if (protocolErrorOf(error) !== 'MESSAGE_TOO_LARGE') throw error;
      const [only, ...others] = events;
      if (only === undefined || (others.length === 0 && only.data === undefined)) throw error;
      if (others.length === 0) return sendFitting([withoutData(only)]);
      const half = Math.ceil(events.length / 2);
      await sendFitting(events.slice(0, half));
      await sendFitting(events.slice(half));
    }
  };

  return {
    send(events) {
      const run = tail.then(async () => {
        try {
          for (const request of requestsOf(events)) await sendFitting(request);
        } catch (error) {
          throw kafkaFailure(error, cluster.brokers);
        }
      });
      tail = run.catch(() => undefined);
      return run;
    },
    [Symbol.asyncDispose]: letGo,
  };
}

/** Makes the topic where it is not there. Who may not ask or make one finds out when it sends. */
async function ensureTopic(kafka: Kafka, topic: string, partitions: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    if ((await admin.listTopics()).includes(topic)) return;
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: true });
  } catch (error) {
    const type = protocolErrorOf(error);
    if (type === null || !(type.endsWith('_AUTHORIZATION_FAILED') || type === 'TOPIC_ALREADY_EXISTS')) throw error;
  } finally {
    await admin.disconnect();
  }
}

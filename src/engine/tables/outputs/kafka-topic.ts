/**
 * Rows as records of a new compacted topic: key and row as JSON, as a producer of plain keyed JSON would have sent them.
 *
 * A topic cannot appear at once as a file does. It is made by the job, or was there without a record, and that is looked at before
 * the first record goes out; a try that comes after one that died writes everything again, which changes nothing: the same keys, the
 * same rows, and compaction leaves one of each. The job that ends says that all of it is there; one that fails removes the topic that it made.
 */
import type { Admin, Kafka } from 'kafkajs';
import { HoldfastError } from '../../../domain/errors.ts';
import { EVENT_BYTES_MAX, MIB } from '../../../domain/limits.ts';
import type { KafkaCluster } from '../../../domain/kafka.ts';
import { createKafka } from '../../../ground/kafka/kafka-cluster.ts';
import { requestBatches } from '../../../ground/kafka/request-batches.ts';
import { kafkaFailure, protocolErrorOf } from '../../../ground/kafka/kafka-errors.ts';
import type { Duck } from '../archive/duck.ts';
import type { Course } from './course.ts';
import { jsonRows, type JsonRow } from './row-json.ts';
import type { SettledTopic } from './targets.ts';
import type { TypedRows } from './typed-rows.ts';

type Variables = Readonly<Record<string, string | undefined>>;

const clientOf = (cluster: KafkaCluster, variables: Variables): Promise<Kafka> =>
  createKafka(cluster, { clientId: 'holdfast-restore', variables });

async function withAdmin<T>({ cluster }: SettledTopic, variables: Variables, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = (await clientOf(cluster, variables)).admin();
  try {
    await admin.connect();
    return await work(admin);
  } catch (error) {
    throw kafkaFailure(error, cluster.brokers);
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** A row that was archived can be written: twice the largest event. */
const RECORD_BYTES_MAX = 2 * EVENT_BYTES_MAX;

/** Makes the topic, or finds one without a record. TARGET_EXISTS when it has some. */
export const prepareTopic = (output: SettledTopic, variables: Variables): Promise<'made' | 'found'> =>
  withAdmin(output, variables, async (admin) => {
    const { topic, partitions, replicas } = output;
    if (!(await admin.listTopics()).includes(topic)) {
      const made = await createTopic(admin, output);
      if (made) return 'made';
    }
    const offsets = await admin.fetchTopicOffsets(topic);
    const records = offsets.reduce((sum, { high, low }) => sum + (BigInt(high) - BigInt(low)), 0n);
    if (records > 0n || offsets.some(({ high }) => high !== '0'))
      throw new HoldfastError('TARGET_EXISTS', `topic ${topic} has records already`, {
        topic,
        expected: 'a topic that is not there, or has never had a record',
      });
    if (offsets.length !== partitions)
      throw new HoldfastError('TARGET_EXISTS', `topic ${topic} is there with ${offsets.length} partitions`, {
        topic,
        partitions,
        ...(replicas === null ? {} : { replicas }),
      });
    return 'found';
  });

/** False: somebody else made it meanwhile. */
async function createTopic(admin: Admin, { topic, partitions, replicas }: SettledTopic): Promise<boolean> {
  try {
    return await admin.createTopics({
      waitForLeaders: true,
      topics: [
        {
          ...{ topic, numPartitions: partitions, replicationFactor: replicas ?? -1 },
          configEntries: [
            { name: 'cleanup.policy', value: 'compact' },
            { name: 'max.message.bytes', value: String(RECORD_BYTES_MAX) },
          ],
        },
      ],
    });
  } catch (error) {
    if (protocolErrorOf(error) === 'TOPIC_ALREADY_EXISTS') return false;
    throw error;
  }
}

/** After a job that came to nothing: the topic that it made goes. */
export const removeTopic = (output: SettledTopic, variables: Variables): Promise<void> =>
  withAdmin(output, variables, async (admin) => {
    if ((await admin.listTopics()).includes(output.topic)) await admin.deleteTopics({ topics: [output.topic] });
  });

/** Of one request: a row that is larger goes alone. */
const REQUEST_BYTES = MIB / 2;

export async function writeTopic(duck: Duck, rows: TypedRows, output: SettledTopic, variables: Variables, course: Course): Promise<void> {
  const { cluster, topic } = output;
  const producer = (await clientOf(cluster, variables)).producer();
  try {
    await producer.connect();
    for await (const some of jsonRows(duck, rows, course)) {
      for (const batch of requestBatches(some, bytesOf, { bytes: REQUEST_BYTES }))
        await producer.send({ topic, acks: -1, messages: batch.map(({ key, row }) => ({ key, value: row })) });
      course.onRows?.(some.length);
    }
  } catch (error) {
    if (protocolErrorOf(error) === 'MESSAGE_TOO_LARGE')
      throw new HoldfastError(
        'TARGET_UNWRITABLE',
        `topic ${topic} refuses a row for its size`,
        { topic, expected: 'a larger max.message.bytes' },
        error,
      );
    throw kafkaFailure(error, cluster.brokers);
  } finally {
    await producer.disconnect().catch(() => undefined);
  }
}

const bytesOf = ({ key, row }: JsonRow): number => Buffer.byteLength(key) + Buffer.byteLength(row);

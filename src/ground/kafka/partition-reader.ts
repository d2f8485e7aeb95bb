/**
 * Reads partitions at offsets that the caller names: no consumer group, no committed offsets, no rebalance. An archive says itself where each
 * partition goes on.
 *
 * kafkajs connects, authenticates and encodes; it has no public way to fetch without a group, so its cluster and brokers are taken
 * from inside (the version is pinned). Answers are taken apart here (record-batches.ts), and what is wrong with one partition is
 * said of that partition. One reader is one try: after any error it is of no more use, and its user opens another one.
 */
import { createRequire } from 'node:module';
import type { Kafka } from 'kafkajs';
import { HoldfastError } from '../../domain/errors.ts';
import { kafkaFailure } from './kafka-errors.ts';
import { decodeBatches, type AbortedTransaction, type FetchedRecords } from './record-batches.ts';

export interface Want {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export type Fetched = { readonly topic: string; readonly partition: number; readonly offset: number } & (
  | ({
      readonly kind: 'read';
      /** Where the log begins. */
      readonly start: number;
      /** Where what may be read ends: transactions that are open hold it back. */
      readonly end: number;
      /** Where the log ends. */
      readonly high: number;
      readonly bytes: number;
    } & FetchedRecords)
  /** The log begins above the offset, or ends below it. */
  | { readonly kind: 'out of range' }
);

export interface FetchBounds {
  /** How long a broker that has nothing new waits for something. */
  readonly waitMs: number;
  /** Of one answer; a batch that is larger comes whole all the same. */
  readonly bytes: number;
  readonly partitionBytes: number;
}

export interface PartitionReader extends AsyncDisposable {
  /** Numbers of the partitions of each topic that is there, of these names; null: of all topics. Those without a leader are there, too. */
  partitions(topics: readonly string[] | null): Promise<ReadonlyMap<string, readonly number[]>>;
  /** One fetch from each leader. Partitions that have no leader now are left out. Rejects as below when a broker goes or refuses. */
  fetch(wants: readonly Want[], bounds: FetchBounds): Promise<readonly Fetched[]>;
  /** Where the log of a partition begins and ends. */
  range(topic: string, partition: number): Promise<{ readonly start: number; readonly end: number }>;
  /** How long compaction leaves the delete of a key in a topic; null: nobody may ask. */
  deleteRetentionMs(topic: string): Promise<number | null>;
}

// -- what is used of kafkajs's inside -------------------------------------------------------------------------------------------

interface ProtocolRequest {
  readonly request: unknown;
  readonly response: { decode(payload: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> };
  readonly requestTimeout?: number;
}
interface InnerBroker {
  readonly connectionPool: { send(request: ProtocolRequest): Promise<unknown> };
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  describeConfigs(
    request: unknown,
  ): Promise<{ readonly resources: readonly { readonly configEntries: readonly { configName: string; configValue: string }[] }[] }>;
}
interface InnerCluster {
  readonly rootLogger: unknown;
  readonly connectionPoolBuilder: { build(at?: { host: string; port: number }): Promise<unknown> };
  readonly brokerPool: {
    readonly seedBroker: InnerBroker;
    readonly versions: unknown;
    createBroker(options: Readonly<Record<string, unknown>>): InnerBroker;
    connect(): Promise<void>;
    disconnect(): Promise<void>;
  };
}
interface Metadata {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topicMetadata: readonly {
    readonly topic: string;
    readonly topicErrorCode: number;
    readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
  }[];
}
interface Offsets {
  readonly responses: readonly { readonly partitions: readonly { readonly errorCode: number; readonly offset: string }[] }[];
}

const inside = createRequire(import.meta.url);
type Encode = (input: Readonly<Record<string, unknown>>) => unknown;
type DecodeOf<T> = { decode(payload: Buffer): Promise<T> };

const requests = () => ({
  metadata: inside('kafkajs/src/protocol/requests/metadata/v6/request.js') as Encode,
  metadataAnswer: inside('kafkajs/src/protocol/requests/metadata/v6/response.js') as DecodeOf<Metadata>,
  fetch: inside('kafkajs/src/protocol/requests/fetch/v11/request.js') as Encode,
  offsets: inside('kafkajs/src/protocol/requests/listOffsets/v2/request.js') as Encode,
  offsetsAnswer: inside('kafkajs/src/protocol/requests/listOffsets/v2/response.js') as DecodeOf<Offsets>,
  errorOf: (inside('kafkajs/src/protocol/error.js') as { createErrorFromCode(code: number): Error }).createErrorFromCode,
});

/**
 * The cluster of a client, with its connections, TLS and secrets. A client keeps what makes one under a private symbol, which its types do not
 * have: hence the cast. The version is pinned.
 */
export function clusterOf(kafka: Kafka): InnerCluster {
  const make = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === 'private:Kafka:createCluster');
  if (make === undefined) throw new HoldfastError('INTERNAL', 'kafkajs is another version than the one that is pinned');
  const create = (kafka as unknown as Readonly<Record<symbol, (options: unknown) => InnerCluster>>)[make];
  if (create === undefined) throw new HoldfastError('INTERNAL', 'kafkajs is another version than the one that is pinned');
  return create({ metadataMaxAge: 0, allowAutoTopicCreation: false });
}

// -- the reader -----------------------------------------------------------------------------------------------------------------

const NO_NODE = -1;
const EARLIEST = '-2';
const LATEST = '-1';
const READ_COMMITTED = 1;
const TOPIC = 2;

/** Error codes of Kafka that say something of one partition. */
const OFFSET_OUT_OF_RANGE = 1;
const UNKNOWN_TOPIC_OR_PARTITION = 3;
/** These pass by themselves: the partition has another leader now, or soon. */
const PASSING: ReadonlySet<number> = new Set([UNKNOWN_TOPIC_OR_PARTITION, 5, 6, 9, 74, 75, 76]);

/** Connects. KAFKA_UNREACHABLE, KAFKA_DENIED; so do all its operations. */
export async function openPartitionReader(kafka: Kafka, brokers: readonly string[]): Promise<PartitionReader> {
  const protocol = requests();
  const cluster = clusterOf(kafka);
  const nodes = new Map<number, { readonly address: string; readonly broker: Promise<InnerBroker> }>();
  const leaders = new Map<string, number>();
  const translated = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw kafkaFailure(error, brokers);
    }
  };
  const keyOf = (topic: string, partition: number): string => `${topic}/${partition}`;

  const send = async <T>(broker: InnerBroker, request: unknown, answer: DecodeOf<T>): Promise<T> => {
    // What is decoded is what `decode` gives: `parse` only looks for errors, which is done by partition here.
    const response = { decode: answer.decode, parse: (decoded: unknown) => Promise.resolve(decoded) };
    return (await broker.connectionPool.send({ request, response })) as T;
  };

  const connectNode = ({ nodeId, host, port }: Metadata['brokers'][number]): void => {
    const address = `${host}:${port}`;
    if (nodes.get(nodeId)?.address === address) return;
    const connecting = async (): Promise<InnerBroker> => {
      const connectionPool = await cluster.connectionPoolBuilder.build({ host, port });
      const { versions } = cluster.brokerPool;
      const broker = cluster.brokerPool.createBroker({ connectionPool, logger: cluster.rootLogger, versions, nodeId });
      await broker.connect();
      return broker;
    };
    const broker = connecting();
    broker.catch(() => nodes.delete(nodeId));
    nodes.set(nodeId, { address, broker });
  };

  const look = async (topics: readonly string[] | null): Promise<Metadata> => {
    const request = protocol.metadata({ topics: topics ?? [], allowAutoTopicCreation: false });
    const metadata = await send(cluster.brokerPool.seedBroker, request, protocol.metadataAnswer);
    for (const node of metadata.brokers) connectNode(node);
    for (const { topic, partitionMetadata } of metadata.topicMetadata)
      for (const { partitionId, leader } of partitionMetadata) leaders.set(keyOf(topic, partitionId), leader);
    return metadata;
  };

  const leaderOf = async (topic: string, partition: number): Promise<InnerBroker | null> => {
    const node = leaders.get(keyOf(topic, partition)) ?? NO_NODE;
    return (await nodes.get(node)?.broker) ?? null;
  };

  const fetchFrom = async (broker: InnerBroker, wants: readonly Want[], bounds: FetchBounds): Promise<readonly Fetched[]> => {
    const topics = [...Map.groupBy(wants, ({ topic }) => topic)].map(([topic, some]) => ({
      topic,
      partitions: some.map(({ partition, offset }) => ({ partition, fetchOffset: String(offset), maxBytes: bounds.partitionBytes })),
    }));
    const request = protocol.fetch({
      ...{ replicaId: NO_NODE, maxWaitTime: bounds.waitMs, minBytes: 1, maxBytes: bounds.bytes, isolationLevel: READ_COMMITTED, topics },
    });
    const answer = await send(broker, request, { decode: (payload) => Promise.resolve(decodeFetch(payload)) });
    if (answer.errorCode !== 0) throw protocol.errorOf(answer.errorCode);
    return answer.partitions.flatMap((one) => judged(one, wants, protocol.errorOf));
  };

  try {
    await cluster.brokerPool.connect();
  } catch (error) {
    await cluster.brokerPool.disconnect().catch(() => undefined);
    throw kafkaFailure(error, brokers);
  }

  return {
    partitions: (topics) =>
      translated(async () => {
        const { topicMetadata } = await look(topics);
        const there = topicMetadata.filter(({ topicErrorCode }) => {
          if (topicErrorCode === 0 || PASSING.has(topicErrorCode)) return topicErrorCode !== UNKNOWN_TOPIC_OR_PARTITION;
          // Of topics that were not asked for by name one may be closed to us.
          if (topics === null) return false;
          throw protocol.errorOf(topicErrorCode);
        });
        return new Map(
          there.map(({ topic, partitionMetadata }) => [
            topic,
            partitionMetadata.map(({ partitionId }) => partitionId).sort((a, b) => a - b),
          ]),
        );
      }),

    fetch: (wants, bounds) =>
      translated(async () => {
        const byLeader = new Map<InnerBroker, Want[]>();
        for (const want of wants) {
          const broker = await leaderOf(want.topic, want.partition);
          if (broker === null) continue;
          const some = byLeader.get(broker);
          if (some === undefined) byLeader.set(broker, [want]);
          else some.push(want);
        }
        const answers = await Promise.all([...byLeader].map(([broker, some]) => fetchFrom(broker, some, bounds)));
        return answers.flat();
      }),

    range: (topic, partition) =>
      translated(async () => {
        const broker = await leaderOf(topic, partition);
        if (broker === null) throw protocol.errorOf(5);
        const at = async (timestamp: string): Promise<number> => {
          const request = protocol.offsets({
            replicaId: NO_NODE,
            isolationLevel: READ_COMMITTED,
            topics: [{ topic, partitions: [{ partition, timestamp }] }],
          });
          const answer = (await send(broker, request, protocol.offsetsAnswer)).responses[0]?.partitions[0];
          if (answer === undefined || answer.errorCode !== 0) throw protocol.errorOf(answer?.errorCode ?? -1);
          return Number(answer.offset);
        };
        const [start, end] = await Promise.all([at(EARLIEST), at(LATEST)]);
        return { start, end };
      }),

    deleteRetentionMs: (topic) =>
      translated(async () => {
        const resources = [{ type: TOPIC, name: topic, configNames: ['delete.retention.ms'] }];
        const answer = await cluster.brokerPool.seedBroker.describeConfigs({ resources });
        const value = Number(
          answer.resources[0]?.configEntries.find(({ configName }) => configName === 'delete.retention.ms')?.configValue,
        );
        return Number.isFinite(value) ? value : null;
      }),

    async [Symbol.asyncDispose]() {
      const ending = [...nodes.values()].map(async ({ broker }) => (await broker).disconnect());
      await Promise.allSettled([...ending, cluster.brokerPool.disconnect()]);
    },
  };
}

// -- the answer to a fetch ------------------------------------------------------------------------------------------------------

interface RawPartition {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly high: number;
  readonly stableEnd: number;
  readonly start: number;
  readonly aborted: readonly AbortedTransaction[];
  readonly records: Buffer;
}

interface FetchAnswer {
  readonly errorCode: number;
  readonly partitions: readonly RawPartition[];
}

/** Fetch response, version 11. */
function decodeFetch(payload: Buffer): FetchAnswer {
  let at = 4;
  const i32 = (): number => ((at += 4), payload.readInt32BE(at - 4));
  const i64 = (): bigint => ((at += 8), payload.readBigInt64BE(at - 8));
  const errorCode = payload.readInt16BE(at);
  at += 2 + 4;
  const partitions: RawPartition[] = [];
  for (let topics = i32(); topics > 0; topics--) {
    const length = payload.readInt16BE(at);
    const topic = payload.toString('utf8', at + 2, at + 2 + length);
    at += 2 + length;
    for (let count = i32(); count > 0; count--) {
      const partition = i32();
      const error = payload.readInt16BE(at);
      at += 2;
      const high = Number(i64());
      const stableEnd = Number(i64());
      const start = Number(i64());
      const aborted: AbortedTransaction[] = [];
      for (let left = i32(); left > 0; left--) aborted.push({ producerId: i64(), firstOffset: Number(i64()) });
      at += 4;
      const size = Math.max(0, i32());
      const records = payload.subarray(at, at + size);
      at += size;
      partitions.push({
        topic,
        partition,
        errorCode: error,
        high,
        stableEnd,
        start,
        aborted: aborted.sort((a, b) => a.firstOffset - b.firstOffset),
        records,
      });
    }
  }
  return { errorCode, partitions };
}

function judged(one: RawPartition, wants: readonly Want[], errorOf: (code: number) => Error): Fetched[] {
  const { topic, partition, errorCode, start } = one;
  const want = wants.find((some) => some.topic === topic && some.partition === partition);
  if (want === undefined) return [];
  const { offset } = want;
  if (errorCode === OFFSET_OUT_OF_RANGE) return [{ topic, partition, offset, kind: 'out of range' }];
  if (errorCode !== 0) throw errorOf(errorCode);
  const read = decodeBatches(one.records, offset, one.aborted);
  return [{ topic, partition, offset, kind: 'read', start, end: one.stableEnd, high: one.high, bytes: one.records.length, ...read }];
}

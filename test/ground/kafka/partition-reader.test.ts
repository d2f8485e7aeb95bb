/**
 * The reader against a real broker: every compression of Kafka (the broker itself compresses, by the topic's setting), transactions that were taken
 * back, offsets that are gone. And the sum of a batch, by the published check value.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { crc32c } from '../../../src/ground/kafka/crc32c.ts';
import { decompress } from '../../../src/ground/kafka/decompression.ts';
import { createKafka, kafkaCluster } from '../../../src/ground/kafka/kafka-cluster.ts';
import { openPartitionReader, type Fetched, type PartitionReader } from '../../../src/ground/kafka/partition-reader.ts';
import { decodeBatches, type FetchedRecord } from '../../../src/ground/kafka/record-batches.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';

test('the sum is that of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283');
  expect(crc32c(Buffer.alloc(32)).toString(16)).toBe('8a9136aa');
  expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))).toString(16)).toBe('46dd794e');
});

test.each([1, 2, 3, 4])('compression %i: bytes that do not fit are refused, whatever they are', (codec) => {
  for (let seed = 1; seed < 300; seed++) {
    const bytes = Buffer.from(Array.from({ length: seed % 40 || 1 }, (_, i) => (seed * 31 + i * i * 7) % 256));
    if (codec === 3 && seed % 2 === 0) bytes.set([0x04, 0x22, 0x4d, 0x18].slice(0, bytes.length));
    try {
      decompress(codec, bytes);
    } catch (error) {
      expect(error).toMatchObject({ code: 'DAMAGED' });
    }
  }
});

/** A batch of one record, `k` -> `v`. */
function batchOf(base: number): Buffer {
  const record = Buffer.from([16, 0, 0, 0, 2, 0x6b, 2, 0x76, 0]);
  const body = Buffer.alloc(40);
  body.writeBigInt64BE(1000n, 6);
  body.writeBigInt64BE(1000n, 14);
  body.writeInt32BE(1, 36);
  const covered = Buffer.concat([body, record]);
  const head = Buffer.alloc(21);
  head.writeBigInt64BE(BigInt(base), 0);
  head.writeInt32BE(9 + covered.length, 8);
  head.writeInt8(2, 16);
  head.writeUInt32BE(crc32c(covered), 17);
  return Buffer.concat([head, covered]);
}

test('a batch is taken as it was produced, to the bit; what is cut off comes later', () => {
  const bytes = Buffer.concat([batchOf(7), batchOf(8)]);
  const { records, next } = decodeBatches(bytes, 7, []);
  expect(records.map(({ offset, timeMs, key, value }) => [offset, timeMs, String(key), String(value)])).toEqual([
    [7, 1000, 'k', 'v'],
    [8, 1000, 'k', 'v'],
  ]);
  expect(next).toBe(9);
  expect(decodeBatches(bytes.subarray(0, bytes.length - 1), 7, [])).toMatchObject({ next: 8, records: [{ offset: 7 }] });
  expect(decodeBatches(bytes, 8, []).records).toHaveLength(1);
  for (let at = 17; at < bytes.length / 2; at++) {
    const turned = Buffer.from(bytes);
    turned.writeUInt8((turned[at] ?? 0) ^ 4, at);
    expect(() => decodeBatches(turned, 7, [])).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  }
});

const BOUNDS = { waitMs: 200, bytes: 8 << 20, partitionBytes: 1 << 20 };
type Read = Extract<Fetched, { kind: 'read' }>;

const describeKafka = await describeWith('kafka');
describeKafka('a reader of partitions', () => {
  let folder: string;
  let broker: RunningKafka;
  let kafka: Kafka;
  let reader: PartitionReader;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-kafka-'));
    broker = await startKafka({ dir: path.join(folder, 'broker') }, finder);
    const cluster = kafkaCluster.parse({ brokers: broker.brokers, tls: null, sasl: null });
    kafka = await createKafka(cluster, { clientId: 'test', variables: {} });
  }, 120_000);
  beforeEach(async () => {
    reader = await openPartitionReader(kafka, broker.brokers);
  });
  afterEach(async () => {
    await reader[Symbol.asyncDispose]();
  });
  afterAll(async () => {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const createTopic = async (topic: string, config: Readonly<Record<string, string>> = {}, partitions = 1): Promise<void> => {
    const admin = kafka.admin();
    await admin.connect();
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, configEntries }] });
    await admin.disconnect();
    await reader.partitions([topic]);
  };

  const readAll = async (topic: string, from = 0): Promise<{ records: FetchedRecord[]; last: Read }> => {
    const records: FetchedRecord[] = [];
    let last: Read | null = null;
    for (let offset = from; ; offset = last.next) {
      const [one] = await reader.fetch([{ topic, partition: 0, offset }], BOUNDS);
      if (one?.kind !== 'read') throw new Error(`nothing read of ${topic} at ${offset}`);
      records.push(...one.records);
      last = one;
      if (last.next >= last.end) return { records, last };
    }
  };

  test.each(['uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'])(
    'reads what a broker keeps as %s, from any offset, and so does a group',
    async (type) => {
      await createTopic(`c-${type}`, { 'compression.type': type });
      const producer = kafka.producer();
      await producer.connect();
      const values = Array.from({ length: 500 }, (_, i) => JSON.stringify({ i, text: 'abc '.repeat(i % 50), other: Math.sin(i) }));
      for (let at = 0; at < 500; at += 100)
        await producer.send({
          topic: `c-${type}`,
          messages: values
            .slice(at, at + 100)
            .map((value, i) => ({ key: String(at + i), value: (at + i) % 7 === 0 ? null : value, headers: { h: 'x' } })),
        });
      await producer.disconnect();
      const { records, last } = await readAll(`c-${type}`);
      expect(records.map(({ offset }) => offset)).toEqual(values.map((_, i) => i));
      expect(records.map(({ key }) => key?.toString())).toEqual(values.map((_, i) => String(i)));
      expect(records.map(({ value }) => value?.toString() ?? null)).toEqual(values.map((value, i) => (i % 7 === 0 ? null : value)));
      expect(records.every(({ timeMs }) => Math.abs(timeMs - Date.now()) < 60_000)).toBe(true);
      expect([last.start, last.end, last.next]).toEqual([0, 500, 500]);
      const consumer = kafka.consumer({ groupId: `group-${type}`, maxWaitTimeInMs: 200 });
      await consumer.connect();
      await consumer.subscribe({ topic: `c-${type}`, fromBeginning: true });
      const heard: (string | null)[] = [];
      await new Promise<void>((resolve, reject) => {
        // One that starts again by itself (a coordinator that is loading yet) has not ended.
        consumer.on(consumer.events.CRASH, ({ payload }) => {
          if (!payload.restart) reject(payload.error);
        });
        const eachMessage = async ({ message }: { readonly message: { readonly value: Buffer | null } }): Promise<void> => {
          if (heard.push(message.value?.toString() ?? null) === 500) resolve();
        };
        void consumer.run({ eachMessage });
      });
      await consumer.disconnect();
      expect(heard).toEqual(values.map((value, i) => (i % 7 === 0 ? null : value)));
      const [middle] = await reader.fetch([{ topic: `c-${type}`, partition: 0, offset: 150 }], BOUNDS);
      expect(middle).toMatchObject({ kind: 'read' });
      expect((middle as Read).records[0]?.offset).toBe(150);
    },
  );

  test('knows marks of transactions, and what one of them took back', async () => {
    await createTopic('tx');
    const producer = kafka.producer({ transactionalId: 't', maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (const [i, end] of (['commit', 'abort', 'commit', 'abort'] as const).entries()) {
      const transaction = await producer.transaction();
      await transaction.send({
        topic: 'tx',
        messages: [
          { key: `${i}`, value: 'a' },
          { key: `${i}`, value: 'b' },
        ],
      });
      await transaction[end]();
    }
    await producer.disconnect();
    // The end of a transaction is marked a moment after its producer was told of it.
    while ((await reader.range('tx', 0)).end < 12) await sleep(20);
    const { records, last } = await readAll('tx');
    expect(records.map(({ offset, key }) => [offset, key?.toString()])).toEqual([
      [0, '0'],
      [1, '0'],
      [6, '2'],
      [7, '2'],
    ]);
    expect(last.next).toBe(12);
    const [whole] = await reader.fetch([{ topic: 'tx', partition: 0, offset: 0 }], BOUNDS);
    const { controls } = whole as Read;
    expect(controls.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))).toEqual([2, 3, 4, 5, 8, 9, 10, 11]);
  });

  test('a record of 10 MiB comes whole', async () => {
    await createTopic('large', { 'max.message.bytes': String(16 << 20) });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: 'large', messages: [{ value: Buffer.alloc(10 << 20, 1) }] });
    await producer.send({ topic: 'large', messages: [{ value: 'after' }] });
    await producer.disconnect();
    expect((await readAll('large')).records.map(({ value }) => value?.length)).toEqual([10 << 20, 5]);
  });

  test('says of an offset that is not there that it is not, and where the log is', async () => {
    await createTopic('short');
    const [gone] = await reader.fetch([{ topic: 'short', partition: 0, offset: 5 }], BOUNDS);
    expect(gone).toMatchObject({ kind: 'out of range', offset: 5 });
    expect(await reader.range('short', 0)).toEqual({ start: 0, end: 0 });
    expect(await reader.deleteRetentionMs('short')).toBe(86_400_000);
  });

  test('finds topics by name and all of them, and those that are made later', async () => {
    expect(await reader.partitions(['later'])).toEqual(new Map());
    await createTopic('later', {}, 3);
    expect(await reader.partitions(['later', 'never'])).toEqual(new Map([['later', [0, 1, 2]]]));
    expect((await reader.partitions(null)).get('later')).toEqual([0, 1, 2]);
  });
});

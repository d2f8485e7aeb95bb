import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import kafkajs from 'kafkajs';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { createKafka, kafkaCluster, type KafkaCluster } from '../../../src/ground/kafka/kafka-cluster.ts';
import { kafkaFailure, protocolErrorOf } from '../../../src/ground/kafka/kafka-errors.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';

const plain = (...brokers: string[]): KafkaCluster => kafkaCluster.parse({ brokers, tls: null, sasl: null });
const caught = (work: Promise<unknown>): Promise<unknown> => work.then(() => null).catch((error: unknown) => error);

test('a record names secrets and never holds one', () => {
  const sasl = { mechanism: 'plain', username: 'u', password: 'hunter2' };
  expect(kafkaCluster.safeParse({ brokers: ['a:1'], tls: null, sasl }).success).toBe(false);
  expect(kafkaCluster.safeParse({ brokers: ['a:1'], tls: null, sasl: { ...sasl, password: 'env:X' } }).success).toBe(true);
});

test('a secret or a certificate that is not there is named before anybody is connected', async () => {
  const cluster = plain('127.0.0.1:1');
  const options = { clientId: 'test', variables: {} };
  const sasl = { mechanism: 'plain', username: 'u', password: 'env:NOBODY' } as const;
  await expect(createKafka({ ...cluster, sasl }, options)).rejects.toMatchObject({ code: 'PASSPHRASE_MISSING' });
  const tls = { ca: '/nowhere/ca.pem', client: null };
  await expect(createKafka({ ...cluster, tls }, options)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('who does not answer is told by its code, and without the password', async () => {
  // A port that was just given back: nobody listens there.
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  await new Promise((resolve) => server.close(resolve));
  const cluster = { ...plain(`127.0.0.1:${port}`), sasl: { mechanism: 'plain', username: 'u', password: 'env:SECRET' } as const };
  const kafka = await createKafka(cluster, { clientId: 'test', variables: { SECRET: 'hunter2' }, retries: 0 });
  const failure = kafkaFailure(await caught(kafka.admin().connect()), cluster.brokers);
  expect(failure).toMatchObject({ code: 'KAFKA_UNREACHABLE' });
  expect(JSON.stringify(failure) + String(failure)).not.toContain('hunter2');
});

const describeKafka = await describeWith('kafka');
describeKafka('kafkajs against a broker of today', () => {
  let folder: string;
  let broker: RunningKafka;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-kafka-'));
    broker = await startKafka({ dir: path.join(folder, 'broker') }, finder);
  }, 120_000);
  afterAll(async () => {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('makes a topic with the replication of the broker, sends zstd idempotently and reads it back', async () => {
    const kafka = await createKafka(plain(...broker.brokers), { clientId: 'test', variables: {} });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'there', numPartitions: 3 }] });
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const compression = kafkajs.CompressionTypes.ZSTD;
    await producer.send({ topic: 'there', acks: -1, compression, messages: [{ key: 'k', value: 'v'.repeat(10_000) }] });
    const consumer = kafka.consumer({ groupId: 'test' });
    await consumer.connect();
    await consumer.subscribe({ topics: ['there'], fromBeginning: true });
    const value = await new Promise<string>((resolve) => {
      void consumer.run({ eachMessage: async ({ message }) => resolve(message.value?.toString() ?? '') });
    });
    expect(value).toBe('v'.repeat(10_000));
    const missing = await caught(kafka.producer({ retry: { retries: 1 } }).send({ topic: 'nowhere', messages: [{ value: '' }] }));
    expect(missing).not.toBeNull();
    const lost = producer.send({ topic: 'nowhere', messages: [{ value: '' }] });
    expect(protocolErrorOf(await caught(lost))).toBe('UNKNOWN_TOPIC_OR_PARTITION');
    await Promise.all([consumer.disconnect(), producer.disconnect(), admin.disconnect()]);
  });

  test('keeps no timer busy while a connection stands idle', async () => {
    const warnings: string[] = [];
    const note = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', note);
    const kafka = await createKafka(plain(...broker.brokers), { clientId: 'test', variables: {} });
    const admin = kafka.admin();
    await admin.connect();
    await admin.listTopics();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await admin.disconnect();
    process.off('warning', note);
    expect(warnings).not.toContain('TimeoutNegativeWarning');
  });
});

/** A broker that wants certificates of both sides and a password: who has them reads and writes, and who has not is told by a code. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { createKafka, kafkaCluster, type KafkaCluster } from '../../../src/ground/kafka/kafka-cluster.ts';
import { kafkaFailure } from '../../../src/ground/kafka/kafka-errors.ts';
import { openPartitionReader } from '../../../src/ground/kafka/partition-reader.ts';
import { createCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';

const PASSWORD = 'hunter22';
const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;

const describeKafka = await describeWith('kafka');
describeKafka('a broker behind TLS and SASL', () => {
  let folder: string;
  let broker: RunningKafka;
  const at = (name: string): string => path.join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-kafka-'));
    await createCertificates(folder);
    const [key, certificate] = await Promise.all(['server-key.pem', 'server-cert.pem'].map((name) => readFile(at(name), 'utf8')));
    await writeFile(at('broker.pem'), `${key}${certificate}`);
    const secure = { keyFile: at('broker.pem'), clientAuthorityFile: at('ca-cert.pem'), username: 'archiver', password: PASSWORD };
    broker = await startKafka({ dir: at('broker'), secure }, finder);
  }, 120_000);
  afterAll(async () => {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const clusterOf = (change: Partial<KafkaCluster> = {}, mechanism: (typeof MECHANISMS)[number] = 'plain'): KafkaCluster =>
    kafkaCluster.parse({
      brokers: broker.secureBrokers,
      tls: { ca: at('ca-cert.pem'), client: { cert: at('client-cert.pem'), key: at('client-key.pem') } },
      sasl: { mechanism, username: 'archiver', password: 'env:SECRET' },
      ...change,
    });

  test.each(MECHANISMS)('with %s a topic is made, written and read', async (mechanism) => {
    const cluster = clusterOf({}, mechanism);
    const kafka = await createKafka(cluster, { clientId: 'test', variables: { SECRET: PASSWORD } });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic: mechanism, numPartitions: 1 }] });
    await admin.disconnect();
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: mechanism, messages: [{ key: 'k', value: 'v' }] });
    await producer.disconnect();
    await using reader = await openPartitionReader(kafka, cluster.brokers);
    await reader.partitions([mechanism]);
    const want = { topic: mechanism, partition: 0, offset: 0 };
    const [fetched] = await reader.fetch([want], { waitMs: 200, bytes: 1 << 20, partitionBytes: 1 << 20 });
    if (fetched?.kind !== 'read') throw new Error('nothing is read');
    expect(fetched.records.map(({ value }) => String(value))).toEqual(['v']);
  });

  const failureOf = async (cluster: KafkaCluster, secret = PASSWORD): Promise<unknown> => {
    const kafka = await createKafka(cluster, { clientId: 'test', variables: { SECRET: secret }, retries: 0 });
    const admin = kafka.admin();
    try {
      await admin.connect();
      return await admin.listTopics();
    } catch (error) {
      return kafkaFailure(error, cluster.brokers);
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  };

  test.each(MECHANISMS)('a wrong password with %s is refused, and said without it', async (mechanism) => {
    const failure = await failureOf(clusterOf({}, mechanism), 'not-that-one');
    expect(failure).toMatchObject({ code: 'KAFKA_DENIED' });
    expect(JSON.stringify(failure) + String(failure)).not.toContain('not-that-one');
  });

  test('a stranger to the broker, and a broker that is a stranger, are no connection', async () => {
    const { tls } = clusterOf();
    if (tls === null) throw new Error('no TLS');
    for (const strange of [
      { ...tls, client: null },
      { ...tls, ca: null },
    ])
      expect(await failureOf(clusterOf({ tls: strange }))).toMatchObject({ code: 'KAFKA_UNREACHABLE' });
    expect(await failureOf(clusterOf({ tls: null }))).toMatchObject({ code: 'KAFKA_UNREACHABLE' });
  });
});

/**
 * A Kafka cluster, and the one way to a client for it: kafkajs with TLS, SASL and bounds from a record that holds no secret.
 *
 * Secrets are looked up when a client is made, as passphrases are (env:NAME, file:/path, command:...), and never kept in the record.
 * What kafkajs says goes to the caller's log, its errors become codes of the table (kafka-errors.ts).
 */
import { readFile } from 'node:fs/promises';
import type { Kafka, KafkaConfig } from 'kafkajs';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { KafkaCluster } from '../../domain/kafka.ts';
import { KAFKA_CONNECT_MS, KAFKA_REQUEST_MS } from '../../domain/limits.ts';
import { resolvePassphrase } from '../sealing/passphrase.ts';
import { mendRequestQueue } from './request-queue.ts';

export { kafkaCluster, topicName, type KafkaCluster } from '../../domain/kafka.ts';

export interface KafkaLine {
  readonly level: 'debug' | 'warn' | 'error';
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface KafkaClientOptions {
  /** As the brokers' logs name this client. */
  readonly clientId: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly onLine?: (line: KafkaLine) => void;
  /** How often kafkajs tries a request again by itself before its caller hears of it. */
  readonly retries?: number;
}

/** A client; nothing is connected yet. CONFIG_INVALID, PASSPHRASE_MISSING: a certificate or a secret is not there. */
export async function createKafka(cluster: KafkaCluster, options: KafkaClientOptions): Promise<Kafka> {
  // Loaded by whoever connects, and not by all that read the catalog.
  const [{ default: kafkajs }, { installCodecs }] = await Promise.all([import('kafkajs'), import('./codecs.ts')]);
  const { Kafka: Client, logLevel } = kafkajs;
  mendRequestQueue();
  installCodecs();
  const { clientId, variables, onLine, retries = 5 } = options;
  const [ssl, sasl] = await Promise.all([sslOf(cluster), saslOf(cluster, variables)]);
  return new Client({
    ...{ clientId, brokers: [...cluster.brokers], ssl, ...(sasl === undefined ? {} : { sasl }) },
    ...{ connectionTimeout: KAFKA_CONNECT_MS, authenticationTimeout: KAFKA_CONNECT_MS, requestTimeout: KAFKA_REQUEST_MS },
    retry: { initialRetryTime: 100, maxRetryTime: 2000, retries },
    logLevel: logLevel.WARN,
    logCreator:
      () =>
      ({ level, log: { message, ...facts } }) =>
        onLine?.({ level: level <= logLevel.ERROR ? 'error' : level === logLevel.WARN ? 'warn' : 'debug', message, facts }),
  });
}

async function readPem(file: string, field: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new HoldfastError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(cause)}`, { field }, cause);
  }
}

async function sslOf({ tls }: KafkaCluster): Promise<NonNullable<KafkaConfig['ssl']>> {
  if (tls === null) return false;
  const { ca, client } = tls;
  return {
    ...(ca === null ? {} : { ca: [await readPem(ca, 'kafka.tls.ca')] }),
    ...(client === null
      ? {}
      : { cert: await readPem(client.cert, 'kafka.tls.client.cert'), key: await readPem(client.key, 'kafka.tls.client.key') }),
  };
}

async function saslOf(
  { sasl }: KafkaCluster,
  variables: Readonly<Record<string, string | undefined>>,
): Promise<KafkaConfig['sasl'] | undefined> {
  if (sasl === null) return undefined;
  const { mechanism, username } = sasl;
  const password = await resolvePassphrase(sasl.password, variables);
  // One of three literals each: the union of kafkajs wants them told apart.
  switch (mechanism) {
    case 'plain':
      return { mechanism, username, password };
    case 'scram-sha-256':
      return { mechanism, username, password };
    case 'scram-sha-512':
      return { mechanism, username, password };
  }
}

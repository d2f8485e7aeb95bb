/** The options by which commands name a Kafka cluster, and the record that they come to; secrets by reference alone. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../domain/errors.ts';
import type { KafkaCluster } from '../../ground/kafka/kafka-cluster.ts';
import { passphraseReference } from './arguments.ts';

export interface KafkaOptions {
  readonly brokers: string;
  readonly tls?: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly sasl?: string;
  readonly username?: string;
  readonly password?: string;
}

export const addKafkaOptions = (command: Command): Command =>
  command
    .requiredOption('--brokers <host:port,...>', 'some of the brokers; the others are found through them')
    .option('--tls', 'speak TLS, with the authorities of the system')
    .option('--ca <file>', 'PEM of the authority of the brokers')
    .option('--cert <file>', 'PEM of a certificate of this side')
    .option('--key <file>', 'and its key')
    .option('--sasl <mechanism>', 'plain, scram-sha-256 or scram-sha-512')
    .option('--username <name>', 'with --sasl')
    .option('--password <ref>', 'with --sasl: env:NAME, file:/path or command:...', passphraseReference);

const halved = (field: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${field} is needed with what is given`, { field, expected });

/** What is wrong with a value in it is said by the schema that takes it. */
export function clusterOf(options: KafkaOptions): Record<keyof KafkaCluster, unknown> {
  const { brokers, tls, ca, cert, key, sasl, username, password } = options;
  if ((cert === undefined) !== (key === undefined)) throw halved(cert === undefined ? '--cert' : '--key', 'both, or neither');
  if (sasl !== undefined && (username === undefined || password === undefined))
    throw halved(username === undefined ? '--username' : '--password', 'with --sasl a user, and a password by reference');
  if (sasl === undefined && (username !== undefined || password !== undefined))
    throw halved('--sasl', 'plain, scram-sha-256 or scram-sha-512');
  const client = cert === undefined || key === undefined ? null : { cert: resolve(cert), key: resolve(key) };
  return {
    brokers: brokers.split(',').map((broker) => broker.trim()),
    tls: tls === true || ca !== undefined || client !== null ? { ca: ca === undefined ? null : resolve(ca), client } : null,
    sasl: sasl === undefined ? null : { mechanism: sasl, username, password },
  };
}

/** A Kafka cluster as records and inputs of jobs have it: addresses, and secrets by reference alone. */
import { z } from 'zod';
import { KAFKA_BROKERS_MAX } from './limits.ts';

const path = z.string().min(1).max(4096);
const broker = z
  .string()
  .max(300)
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$/);

export const topicName = z.string().regex(/^[A-Za-z0-9._-]{1,249}$/);

export const kafkaCluster = z.strictObject({
  /** HOST:PORT of some of the brokers; the others are found through them. */
  brokers: z.array(broker).min(1).max(KAFKA_BROKERS_MAX),
  /** Null: unencrypted. `ca`: PEM of the authority of the brokers; null: one that the system trusts. */
  tls: z.strictObject({ ca: path.nullable(), client: z.strictObject({ cert: path, key: path }).nullable() }).nullable(),
  sasl: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: z.string().min(1).max(300),
      /** env:NAME, file:/path or command:..., as for passphrases. */
      password: z
        .string()
        .max(2000)
        .regex(/^(env|file|command):/),
    })
    .nullable(),
});
export type KafkaCluster = z.infer<typeof kafkaCluster>;

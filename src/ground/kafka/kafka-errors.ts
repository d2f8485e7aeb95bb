/** What kafkajs throws, as codes of the table: who does not answer, and who refuses. */
import kafkajs from 'kafkajs';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';

// Node finds no names in a CommonJS module that spreads them.
const { KafkaJSError, KafkaJSProtocolError, KafkaJSSASLAuthenticationError } = kafkajs;

/** Protocol errors that credentials or rights are the reason of. */
const DENIED: ReadonlySet<string> = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  'SASL_AUTHENTICATION_FAILED',
]);

/** The type of the protocol error at the bottom of what kafkajs wrapped, as UNKNOWN_TOPIC_OR_PARTITION; null when there is none. */
export function protocolErrorOf(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof KafkaJSProtocolError) return at.type ?? null;
  return null;
}

/** An error of kafkajs as one of ours; any other as it is. */
export function kafkaFailure(error: unknown, brokers: readonly string[]): unknown {
  if (isHoldfastError(error) || !(error instanceof KafkaJSError)) return error;
  const protocol = protocolErrorOf(error);
  const denied = error instanceof KafkaJSSASLAuthenticationError || (protocol !== null && DENIED.has(protocol));
  return new HoldfastError(denied ? 'KAFKA_DENIED' : 'KAFKA_UNREACHABLE', `Kafka at ${brokers.join(', ')}: ${error.message}`, {
    ...{ brokers, ...(protocol === null ? {} : { error: protocol }) },
  });
}

/** Where the installation's events go, and where those come from that its triggers wait for: one Kafka cluster. Secrets by reference alone. */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { EVENT_PARTITIONS_MAX } from '../../domain/limits.ts';
import { kafkaCluster, topicName } from '../../ground/kafka/kafka-cluster.ts';

export const eventsRecord = z.strictObject({
  cluster: kafkaCluster,
  topic: topicName,
  /** Of the topic, where it has to be made. */
  partitions: z.int().min(1).max(EVENT_PARTITIONS_MAX),
  /** Rises when all is to be sent again from the first record on: to another topic, or to one that was emptied. */
  generation: z.int().min(1),
});
export type EventsRecord = z.infer<typeof eventsRecord>;

export const eventsNotConfigured = (): HoldfastError =>
  new HoldfastError('EVENTS_NOT_CONFIGURED', 'this installation has no Kafka brokers for its events');

export function requireEvents({ events }: { readonly events: EventsRecord | null }): EventsRecord {
  if (events === null) throw eventsNotConfigured();
  return events;
}

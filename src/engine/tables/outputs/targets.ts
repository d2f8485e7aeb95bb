/** Where a past state can be put, with everything settled that a job's input may leave open. */
import type { KafkaCluster } from '../../../domain/kafka.ts';
import type { FileOutput, PostgresOutput, TopicOutput } from '../../../domain/past-states.ts';

export type SettledTopic = TopicOutput & { readonly cluster: KafkaCluster };
export type SettledFile = FileOutput & { readonly table: string };
export type SettledOutput = SettledFile | SettledTopic | PostgresOutput;

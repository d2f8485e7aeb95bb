/** Which topics are a table's: names, in which `*` stands for any characters, matched in time that grows with their lengths alone. */
import { HoldfastError } from '../../../domain/errors.ts';
import { TABLE_PARTITIONS_MAX, TABLE_TOPICS_MAX } from '../../../domain/limits.ts';

export const partitionId = (topic: string, partition: number): string => `${topic}/${partition}`;

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export function parsePartitionId(id: string): TopicPartition {
  const slash = id.lastIndexOf('/');
  return { topic: id.slice(0, slash), partition: Number(id.slice(slash + 1)) };
}

export const isPattern = (name: string): boolean => name.includes('*');

/** Topics that are Kafka's own or Connect's are meant only by who writes their beginning. */
const INTERNAL = '__';

export function matches(pattern: string, topic: string): boolean {
  if (topic.startsWith(INTERNAL) && !pattern.startsWith(INTERNAL)) return false;
  let at = 0;
  let star = -1;
  let since = 0;
  for (let i = 0; i < topic.length;) {
    if (pattern[at] === '*') {
      star = at++;
      since = i;
    } else if (pattern[at] === topic[i]) {
      at++;
      i++;
    } else if (star >= 0) {
      // The last star takes one more.
      at = star + 1;
      i = ++since;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}

/** Ids of the partitions of the topics that match, by name and number. ARGUMENT_INVALID when they are more than are bounded. */
export function partitionsOf(patterns: readonly string[], there: ReadonlyMap<string, readonly number[]>): string[] {
  const topics = [...there.keys()].filter((topic) => patterns.some((pattern) => matches(pattern, topic))).sort();
  const ids = topics.flatMap((topic) => (there.get(topic) ?? []).map((partition) => partitionId(topic, partition)));
  if (topics.length > TABLE_TOPICS_MAX || ids.length > TABLE_PARTITIONS_MAX)
    throw new HoldfastError('ARGUMENT_INVALID', `the table's names match ${topics.length} topics with ${ids.length} partitions`, {
      field: 'source.topics',
      expected: `names that match at most ${TABLE_TOPICS_MAX} topics and ${TABLE_PARTITIONS_MAX} partitions`,
    });
  return ids;
}

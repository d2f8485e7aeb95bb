/**
 * Topics that are read only to know how far the source is: Debezium's transaction topic, and others of the same connector.
 *
 * Nothing of them is archived. They are read from their last record on: older ones say less. What they say that cannot be understood says
 * nothing: their own archive, if they have one, quarantines it.
 */
import type { KafkaSource } from '../../../engine/catalog/tables.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../engine/tables/events/debezium.ts';
import { createTransactionDecoder } from '../../../engine/tables/events/transactions.ts';
import type { TableRecord } from '../../../engine/tables/events/event.ts';
import type { Fetched, PartitionReader, Want } from '../../../ground/kafka/partition-reader.ts';
import { partitionId } from './topics.ts';

export interface Bystanders {
  readonly topics: readonly string[];
  /** Follows all partitions of its topics that are there. */
  follow(there: ReadonlyMap<string, readonly number[]>): void;
  wants(): Want[];
  /** False: the answer is no bystander's. */
  take(fetched: Fetched): boolean;
}

export function createBystanders(
  reader: PartitionReader,
  { transactions, heartbeats }: Pick<KafkaSource, 'transactions' | 'heartbeats'>,
  onStamp: (stampUs: number) => void,
): Bystanders {
  const topics = [...(transactions === null ? [] : [transactions]), ...heartbeats];
  /** Null: where its log ends is being asked for. */
  const following = new Map<string, { readonly topic: string; readonly partition: number; offset: number | null }>();
  const transactionOf = createTransactionDecoder();
  const eventOf = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });

  const stampOf = (topic: string, record: TableRecord): number | null => {
    if (topic === transactions) {
      const mark = transactionOf(record);
      return mark.kind === 'mark' ? mark.stampUs : null;
    }
    const event = eventOf(record);
    return event.kind === 'change' && event.place.kind === 'source' ? event.stampUs : null;
  };

  const begin = async (at: { readonly topic: string; readonly partition: number; offset: number | null }): Promise<void> => {
    // Whoever cannot be asked now is asked again.
    const range = await reader.range(at.topic, at.partition).catch(() => null);
    if (range === null) following.delete(partitionId(at.topic, at.partition));
    else at.offset = Math.max(range.start, range.end - 1);
  };

  return {
    topics,
    follow(there) {
      for (const topic of topics)
        for (const partition of there.get(topic) ?? []) {
          const id = partitionId(topic, partition);
          if (following.has(id)) continue;
          const at = { topic, partition, offset: null };
          following.set(id, at);
          void begin(at);
        }
    },
    wants: () => [...following.values()].flatMap(({ topic, partition, offset }) => (offset === null ? [] : [{ topic, partition, offset }])),
    take(fetched) {
      const at = following.get(partitionId(fetched.topic, fetched.partition));
      if (at === undefined) return false;
      if (fetched.kind === 'out of range') {
        at.offset = null;
        void begin(at);
        return true;
      }
      for (const record of fetched.records) {
        const stampUs = stampOf(fetched.topic, record);
        if (stampUs !== null) onStamp(stampUs);
      }
      at.offset = fetched.next;
      return true;
    },
  };
}

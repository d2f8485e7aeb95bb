/**
 * Archives the topics of a table, until it is stopped (docs/tables.md, section 11).
 *
 *     look for partitions ─▶ fetch ─▶ decode and place ─▶ batch ─▶ segment, then BATCH
 *            each second        one is under way while another is taken apart     one is put while the next is filled
 *
 * The archive's log says where each partition goes on; nothing else is remembered, so any failure that waiting can mend ends one round, drops
 * what was not put, and the next round begins from the log. What is in memory is bounded: two answers, two batches. Who has been
 * taken over ends with CLAIM_LOST.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { isHoldfastError, type HoldfastError } from '../../../domain/errors.ts';
import { ARCHIVE_RETRY_MS, ARCHIVE_RETRY_MS_MAX, DUCKDB_ENCODE_BYTES } from '../../../domain/limits.ts';
import type { KafkaSource } from '../../../engine/catalog/tables.ts';
import type { TableArchive } from '../../../engine/tables/archive/archive.ts';
import { Duck } from '../../../engine/tables/archive/duck.ts';
import { openPartitionReader } from '../../../ground/kafka/partition-reader.ts';
import { addBatch, NO_ARCHIVING, type ArchivingFigures } from './figures.ts';
import { readOn } from './round.ts';

export type ArchivingEvent =
  /** Kafka or the store does not answer; it is tried again. */
  | { readonly kind: 'interrupted'; readonly error: HoldfastError; readonly againInMs: number }
  | { readonly kind: 'partitions'; readonly added: readonly string[] }
  | { readonly kind: 'put'; readonly figures: ArchivingFigures };

export interface ArchivingParts {
  /** Synced, and of a form; `epoch` is the claim of its role `archive`. */
  readonly archive: TableArchive;
  readonly epoch: number;
  readonly source: KafkaSource;
  readonly kafka: Kafka;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: ArchivingEvent) => void;
  /** Parent of the temporary folder. */
  readonly folder?: string;
}

/** Resolves when it is stopped, with what it did. CLAIM_LOST when another one has taken over; LOG_DIVERGED, TOPIC_REPLACED, DAMAGED and the like. */
export async function archiveTopics(parts: ArchivingParts): Promise<ArchivingFigures> {
  const { signal, kafka, source, archive, onEvent } = parts;
  await using duck = await Duck.open({
    ...{ memoryBytes: DUCKDB_ENCODE_BYTES, threads: 1 },
    ...(parts.folder === undefined ? {} : { parent: parts.folder }),
  });
  let figures = NO_ARCHIVING;
  let waitMs = ARCHIVE_RETRY_MS;
  const note = {
    put(batch: Parameters<typeof addBatch>[1], bytes: number): void {
      figures = addBatch(figures, batch, bytes);
      waitMs = ARCHIVE_RETRY_MS;
      onEvent?.({ kind: 'put', figures });
    },
    heartbeat: (): void => void (figures = { ...figures, heartbeats: figures.heartbeats + 1 }),
    partitions: (added: readonly string[]): void => onEvent?.({ kind: 'partitions', added }),
  };
  while (!signal.aborted) {
    try {
      await using reader = await openPartitionReader(kafka, source.brokers);
      await archive.sync();
      await readOn({ ...parts, reader, duck, note });
    } catch (error) {
      if (!isHoldfastError(error) || !error.retryable) throw error;
      figures = { ...figures, interruptions: figures.interruptions + 1 };
      onEvent?.({ kind: 'interrupted', error, againInMs: waitMs });
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      waitMs = Math.min(2 * waitMs, ARCHIVE_RETRY_MS_MAX);
    }
  }
  return figures;
}

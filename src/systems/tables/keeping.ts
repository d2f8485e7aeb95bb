/**
 * What is done for an archive beside its archiver, under the role `snapshots`: small segments are merged, partitions that are due get a
 * snapshot, what is older than the window goes, and so do packs that nobody named.
 *
 * Each step is a record first and a deletion after (src/engine/tables); it may end between any two of them and be begun anew. Before a snapshot
 * the topic's partitions are asked for: what a snapshot forgets rests on where keys could be (docs/tables.md, section 6).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { DUCKDB_ENCODE_BYTES, KEEP_EVERY_MS, RETAIN_EVERY_MS } from '../../domain/limits.ts';
import type { TableDefinition } from '../../engine/catalog/tables.ts';
import { addPartitions, type TableArchive } from '../../engine/tables/archive/archive.ts';
import { Duck } from '../../engine/tables/archive/duck.ts';
import { mergeSegments, planMerge } from '../../engine/tables/archive/merging.ts';
import { pointSnapshot } from '../../engine/tables/archive/pointers.ts';
import { applyRetention, planRetention, type RetentionPlan } from '../../engine/tables/archive/retention.ts';
import { sweep } from '../../engine/tables/archive/sweep.ts';
import { dueSnapshots } from '../../engine/tables/archive/triggers.ts';
import { makeSnapshot } from '../../engine/tables/past-state/snapshot.ts';
import { openPartitionReader } from '../../ground/kafka/partition-reader.ts';
import { isPattern, partitionsOf } from './archiving/topics.ts';

export type KeepingEvent =
  | { readonly kind: 'merged'; readonly segments: number; readonly bytes: number }
  | { readonly kind: 'snapshot'; readonly partition: string; readonly form: 'copy' | 'pointer'; readonly because: string }
  | { readonly kind: 'dropped'; readonly packs: number; readonly bytes: number }
  | { readonly kind: 'postponed'; readonly error: HoldfastError };

export interface KeepingParts {
  /** `epoch` is the claim of its role `snapshots`. */
  readonly archive: TableArchive;
  readonly epoch: number;
  readonly table: Pick<TableDefinition, 'source' | 'snapshots' | 'retainMs'>;
  readonly kafka: Kafka;
  readonly signal: AbortSignal;
  /** Somebody has asked for a snapshot of each partition. */
  readonly requested: boolean;
  readonly onEvent?: (event: KeepingEvent) => void;
}

/** Past states from so long ago on are wanted. */
export const planWindow = (archive: TableArchive, retainMs: number): RetentionPlan =>
  planRetention(archive.known(), Math.max(0, (archive.environment.nowMs() - retainMs) * 1000));

/** Until it is stopped. CLAIM_LOST when another one does it now. */
export async function keepArchive(parts: KeepingParts): Promise<void> {
  const { archive, signal } = parts;
  let { requested } = parts;
  let retainedMs = -Infinity;
  while (!signal.aborted) {
    const nowMs = archive.environment.nowMs();
    try {
      await requireClaim(parts);
      await mergeAll(parts);
      await takeSnapshots(parts, requested);
      requested = false;
      if (nowMs - retainedMs >= RETAIN_EVERY_MS) {
        await letGo(parts);
        retainedMs = nowMs;
      }
    } catch (error) {
      // What waiting can mend is waited for; archiving goes on meanwhile.
      if (!isHoldfastError(error) || !error.retryable) throw error;
      parts.onEvent?.({ kind: 'postponed', error });
    }
    await sleep(KEEP_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function requireClaim({ archive, epoch }: KeepingParts): Promise<void> {
  const { claims } = await archive.sync();
  if (claims.snapshots !== epoch)
    throw new HoldfastError('CLAIM_LOST', `claim ${epoch} of the role snapshots is closed`, { epoch, open: claims.snapshots });
}

/** A session for one piece of work: what it takes is given back after it. */
const openDuck = (): Promise<Duck> => Duck.open({ memoryBytes: DUCKDB_ENCODE_BYTES, threads: 1 });

async function mergeAll({ archive, epoch, signal, onEvent }: KeepingParts): Promise<void> {
  for (let plan = planMerge(archive.known()); plan !== null && !signal.aborted; plan = planMerge(archive.known())) {
    await using duck = await openDuck();
    await mergeSegments(archive, duck, epoch, plan);
    onEvent?.({ kind: 'merged', segments: plan.segments, bytes: plan.bytes });
  }
}

async function takeSnapshots(parts: KeepingParts, requested: boolean): Promise<void> {
  const { archive, epoch, table, signal, onEvent } = parts;
  const asked = new Set(requested ? archive.known().partitions.keys() : []);
  const due = dueSnapshots(archive.known(), table.snapshots, asked);
  if (due.length === 0) return;
  await notePartitions(parts);
  for (const { partition, form, because } of due) {
    if (signal.aborted) return;
    if (form === 'pointer') await pointSnapshot(archive, epoch, partition);
    else {
      await using duck = await openDuck();
      await makeSnapshot(archive, duck, epoch, partition);
    }
    onEvent?.({ kind: 'snapshot', partition, form, because });
  }
}

/** Partitions that the topics have by now. */
async function notePartitions({ archive, table: { source }, kafka }: KeepingParts): Promise<void> {
  await using reader = await openPartitionReader(kafka, source.brokers);
  const there = await reader.partitions(source.topics.some(isPattern) ? null : source.topics);
  const ids = partitionsOf(source.topics, there);
  if (ids.length > 0) await addPartitions(archive, ids);
}

async function letGo({ archive, epoch, table: { retainMs }, onEvent }: KeepingParts): Promise<void> {
  const dropped = retainMs === null ? [] : await applyRetention(archive, epoch, planWindow(archive, retainMs));
  const swept = await sweep(archive);
  const packs = [...dropped, ...swept];
  if (packs.length > 0) onEvent?.({ kind: 'dropped', packs: packs.length, bytes: packs.reduce((sum, { bytes }) => sum + bytes, 0) });
}

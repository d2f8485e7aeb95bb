/**
 * Retention: what of a table archive may go when past states older than a moment are wanted no more.
 *
 * Each partition keeps one base that is older than the window, and all that came after it. Older by a margin, for a cut can lie before its
 * time by as much as a transaction is long or a clock steps back, and then the base before is wanted. The plan is pure and can be shown
 * (`--dry-run`); carrying it out is the record first and then the deletion of what it left without use.
 */
import { RETENTION_MARGIN_US } from '../../../domain/limits.ts';
import type { TableArchive } from './archive.ts';
import { remembersEnough } from './bases.ts';
import type { TableEntry } from './entries.ts';
import { applyEntry, type PartitionState, type TableState } from './state.ts';
import { deletePacks, unnamedSince, type NamedPack } from './sweep.ts';

export interface PartitionRetention {
  readonly partition: string;
  /** The base that is kept, all before it being dropped; null: nothing is dropped. */
  readonly base: { readonly offset: number; readonly stampUs: number } | null;
  /** Why no base could be chosen, or why there is nothing before it. */
  readonly keptAll: 'NO_BASE_BEFORE_THE_WINDOW' | 'SENT_AGAIN_FROM_BEFORE' | 'NOTHING_OLDER' | null;
  readonly dropped: { readonly parts: number; readonly rows: number; readonly snapshots: number };
}

export interface RetentionPlan {
  /** Past states from here on can be had after it, as far as they can be had now. */
  readonly sinceUs: number;
  readonly partitions: readonly PartitionRetention[];
  /** Objects that nothing needs after it, and their bytes together. */
  readonly packs: readonly NamedPack[];
  readonly bytes: number;
}

/** What would be dropped so that every time from `sinceUs` on can still be had. Pure. */
export function planRetention(state: TableState, sinceUs: number, marginUs = RETENTION_MARGIN_US): RetentionPlan {
  const partitions = [...state.partitions.values()].map((partition) => planPartition(state, partition, sinceUs - marginUs));
  const after = dropsOf({ partitions }, 0).reduce((at, entry) => applyEntry(at, entry, state.n), state);
  const packs = unnamedSince(state, after);
  return { sinceUs, partitions, packs, bytes: packs.reduce((sum, { bytes }) => sum + bytes, 0) };
}

const NOTHING = { parts: 0, rows: 0, snapshots: 0 };

function planPartition(state: TableState, partition: PartitionState, beforeUs: number): PartitionRetention {
  const keepAll = (keptAll: PartitionRetention['keptAll']): PartitionRetention => ({
    partition: partition.id,
    base: null,
    keptAll,
    dropped: NOTHING,
  });
  const old = partition.snapshots.filter((base) => base.stampUs !== null && base.stampUs <= beforeUs);
  if (old.length === 0) return keepAll('NO_BASE_BEFORE_THE_WINDOW');
  const base = old.findLast((one) => remembersEnough(state, partition, one));
  if (base === undefined) return keepAll('SENT_AGAIN_FROM_BEFORE');
  const parts = partition.parts.filter((part) => part.to <= base.offset);
  const snapshots = partition.snapshots.filter((one) => one.offset < base.offset);
  if (parts.length + snapshots.length === 0) return keepAll('NOTHING_OLDER');
  return {
    partition: partition.id,
    base: { offset: base.offset, stampUs: base.stampUs ?? 0 },
    keptAll: null,
    dropped: { parts: parts.length, rows: parts.reduce((sum, part) => sum + part.rows, 0), snapshots: snapshots.length },
  };
}

const dropsOf = ({ partitions }: Pick<RetentionPlan, 'partitions'>, epoch: number): TableEntry[] =>
  partitions.flatMap(({ partition, base }) => (base === null ? [] : [{ kind: 'DROP' as const, epoch, partition, offset: base.offset }]));

/** Carries a plan out under a claim of the role `snapshots`. What the archive was given since the plan was made is kept. Returns the packs deleted. */
export async function applyRetention(archive: TableArchive, epoch: number, plan: RetentionPlan): Promise<readonly NamedPack[]> {
  const before = archive.known();
  for (const entry of dropsOf(plan, epoch)) await archive.append(() => entry);
  const packs = unnamedSince(before, archive.known());
  await deletePacks(archive, packs);
  return packs;
}

/** How far a table's archive is, from its log alone: whoever archives need not run. */
import type { Home } from '../../engine/catalog/home.ts';
import type { TableDefinition } from '../../engine/catalog/tables.ts';
import type { Gap } from '../../engine/tables/archive/entries.ts';
import { packsOf } from '../../engine/tables/archive/sweep.ts';
import type { PartitionState, TableState } from '../../engine/tables/archive/state.ts';
import { throughOf, windowOf, type PastWindow } from '../../engine/tables/past-state/window.ts';
import type { QuarantineReason } from '../../engine/tables/events/event.ts';
import { openTable } from './opening.ts';

export interface PartitionStatus {
  readonly id: string;
  readonly next: number;
  /** Archived through this stamp; null: it has shown nothing yet. */
  readonly throughUs: number | null;
  /** Past states begin here; null: it is not whole. */
  readonly beginsUs: number | null;
  readonly rows: number;
  readonly parts: number;
  readonly snapshots: number;
  readonly late: number;
  readonly quarantined: number;
  /** Heartbeats that an event has contradicted. */
  readonly contradicted: number;
  /** Offsets that the topic no longer had. */
  readonly missing: Readonly<Record<Gap['kind'], number>>;
}

export interface TableStatus {
  readonly table: TableDefinition;
  readonly records: number;
  readonly window: PastWindow;
  /** Stored bytes that the log names. */
  readonly bytes: number;
  readonly columns: number;
  readonly schemas: number;
  readonly partitions: readonly PartitionStatus[];
  /** The last of them. */
  readonly quarantined: readonly { readonly partition: string; readonly offset: number; readonly reason: QuarantineReason }[];
}

const QUARANTINED_SHOWN = 20;

/** TABLE_NOT_FOUND, TABLE_NOT_ARCHIVED, and as the store. */
export async function tableStatus(home: Home, name: string): Promise<TableStatus> {
  const { table, archive } = await openTable(home, name);
  return statusOf(table, archive.known());
}

export function statusOf(table: TableDefinition, state: TableState): TableStatus {
  const partitions = [...state.partitions.values()];
  const quarantined = partitions.flatMap(({ id, parts }) =>
    parts.flatMap((part) => part.quarantined.map(({ offset, reason }) => ({ partition: id, offset, reason }))),
  );
  return {
    ...{ table, records: state.n, window: windowOf(state), columns: state.columns.length, schemas: state.schemas.length },
    bytes: [...packsOf(state).values()].reduce((sum, bytes) => sum + bytes, 0),
    partitions: partitions.map(partitionStatus),
    quarantined: quarantined.slice(-QUARANTINED_SHOWN),
  };
}

function partitionStatus(partition: PartitionState): PartitionStatus {
  const { id, next, beginsUs, parts, snapshots, contradicted } = partition;
  const missing = { lost: 0, compacted: 0, control: 0 };
  for (const { gaps } of parts) for (const { kind, from, to } of gaps) missing[kind] += to - from;
  const sum = (of: (part: PartitionState['parts'][number]) => number): number => parts.reduce((all, part) => all + of(part), 0);
  return {
    ...{ id, next, throughUs: throughOf(partition), beginsUs, contradicted, missing, parts: parts.length, snapshots: snapshots.length },
    rows: sum(({ rows }) => rows),
    late: sum(({ late }) => late),
    quarantined: sum((part) => part.quarantined.length),
  };
}

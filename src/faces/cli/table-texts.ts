/** How far the archive of a table is, and what retention lets go of, as a person reads it. */
import type { JobRecord } from '../../engine/catalog/catalog.ts';
import type { PartitionStatus, TableStatus } from '../../systems/tables/table-status.ts';
import type { Retention } from '../../systems/tables/upkeep.ts';
import { counted, formatBytes } from './quantities.ts';
import { renderFields, renderTable } from './table.ts';

/** To the microsecond, as it is asked for. */
const stampText = (us: number | null): string => {
  if (us === null) return 'none';
  const seconds = new Date(Math.floor(us / 1000)).toISOString().slice(0, 19);
  return `${seconds}.${String(us % 1_000_000).padStart(6, '0')}Z`;
};

const heldBy = (us: number | null, by: string | null): string =>
  us === null ? `none: ${by ?? 'no partition'} holds it back` : `${stampText(us)} (${by})`;

function archiveText(job: JobRecord | null): string {
  if (job === null) return 'not begun';
  return job.ended === null ? 'begun' : `${job.ended.outcome}: ${job.ended.summary}`;
}

export function tableStatusText(
  { table, window, bytes, columns, schemas, partitions, quarantined }: TableStatus,
  job: JobRecord | null,
): string {
  const fields = renderFields([
    ['table', table.name],
    ['store', table.store],
    ['archive', archiveText(job)],
    ['earliest', heldBy(window.earliestUs, window.earliestBy)],
    ['latest', heldBy(window.latestUs, window.latestBy)],
    ['holds', `${formatBytes(bytes)}; ${counted(columns, 'column')}, ${counted(schemas, 'schema')}`],
  ]);
  const lines = renderTable(COLUMNS, partitions, 'no partition was seen yet');
  if (quarantined.length === 0) return `${fields}\n${lines}`;
  const bad = renderTable(
    [
      { title: 'QUARANTINED', cell: ({ partition }) => partition },
      { title: 'OFFSET', align: 'right', cell: ({ offset }) => String(offset) },
      { title: 'REASON', cell: ({ reason }) => reason },
    ],
    quarantined,
    '',
  );
  return `${fields}\n${lines}\n${bad}`;
}

const COLUMNS: Parameters<typeof renderTable<PartitionStatus>>[0] = [
  { title: 'PARTITION', cell: ({ id }) => id },
  { title: 'NEXT', align: 'right', cell: ({ next }) => String(next) },
  { title: 'THROUGH', cell: ({ throughUs }) => stampText(throughUs) },
  { title: 'BEGINS', cell: ({ beginsUs }) => (beginsUs === null ? 'not whole' : beginsUs === 0 ? 'always' : stampText(beginsUs)) },
  { title: 'ROWS', align: 'right', cell: ({ rows }) => String(rows) },
  { title: 'PARTS', align: 'right', cell: ({ parts }) => String(parts) },
  { title: 'SNAPSHOTS', align: 'right', cell: ({ snapshots }) => String(snapshots) },
  { title: 'LATE', align: 'right', cell: ({ late }) => String(late) },
  { title: 'BAD', align: 'right', cell: ({ quarantined }) => String(quarantined) },
  { title: 'LOST', align: 'right', cell: ({ missing }) => String(missing.lost) },
];

export function retentionText({ plan, litter, applied }: Retention): string {
  const lines = renderTable(
    [
      { title: 'PARTITION', cell: ({ partition }) => partition },
      { title: 'KEEPS FROM', cell: ({ base }) => (base === null ? 'its beginning' : `offset ${base.offset}, ${stampText(base.stampUs)}`) },
      { title: 'ROWS', align: 'right', cell: ({ dropped }) => String(dropped.rows) },
      { title: 'SNAPSHOTS', align: 'right', cell: ({ dropped }) => String(dropped.snapshots) },
      { title: 'WHY ALL STAYS', cell: ({ keptAll }) => keptAll ?? '' },
    ],
    plan.partitions,
    'no partition was seen yet',
  );
  const litterBytes = litter.reduce((sum, { bytes }) => sum + bytes, 0);
  const objects = counted(plan.packs.length + litter.length, 'object');
  return `${lines}\nsince ${stampText(plan.sinceUs)}: ${objects}, ${formatBytes(plan.bytes + litterBytes)} ${applied ? 'are gone' : 'would go'}\n`;
}

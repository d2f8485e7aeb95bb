/**
 * Merging small segments: a batch a second leaves 86,400 of them a day, each a part of every partition in the state and a file
 * in every fold.
 *
 * By tiers, so that a row is rewritten once a tier and not once a merge: MERGE_WIDTH neighbours of a tier, with the smaller ones that stand among
 * them, become one file, which is of the next tier. Neighbours, for a merged file must be of records that follow each other. A file of
 * MERGE_BYTES_MAX / 2 is left alone.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { MERGE_BYTES_MAX, MERGE_TIER_BYTES, MERGE_WIDTH } from '../../../domain/limits.ts';
import type { TableArchive } from './archive.ts';
import { isOf } from './coalescing.ts';
import { sqlText, type Duck } from './duck.ts';
import type { FileRef } from './entries.ts';
import { openFiles } from './opened-files.ts';
import { cellColumn, FIXED_COLUMNS, parquetCopy } from './rows.ts';
import type { ArchivedPart, TableState } from './state.ts';
import { deletePacks, unnamedSince } from './sweep.ts';
import { keepFile } from './writer.ts';

export interface MergePlan {
  /** The segments of these records ... */
  readonly first: number;
  readonly last: number;
  /** ... which are so many, of so many bytes together. */
  readonly segments: number;
  readonly bytes: number;
}

interface Segment {
  first: number;
  last: number;
  readonly bytes: number;
}

export interface MergeLimits {
  readonly width: number;
  readonly tierBytes: number;
  readonly bytesMax: number;
}
const LIMITS: MergeLimits = { width: MERGE_WIDTH, tierBytes: MERGE_TIER_BYTES, bytesMax: MERGE_BYTES_MAX };

/** The next merge that is worth it, the smallest tier first; null: none is. Pure. */
export function planMerge(state: TableState, limits: MergeLimits = LIMITS): MergePlan | null {
  const segments = segmentsOf(state);
  const tierOf = ({ bytes }: Segment): number => Math.max(0, Math.floor(Math.log(bytes / limits.tierBytes) / Math.log(limits.width)) + 1);
  const tiers = [...new Set(segments.filter(({ bytes }) => bytes < limits.bytesMax / 2).map(tierOf))].sort((a, b) => a - b);
  for (const tier of tiers) {
    let run: Segment[] = [];
    for (const segment of segments) {
      const fits = tierOf(segment) <= tier && segment.bytes < limits.bytesMax / 2;
      if (!fits || sizeOf(run) + segment.bytes > limits.bytesMax) run = [];
      if (!fits) continue;
      run.push(segment);
      if (run.length > 1 && run.filter((one) => tierOf(one) === tier).length >= limits.width) return planOf(run);
    }
  }
  return null;
}

const sizeOf = (run: readonly Segment[]): number => run.reduce((sum, { bytes }) => sum + bytes, 0);
const planOf = (run: readonly Segment[]): MergePlan => ({
  first: run[0]?.first ?? 0,
  last: run.at(-1)?.last ?? 0,
  segments: run.length,
  bytes: sizeOf(run),
});

/** What lies in one file, or came in one record and needs none, ascending by record. */
function segmentsOf(state: TableState): Segment[] {
  const found = new Map<string, Segment>();
  for (const { parts } of state.partitions.values())
    for (const part of parts) {
      const key = part.file?.packs[0]?.name ?? `record ${part.seq}`;
      const segment = found.get(key) ?? { first: part.seq, last: part.last, bytes: part.file?.bytes ?? 0 };
      segment.first = Math.min(segment.first, part.seq);
      segment.last = Math.max(segment.last, part.last);
      found.set(key, segment);
    }
  return joinOverlapping([...found.values()].sort((a, b) => a.first - b.first));
}

/** Parts of one record, some of which have a file and some of which need none, are one segment. */
function joinOverlapping(segments: readonly Segment[]): Segment[] {
  const joined: Segment[] = [];
  for (const segment of segments) {
    const before = joined.at(-1);
    if (before === undefined || segment.first > before.last) joined.push(segment);
    else
      joined[joined.length - 1] = { first: before.first, last: Math.max(before.last, segment.last), bytes: before.bytes + segment.bytes };
  }
  return joined;
}

/** Merges by a plan, under a claim of the role `snapshots`: the file, the entry, then the deletion of what it replaced. */
export async function mergeSegments(archive: TableArchive, duck: Duck, epoch: number, { first, last }: MergePlan): Promise<void> {
  const before = archive.known();
  const parts = [...before.partitions.values()].flatMap((partition) => partition.parts.filter((part) => isOf(part, first, last)));
  const file = await mergedFile(archive, duck, epoch, parts, before);
  await archive.append(() => ({ kind: 'MERGE', epoch, first, last, file }));
  await deletePacks(archive, unnamedSince(before, archive.known()));
}

async function mergedFile(
  archive: TableArchive,
  duck: Duck,
  epoch: number,
  parts: readonly ArchivedPart[],
  state: TableState,
): Promise<FileRef | null> {
  const wanted = parts.reduce((sum, part) => sum + part.rows + part.quarantined.length, 0);
  if (wanted === 0) return null;
  const paths = await openFiles(
    archive,
    duck,
    parts.map((part) => part.file),
  );
  await duck.run(`CREATE OR REPLACE VIEW merging AS SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = true)`);
  await duck.run('CREATE OR REPLACE TABLE kept (number INTEGER, since BIGINT, below BIGINT)');
  const kept = parts.map((part) => `(${state.partitions.get(part.partition)?.number ?? -1}, ${part.from}, ${part.to})`);
  await duck.run(`INSERT INTO kept VALUES ${kept.join(', ')}`);
  const rows = `FROM merging JOIN kept ON _partition = number AND _offset >= since AND _offset < below`;
  const [[found] = []] = await duck.rows(`SELECT count(*) ${rows}`);
  if (Number(found) !== wanted)
    throw new HoldfastError('DAMAGED', 'segments hold other rows than the log says', { rows: Number(found), expected: wanted });
  const cells = (await duck.rows('SELECT column_name FROM (DESCRIBE merging)'))
    .map(([name]) => Number(String(name).slice(1)))
    .filter((column) => Number.isInteger(column))
    .sort((a, b) => a - b);
  const columns = [...FIXED_COLUMNS, ...cells.map(cellColumn)].join(', ');
  const path = duck.file('merged.parquet');
  await duck.run(parquetCopy(`(SELECT ${columns} ${rows} ORDER BY _partition, _offset)`, path));
  return keepFile(archive, 'segment', epoch, path);
}

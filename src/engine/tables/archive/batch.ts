/**
 * A batch under way: records of any number of partitions, decoded, placed and counted, until it is put into the archive.
 *
 * It begins where the log says that each partition stands; what comes before that is old and left out, what is missing
 * before the next record is a gap. Bounded: `full` tells when to put it and begin the next one.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import {
  EVENT_BATCH_BYTES_MAX,
  EVENT_BATCH_RECORDS_MAX,
  COLUMNS_MAX,
  PART_NOTES_MAX,
  QUARANTINE_BYTES_KEPT,
  TABLE_COLUMNS_MAX,
} from '../../../domain/limits.ts';
import type { ChangeEvent, Decoder, QuarantineReason, TableRecord, TableSchema } from '../events/event.ts';
import { quarantined, UNAVAILABLE, type Decoded } from '../events/event.ts';
import { parsePosition, positionText, type Position } from '../events/position.ts';
import type { BatchPart, Gap } from './entries.ts';
import { placeEvent, type PlacingCursor, type Placed } from './placing.ts';
import type { SegmentRow } from './rows.ts';
import type { PartitionState, TableState } from './state.ts';

/** Why records are missing before the next one, as far as the consumer knows its topic; `end`: where the log ends now. */
export type GapCause = Pick<Gap, 'kind' | 'end'>;

export interface SealedBatch {
  readonly rows: readonly SegmentRow[];
  /** Numbers of the columns that occur. */
  readonly columnNumbers: readonly number[];
  /** Names of the columns that are new, in the order of their numbers. */
  readonly columns: readonly string[];
  readonly schemas: readonly TableSchema[];
  readonly parts: readonly BatchPart[];
}

export interface Batch {
  /** Takes the next record of a partition; false when it was archived before. */
  add(partition: string, record: TableRecord, cause: GapCause): boolean;
  /** No record up to here: the partition was read to its end, and what is missing below it is a gap. */
  endAt(partition: string, offset: number, cause: GapCause): void;
  /** Whether it must be put before anything more is added. */
  full(): boolean;
  empty(): boolean;
  seal(): SealedBatch;
}

interface OpenPart {
  readonly number: number;
  readonly cursor: PlacingCursor;
  readonly part: {
    -readonly [K in keyof BatchPart]: BatchPart[K];
  };
  readonly rows: SegmentRow[];
  readonly unavailable: Set<number>;
  positionMin: Position | null;
  positionMax: Position | null;
  lateMin: Position | null;
}

export function createBatch(state: TableState, decode: Decoder): Batch {
  const open = new Map<string, OpenPart>();
  const columnNumbers = new Map(state.columns.map((name, number) => [name, number]));
  const used = new Set<number>();
  const schemaNumbers = new Map(state.schemas.map((schema, version) => [JSON.stringify(schema), version]));
  let records = 0;
  let bytes = 0;
  let notes = 0;

  const partOf = (id: string): OpenPart => {
    const known = open.get(id);
    if (known !== undefined) return known;
    const partition = state.partitions.get(id);
    if (partition === undefined) throw new HoldfastError('RECORD_REFUSED', `no partition ${id} is known`, { partition: id });
    const fresh = openPart(partition);
    open.set(id, fresh);
    return fresh;
  };

  const numberOf = (name: string): number => {
    const number = columnNumbers.get(name) ?? columnNumbers.size;
    columnNumbers.set(name, number);
    used.add(number);
    return number;
  };
  /** Schemas are compared once for each object that a decoder hands out, not once an event. */
  const schemaCache = new WeakMap<TableSchema, number>();
  const versionOf = (schema: TableSchema | null): number | null => {
    if (schema === null) return null;
    const cached = schemaCache.get(schema);
    if (cached !== undefined) return cached;
    const text = JSON.stringify(schema);
    const version = schemaNumbers.get(text) ?? schemaNumbers.size;
    schemaNumbers.set(text, version);
    schemaCache.set(schema, version);
    return version;
  };

  const passGap = (at: OpenPart, to: number, cause: GapCause): void => {
    if (to <= at.part.to) return;
    at.part.gaps.push({ from: at.part.to, to, ...cause });
    at.part.to = to;
    at.cursor.afterDelete = null;
    notes++;
  };

  const quarantine = (at: OpenPart, record: TableRecord, reason: QuarantineReason): void => {
    at.part.quarantined.push({ offset: record.offset, reason });
    at.cursor.afterDelete = null;
    notes++;
    at.rows.push({
      partition: at.number,
      offset: record.offset,
      position: at.cursor.high,
      stampUs: null,
      op: 'q',
      key: reason,
      transaction: null,
      schema: null,
      raw: Buffer.from((record.value ?? Buffer.alloc(0)).subarray(0, QUARANTINE_BYTES_KEPT)),
      cells: null,
    });
  };

  const cellsOf = (at: OpenPart, event: ChangeEvent): Map<number, string> | null => {
    if (event.row === null) return null;
    const cells = new Map<number, string>();
    for (const [name, text] of event.row) {
      const number = numberOf(name);
      cells.set(number, text);
      if (text === UNAVAILABLE) at.unavailable.add(number);
    }
    return cells;
  };

  const take = (at: OpenPart, event: ChangeEvent, placed: Placed, offset: number): void => {
    note(at, placed);
    if (placed.anew) {
      // No record is missing from the topic, and yet something is.
      at.part.gaps.push({ from: offset, to: offset, kind: 'lost', end: offset });
      notes++;
    }
    if (event.op === 'truncate') {
      at.part.truncates.push({ position: positionText(placed.position), stampUs: event.stampUs ?? 0 });
      notes++;
      return;
    }
    at.part.rows++;
    at.rows.push({
      partition: at.number,
      offset,
      position: placed.position,
      stampUs: placed.stampUs,
      op: event.op === 'put' ? 'p' : 'd',
      key: event.key ?? '',
      transaction: event.transaction,
      schema: versionOf(event.schema),
      raw: null,
      cells: cellsOf(at, event),
    });
  };

  return {
    add(partition, record, cause) {
      const at = partOf(partition);
      if (record.offset < at.part.to) return false;
      passGap(at, record.offset, cause);
      at.part.to = record.offset + 1;
      records++;
      bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0);
      const decoded = withinColumns(decode(record), columnNumbers);
      const placed = decoded.kind === 'change' ? placeEvent(at.cursor, decoded, record.offset) : decoded;
      if (placed.kind === 'quarantined') quarantine(at, record, placed.reason);
      else if (placed.kind === 'placed' && decoded.kind === 'change') take(at, decoded, placed, record.offset);
      else at.part.skipped++;
      return true;
    },
    endAt: (partition, offset, cause) => passGap(partOf(partition), offset, cause),
    full: () =>
      records >= EVENT_BATCH_RECORDS_MAX || bytes >= EVENT_BATCH_BYTES_MAX || notes >= PART_NOTES_MAX || used.size > COLUMNS_MAX / 2,
    empty: () => [...open.values()].every((at) => at.part.to === at.part.from),
    seal: () => sealed(state, [...open.values()], columnNumbers, used, schemaNumbers),
  };
}

/** A row that would name more columns than an archive may have is quarantined. */
function withinColumns(decoded: Decoded, columns: ReadonlyMap<string, number>): Decoded {
  if (decoded.kind !== 'change' || decoded.row === null || columns.size + decoded.row.size <= TABLE_COLUMNS_MAX) return decoded;
  const fresh = [...decoded.row.keys()].filter((name) => !columns.has(name)).length;
  return columns.size + fresh > TABLE_COLUMNS_MAX ? quarantined('TOO_WIDE') : decoded;
}

function openPart(partition: PartitionState): OpenPart {
  const high = parsePosition(partition.high);
  return {
    number: partition.number,
    cursor: { high, runningUs: partition.runningUs, streaming: partition.streaming, afterDelete: partition.afterDelete },
    part: {
      partition: partition.id,
      from: partition.next,
      to: partition.next,
      rows: 0,
      skipped: 0,
      late: 0,
      lateMin: null,
      positionMin: null,
      positionMax: null,
      high: partition.high,
      stampMinUs: null,
      stampMaxUs: null,
      runningUs: partition.runningUs,
      initialUs: null,
      streaming: partition.streaming,
      afterDelete: partition.afterDelete,
      unavailable: [],
      truncates: [],
      gaps: [],
      quarantined: [],
    },
    rows: [],
    unavailable: new Set(),
    positionMin: null,
    positionMax: null,
    lateMin: null,
  };
}

const least = (a: Position | null, b: Position): Position => (a === null || b < a ? b : a);
const most = (a: Position | null, b: Position): Position => (a === null || b > a ? b : a);

/** Counts a placed event into what its part says about itself. */
function note(at: OpenPart, placed: Placed): void {
  const { part } = at;
  at.positionMin = least(at.positionMin, placed.position);
  at.positionMax = most(at.positionMax, placed.position);
  if (placed.late) {
    part.late++;
    at.lateMin = least(at.lateMin, placed.position);
  }
  if (placed.stampUs !== null) {
    part.stampMaxUs = Math.max(part.stampMaxUs ?? 0, placed.stampUs);
    if (!placed.late) part.stampMinUs = Math.min(part.stampMinUs ?? placed.stampUs, placed.stampUs);
  }
  if (placed.initialUs !== null) part.initialUs = Math.max(part.initialUs ?? 0, placed.initialUs);
}

function sealed(
  state: TableState,
  open: readonly OpenPart[],
  columnNumbers: ReadonlyMap<string, number>,
  used: ReadonlySet<number>,
  schemaNumbers: ReadonlyMap<string, number>,
): SealedBatch {
  const moved = open.filter((at) => at.part.to > at.part.from).sort((a, b) => a.number - b.number);
  const text = (position: Position | null): string | null => (position === null ? null : positionText(position));
  return {
    rows: moved.flatMap((at) => at.rows),
    columnNumbers: [...used].sort((a, b) => a - b),
    columns: [...columnNumbers.keys()].slice(state.columns.length),
    schemas: [...schemaNumbers.keys()].slice(state.schemas.length).map((schema) => JSON.parse(schema) as TableSchema),
    parts: moved.map((at) => ({
      ...at.part,
      lateMin: text(at.lateMin),
      positionMin: text(at.positionMin),
      positionMax: text(at.positionMax),
      high: positionText(at.cursor.high),
      runningUs: at.cursor.runningUs,
      streaming: at.cursor.streaming,
      afterDelete: at.cursor.afterDelete,
      unavailable: [...at.unavailable].sort((a, b) => a - b),
    })),
  };
}

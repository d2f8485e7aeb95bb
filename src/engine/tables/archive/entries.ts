/**
 * The entries of a table archive's log (docs/tables.md, section 5), as schemas; state.ts says what they mean.
 */
import { z } from 'zod';
import { COLUMNS_MAX, PART_NOTES_MAX, TABLE_COLUMNS_MAX } from '../../../domain/limits.ts';
import { QUARANTINE_REASONS } from '../events/event.ts';

/** `<topic>/<number>`; a topic's name has no `/`. */
const partitionId = z.string().regex(/^[A-Za-z0-9._-]{1,249}\/[0-9]{1,6}$/);
const position = z.string().regex(/^[0-9a-f]{32}$/);
const offset = z.int().min(0);
const stamp = z.int().min(0);
const count = z.int().min(0);
const epoch = z.int().min(1);

const fileRef = z.strictObject({
  /** Length of the Parquet file. */
  bytes: z.int().min(1),
  /** In order; `bytes` and `digest` of the stored object. */
  packs: z.array(z.strictObject({ name: z.string().max(200), digest: z.string().length(64), bytes: z.int().min(1) })).min(1),
});
export type FileRef = z.infer<typeof fileRef>;

export const tableForm = z.discriminatedUnion('form', [
  z.strictObject({ form: z.literal('debezium'), placeholder: z.string().min(1).max(200) }),
  z.strictObject({
    form: z.literal('plain'),
    key: z.union([z.enum(['json', 'text']), z.array(z.string().max(200)).min(1).max(64)]),
    time: z.union([z.literal('record'), z.strictObject({ field: z.string().max(200), unit: z.enum(['ms', 'us', 'iso']) })]),
  }),
]);
export type TableForm = z.infer<typeof tableForm>;

const gap = z.strictObject({
  from: offset,
  to: offset,
  /** `lost`: the topic had dropped them, or (from = to) its connector never sent what was committed before this offset; `compacted`: younger records of their keys follow; `control`: marks of Kafka's own transactions. */
  kind: z.enum(['lost', 'compacted', 'control']),
  /** Where the topic's log ended when the gap was met. */
  end: offset,
});
export type Gap = z.infer<typeof gap>;

const part = z.strictObject({
  partition: partitionId,
  /** Each offset of [from, to) is a row, skipped, quarantined, or in a gap. */
  from: offset,
  to: offset,
  rows: count,
  skipped: count,
  late: count,
  /** Least position of a late event. */
  lateMin: position.nullable(),
  positionMin: position.nullable(),
  positionMax: position.nullable(),
  /** Highest position in [0, to). */
  high: position,
  /** Least stamp of an event that is not late. */
  stampMinUs: stamp.nullable(),
  stampMaxUs: stamp.nullable(),
  /** Highest stamp in [0, to). */
  runningUs: stamp.nullable(),
  /** Highest own stamp of an initial snapshot's rows, as long as nothing else was seen. */
  initialUs: stamp.nullable(),
  /** Whether anything but an initial snapshot was seen in [0, to). */
  streaming: z.boolean(),
  /** The key of a delete that stands last, hashed: a tombstone of it that comes next says nothing. */
  afterDelete: z.string().max(64).nullable(),
  /** Numbers of the columns that are unavailable somewhere in it. */
  unavailable: z.array(count).max(TABLE_COLUMNS_MAX),
  truncates: z.array(z.strictObject({ position, stampUs: stamp })).max(PART_NOTES_MAX),
  gaps: z.array(gap).max(PART_NOTES_MAX),
  quarantined: z.array(z.strictObject({ offset, reason: z.enum(QUARANTINE_REASONS) })).max(PART_NOTES_MAX),
});
export type BatchPart = z.infer<typeof part>;

const columnName = z.string().max(1000);
const schemaColumn = z.strictObject({
  name: columnName,
  type: z.string().max(200),
  semantic: z.string().max(500).nullable(),
  optional: z.boolean(),
  scale: z.int().nullable(),
});

export const tableEntrySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('TABLE'), form: tableForm }),
  /** None: keys may have moved between those that are there. */
  z.strictObject({ kind: z.literal('PARTITIONS'), add: z.array(partitionId).max(10_000) }),
  z.strictObject({ kind: z.literal('CLAIM'), role: z.enum(['archive', 'snapshots']), owner: z.string().max(200) }),
  z.strictObject({
    kind: z.literal('BATCH'),
    epoch,
    file: fileRef.nullable(),
    columns: z.array(columnName).max(2 * COLUMNS_MAX),
    schemas: z.array(z.array(schemaColumn).max(COLUMNS_MAX)).max(64),
    parts: z.array(part).min(1).max(10_000),
  }),
  z.strictObject({
    kind: z.literal('HEARTBEAT'),
    epoch,
    parts: z
      .array(z.strictObject({ partition: partitionId, next: offset, throughUs: stamp }))
      .min(1)
      .max(10_000),
  }),
  /** An operator's word that the source's state has passed through the partition as a whole below `next`. */
  z.strictObject({ kind: z.literal('WHOLE'), partition: partitionId, next: offset, stampUs: stamp }),
  z.strictObject({
    kind: z.literal('SNAPSHOT'),
    epoch,
    partition: partitionId,
    offset,
    high: position,
    floor: position,
    stampUs: stamp.nullable(),
    rows: count,
    dead: count,
    unavailable: z.array(count).max(TABLE_COLUMNS_MAX),
    /** Null: no key was ever seen. */
    file: fileRef.nullable(),
  }),
  /** A snapshot that is none of its own: what the one at `base` (0: none) and the parts since come to. */
  z.strictObject({
    kind: z.literal('POINTER'),
    epoch,
    partition: partitionId,
    offset,
    high: position,
    stampUs: stamp.nullable(),
    base: offset,
  }),
  /** The segments of records first..last are one now. Null: they have no rows. */
  z.strictObject({ kind: z.literal('MERGE'), epoch, first: z.int().min(1), last: z.int().min(1), file: fileRef.nullable() }),
  z.strictObject({ kind: z.literal('DROP'), epoch, partition: partitionId, offset }),
]);
export type TableEntry = z.infer<typeof tableEntrySchema>;
export type SnapshotEntry = Extract<TableEntry, { kind: 'SNAPSHOT' }>;
export type PointerEntry = Extract<TableEntry, { kind: 'POINTER' }>;
export const TABLE_ENTRY_KINDS: ReadonlySet<string> = new Set(tableEntrySchema.options.map((option) => option.shape.kind.value));

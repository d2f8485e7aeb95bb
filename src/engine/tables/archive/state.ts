/**
 * The state of a table archive: a pure fold of its log.
 *
 * Where each partition stands is here and nowhere else: a batch is admissible only where it goes on exactly there, so an
 * offset is archived once whatever becomes of a consumer, its group or its answers (T1).
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { TableSchema } from '../events/event.ts';
import { positionText, POSITION_ZERO } from '../events/position.ts';
import { hasRows, isOf, withMerged } from './coalescing.ts';
import type { BatchPart, FileRef, PointerEntry, SnapshotEntry, TableEntry, TableForm } from './entries.ts';

export interface ArchivedPart extends BatchPart {
  /** The record that brought it; the last of them, where those of several were merged. */
  readonly seq: number;
  readonly last: number;
  readonly file: FileRef | null;
}

export interface PartitionState {
  readonly id: string;
  readonly number: number;
  readonly next: number;
  readonly high: string;
  readonly runningUs: number | null;
  readonly streaming: boolean;
  readonly afterDelete: string | null;
  readonly heartbeatUs: number | null;
  /** Heartbeats that an event has contradicted. */
  readonly contradicted: number;
  /** The partition is whole from this offset on; null: it is not, until somebody says so. */
  readonly wholeFrom: number | null;
  /** The stamp from which on its past states can be had; null while it is not whole. */
  readonly beginsUs: number | null;
  /** All that ever came through it; they reach rows of every partition. */
  readonly truncates: BatchPart['truncates'];
  /** Ascending by offset, without holes; those before a dropped snapshot are forgotten. */
  readonly parts: readonly ArchivedPart[];
  /** Ascending by offset. */
  readonly snapshots: readonly SnapshotEntry[];
  /** Ascending by offset, since the oldest snapshot. */
  readonly pointers: readonly PointerEntry[];
  /** Where keys may have moved: the floors of new snapshots are no higher than this. */
  readonly floorMost: string | null;
}

/** Keys may have moved between partitions: the table was given more of them, or somebody has said so. */
export interface MovedKeys {
  /** As many partitions were there before. */
  readonly partitions: number;
  /** Least position since then of what was late, or came through a partition that was added. */
  readonly sentAgainFrom: string | null;
}

export interface TableState {
  readonly n: number;
  readonly head: string;
  readonly form: TableForm | null;
  readonly claims: Readonly<Record<'archive' | 'snapshots', number>>;
  /** Name of a column by its number. */
  readonly columns: readonly string[];
  /** Schemas by their version. */
  readonly schemas: readonly TableSchema[];
  readonly partitions: ReadonlyMap<string, PartitionState>;
  /** Null: each key has had one partition ever. */
  readonly moved: MovedKeys | null;
}

export const EMPTY_TABLE: TableState = {
  n: 0,
  head: '',
  form: null,
  claims: { archive: 0, snapshots: 0 },
  columns: [],
  schemas: [],
  partitions: new Map(),
  moved: null,
};

const refused = (message: string, details: Record<string, string | number> = {}): HoldfastError =>
  new HoldfastError('RECORD_REFUSED', message, details);

function partitionOf(state: TableState, id: string): PartitionState | HoldfastError {
  return state.partitions.get(id) ?? refused(`no partition ${id} is known`, { partition: id });
}

/** What stands against an entry; the fold ignores an entry that is in the log all the same. */
export function refusalOf(state: TableState, entry: TableEntry): HoldfastError | null {
  if (entry.kind === 'TABLE') return state.form === null ? null : refused('the archive has its form already');
  if (state.form === null) return refused('the archive has no form yet');
  switch (entry.kind) {
    case 'PARTITIONS': {
      const known = entry.add.find((id, i) => state.partitions.has(id) || entry.add.indexOf(id) !== i);
      return known === undefined ? null : refused(`partition ${known} is known`, { partition: known });
    }
    case 'CLAIM':
      return null;
    case 'BATCH':
      return staleClaim(state, 'archive', entry.epoch) ?? batchRefusal(state, entry);
    case 'HEARTBEAT':
      return staleClaim(state, 'archive', entry.epoch) ?? firstOf(entry.parts, (beat) => standsAt(state, beat.partition, beat.next));
    case 'WHOLE': {
      const partition = partitionOf(state, entry.partition);
      if (partition instanceof HoldfastError) return partition;
      return partition.next >= entry.next
        ? null
        : refused(`${entry.partition} stands at ${partition.next}`, { partition: entry.partition });
    }
    case 'SNAPSHOT':
      return staleClaim(state, 'snapshots', entry.epoch) ?? snapshotRefusal(state, entry);
    case 'POINTER':
      return staleClaim(state, 'snapshots', entry.epoch) ?? pointerRefusal(state, entry);
    case 'MERGE':
      return staleClaim(state, 'snapshots', entry.epoch) ?? mergeRefusal(state, entry);
    case 'DROP': {
      const partition = partitionOf(state, entry.partition);
      if (partition instanceof HoldfastError) return partition;
      const stale = staleClaim(state, 'snapshots', entry.epoch);
      const base = partition.snapshots.find((snapshot) => snapshot.offset === entry.offset);
      return (
        stale ?? (base === undefined ? refused('no snapshot stands there', { partition: entry.partition, offset: entry.offset }) : null)
      );
    }
  }
}

const staleClaim = (state: TableState, role: 'archive' | 'snapshots', epoch: number): HoldfastError | null =>
  state.claims[role] === epoch
    ? null
    : new HoldfastError('CLAIM_LOST', `claim ${epoch} of the role ${role} is closed`, { epoch, open: state.claims[role] });

function standsAt(state: TableState, id: string, offset: number): HoldfastError | null {
  const partition = partitionOf(state, id);
  if (partition instanceof HoldfastError) return partition;
  return partition.next === offset
    ? null
    : refused(`${id} stands at ${partition.next}, not at ${offset}`, { partition: id, next: partition.next, offset });
}

function firstOf<T>(items: readonly T[], judge: (item: T) => HoldfastError | null): HoldfastError | null {
  for (const item of items) {
    const against = judge(item);
    if (against !== null) return against;
  }
  return null;
}

function batchRefusal(state: TableState, entry: Extract<TableEntry, { kind: 'BATCH' }>): HoldfastError | null {
  const columns = new Set([...state.columns, ...entry.columns]);
  if (columns.size !== state.columns.length + entry.columns.length) return refused('a column has its number already');
  if (new Set(entry.parts.map((part) => part.partition)).size !== entry.parts.length) return refused('a partition stands there twice');
  if (entry.file === null && entry.parts.some(hasRows)) return refused('rows without a file');
  return firstOf(entry.parts, (part) => standsAt(state, part.partition, part.from) ?? coverRefusal(part));
}

/** Each offset of a part is something, and only one thing. */
function coverRefusal(part: BatchPart): HoldfastError | null {
  const gaps = part.gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0);
  const covered = part.rows + part.skipped + part.quarantined.length + part.truncates.length + gaps;
  return covered === part.to - part.from && covered > 0
    ? null
    : refused(`${covered} of ${part.to - part.from} offsets of ${part.partition} are accounted for`, { partition: part.partition });
}

function snapshotRefusal(state: TableState, entry: SnapshotEntry): HoldfastError | null {
  const partition = partitionOf(state, entry.partition);
  if (partition instanceof HoldfastError) return partition;
  if ((partition.snapshots.at(-1)?.offset ?? 0) >= entry.offset) return refused('a snapshot of that offset or a later one is there');
  if (partition.floorMost !== null && entry.floor > partition.floorMost)
    return refused(`keys may have moved: a snapshot of ${entry.partition} may forget no deletes`, { partition: entry.partition });
  return endRefusal(partition, entry);
}

const endRefusal = (
  partition: PartitionState,
  { offset, high }: { readonly offset: number; readonly high: string },
): HoldfastError | null =>
  partition.parts.find((part) => part.to === offset)?.high === high
    ? null
    : refused(`no part of ${partition.id} ends at ${offset} with that position`, { partition: partition.id, offset });

/** What a pointer rests on is there: a snapshot, or all parts from the first offset on. */
function pointerRefusal(state: TableState, entry: PointerEntry): HoldfastError | null {
  const partition = partitionOf(state, entry.partition);
  if (partition instanceof HoldfastError) return partition;
  if (newestAnchor(partition) >= entry.offset) return refused('a snapshot of that offset or a later one is there');
  const rests = entry.base === 0 ? partition.parts[0]?.from === 0 : partition.snapshots.some(({ offset }) => offset === entry.base);
  return rests
    ? endRefusal(partition, entry)
    : refused('what it would rest on is not there', { partition: entry.partition, base: entry.base });
}

/** The offset of the newest snapshot or pointer. */
export const newestAnchor = ({ snapshots, pointers }: PartitionState): number =>
  Math.max(snapshots.at(-1)?.offset ?? 0, pointers.at(-1)?.offset ?? 0);

/** The file has the rows of whole parts, and of all that are there of those records. */
function mergeRefusal(state: TableState, { first, last, file }: Extract<TableEntry, { kind: 'MERGE' }>): HoldfastError | null {
  const parts = [...state.partitions.values()].flatMap((partition) =>
    partition.parts.filter((part) => part.last >= first && part.seq <= last),
  );
  if (parts.length === 0) return refused('nothing of those records is there any more', { first, last });
  const over = parts.find((part) => !isOf(part, first, last));
  if (over !== undefined)
    return refused('a part reaches over what was merged', { partition: over.partition, from: over.from, to: over.to });
  return file === null && parts.some(hasRows) ? refused('rows without a file', { first, last }) : null;
}

/** The state after an admissible entry of record `seq`. */
export function applyEntry(state: TableState, entry: TableEntry, seq: number): TableState {
  switch (entry.kind) {
    case 'TABLE':
      return { ...state, form: entry.form };
    case 'PARTITIONS':
      return withPartitions(state, entry.add);
    case 'CLAIM':
      return { ...state, claims: { ...state.claims, [entry.role]: seq } };
    case 'BATCH': {
      const next = entry.parts.reduce(
        (at, part) =>
          change(at, part.partition, (old) => withPart(old, { ...part, seq, last: seq, file: hasRows(part) ? entry.file : null })),
        state,
      );
      const moved = entry.parts.reduce((at, part) => withSentAgain(at, state.partitions.get(part.partition), part), state.moved);
      return { ...next, moved, columns: [...state.columns, ...entry.columns], schemas: [...state.schemas, ...entry.schemas] };
    }
    case 'HEARTBEAT':
      return entry.parts.reduce(
        (at, beat) => change(at, beat.partition, (old) => ({ ...old, heartbeatUs: highest(old.heartbeatUs, beat.throughUs) })),
        state,
      );
    case 'WHOLE':
      return change(state, entry.partition, (old) => ({ ...old, wholeFrom: entry.next, beginsUs: entry.stampUs }));
    case 'SNAPSHOT':
      return change(state, entry.partition, (old) => ({ ...old, snapshots: [...old.snapshots, entry] }));
    case 'POINTER':
      return change(state, entry.partition, (old) => ({ ...old, pointers: [...old.pointers, entry] }));
    case 'MERGE':
      return {
        ...state,
        partitions: new Map([...state.partitions].map(([id, old]) => [id, withMerged(old, entry.first, entry.last, entry.file)])),
      };
    case 'DROP':
      return change(state, entry.partition, (old) => withDropped(old, entry.offset));
  }
}

const highest = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));

/**
 * In an archive that has begun, partitions that are added mean that keys may have moved: snapshots forget nothing more from then on. What they
 * have forgotten already, the deletes below the newest one's floor, is from before: whoever makes a snapshot has looked for new
 * partitions since the one before.
 */
function withPartitions(state: TableState, add: readonly string[]): TableState {
  const partitions = new Map(state.partitions);
  const begun = [...partitions.values()].some(({ next }) => next > 0);
  if (begun)
    for (const [id, old] of partitions) partitions.set(id, { ...old, floorMost: old.floorMost ?? old.snapshots.at(-1)?.floor ?? ZERO });
  for (const id of add) partitions.set(id, newPartition(id, partitions.size, begun));
  const moved = begun ? (state.moved ?? { partitions: state.partitions.size, sentAgainFrom: null }) : state.moved;
  return { ...state, partitions, moved };
}

function withSentAgain(moved: MovedKeys | null, partition: PartitionState | undefined, part: BatchPart): MovedKeys | null {
  if (moved === null || partition === undefined) return moved;
  const from = partition.number < moved.partitions ? part.lateMin : part.positionMin;
  return from === null || (moved.sentAgainFrom !== null && moved.sentAgainFrom <= from) ? moved : { ...moved, sentAgainFrom: from };
}

const ZERO = positionText(POSITION_ZERO);

/** `later`: added to an archive that has begun, so that an initial snapshot of the source in it is not before all else. */
const newPartition = (id: string, number: number, later: boolean): PartitionState => ({
  id,
  number,
  next: 0,
  high: ZERO,
  runningUs: null,
  streaming: later,
  afterDelete: null,
  heartbeatUs: null,
  contradicted: 0,
  wholeFrom: 0,
  beginsUs: 0,
  truncates: [],
  parts: [],
  snapshots: [],
  pointers: [],
  floorMost: later ? ZERO : null,
});

function change(state: TableState, id: string, how: (old: PartitionState) => PartitionState): TableState {
  const old = state.partitions.get(id);
  return old === undefined ? state : { ...state, partitions: new Map(state.partitions).set(id, how(old)) };
}

function withPart(old: PartitionState, part: ArchivedPart): PartitionState {
  const wholeFrom = part.gaps.reduce<number | null>((from, gap) => {
    if (gap.kind === 'lost') return null;
    return gap.kind === 'compacted' && from !== null ? Math.max(from, gap.end) : from;
  }, old.wholeFrom);
  const against = part.stampMinUs !== null && old.heartbeatUs !== null && part.stampMinUs <= old.heartbeatUs;
  return {
    ...old,
    next: part.to,
    high: part.high,
    runningUs: part.runningUs,
    streaming: part.streaming,
    afterDelete: part.afterDelete,
    contradicted: old.contradicted + (against ? 1 : 0),
    wholeFrom,
    beginsUs: beginningOf(old, part, wholeFrom),
    truncates: part.truncates.length === 0 ? old.truncates : [...old.truncates, ...part.truncates],
    parts: [...old.parts, part],
  };
}

/** Where a gap was met, past states begin at the stamp reached when the log's end of then has been passed. */
function beginningOf(old: PartitionState, part: ArchivedPart, wholeFrom: number | null): number | null {
  if (wholeFrom === null || part.to < wholeFrom) return null;
  const mended = old.beginsUs === null || wholeFrom !== old.wholeFrom;
  const least = mended ? (part.runningUs ?? 0) : (old.beginsUs ?? 0);
  return Math.max(least, part.initialUs ?? 0);
}

function withDropped(old: PartitionState, offset: number): PartitionState {
  const base = old.snapshots.find((snapshot) => snapshot.offset === offset);
  return {
    ...old,
    beginsUs: old.beginsUs === null ? null : Math.max(old.beginsUs, base?.stampUs ?? 0),
    parts: old.parts.filter((part) => part.to > offset),
    snapshots: old.snapshots.filter((snapshot) => snapshot.offset >= offset),
    pointers: old.pointers.filter((pointer) => pointer.base >= offset),
  };
}

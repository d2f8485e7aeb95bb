/**
 * The state of a table archive as lines of JSON and back: what its checkpoints hold (docs/tables.md, section 5).
 *
 * Lines stand in an order that can be read in one go: files before the parts that lie in them, a partition before what is its. A file is
 * written once, however many parts lie in it, and is one object again when it is read.
 */
import type { TableSchema } from '../events/event.ts';
import type { FileRef, PointerEntry, SnapshotEntry, TableForm } from './entries.ts';
import { EMPTY_TABLE, type ArchivedPart, type PartitionState, type TableState } from './state.ts';

type Lists = 'parts' | 'snapshots' | 'pointers' | 'truncates';
type PartitionLists = { -readonly [K in Lists]: PartitionState[K][number][] };

type Line =
  | { readonly table: { readonly form: TableForm | null; readonly claims: TableState['claims']; readonly moved: TableState['moved'] } }
  | { readonly column: string }
  | { readonly schema: TableSchema }
  /** Numbered from 0 in the order of the lines. */
  | { readonly file: FileRef }
  | { readonly partition: Omit<PartitionState, Lists> }
  | { readonly truncate: PartitionState['truncates'][number] }
  | { readonly part: Omit<ArchivedPart, 'file'> & { readonly file: number | null } }
  | { readonly snapshot: SnapshotEntry }
  | { readonly pointer: PointerEntry };

export function* encodeTableState(state: TableState): Generator<string> {
  for (const line of linesOf(state)) yield JSON.stringify(line);
}

function* linesOf(state: TableState): Generator<Line> {
  const files = new Map<string, number>();
  yield { table: { form: state.form, claims: state.claims, moved: state.moved } };
  for (const column of state.columns) yield { column };
  for (const schema of state.schemas) yield { schema };
  for (const { parts, snapshots, pointers, truncates, ...partition } of state.partitions.values()) {
    yield { partition };
    for (const truncate of truncates) yield { truncate };
    for (const snapshot of snapshots) yield { snapshot };
    for (const pointer of pointers) yield { pointer };
    for (const part of parts) {
      const name = part.file?.packs[0]?.name;
      if (part.file !== null && name !== undefined && !files.has(name)) {
        files.set(name, files.size);
        yield { file: part.file };
      }
      yield { part: { ...part, file: name === undefined ? null : (files.get(name) ?? null) } };
    }
  }
}

/** The bytes were sealed by this code under this format version and opened under the manifest's digest: trusted inside. */
export function decodeTableState(lines: Iterable<string>): Omit<TableState, 'n' | 'head'> {
  let table: Pick<TableState, 'form' | 'claims' | 'moved'> = EMPTY_TABLE;
  const columns: string[] = [];
  const schemas: TableSchema[] = [];
  const files: FileRef[] = [];
  const partitions = new Map<string, PartitionState>();
  let lists: PartitionLists = { parts: [], snapshots: [], pointers: [], truncates: [] };
  for (const text of lines) {
    const line = JSON.parse(text) as Line;
    if ('part' in line) lists.parts.push({ ...line.part, file: line.part.file === null ? null : (files[line.part.file] ?? null) });
    else if ('file' in line) files.push(line.file);
    else if ('snapshot' in line) lists.snapshots.push(line.snapshot);
    else if ('pointer' in line) lists.pointers.push(line.pointer);
    else if ('truncate' in line) lists.truncates.push(line.truncate);
    else if ('column' in line) columns.push(line.column);
    else if ('schema' in line) schemas.push(line.schema);
    else if ('table' in line) table = line.table;
    else {
      lists = { parts: [], snapshots: [], pointers: [], truncates: [] };
      partitions.set(line.partition.id, { ...line.partition, ...lists });
    }
  }
  return { form: table.form, claims: table.claims, moved: table.moved, columns, schemas, partitions };
}

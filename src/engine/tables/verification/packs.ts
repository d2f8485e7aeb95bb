/**
 * Whether everything that an archive's log names is in the store as it was written. `structure` looks at presence and size; `all` opens each file, held
 * against the digests of the log, and counts its rows against what the log says of its parts and snapshots. One file at a time, so in bounded memory.
 */
import { rm } from 'node:fs/promises';
import { isHoldfastError, messageOf } from '../../../domain/errors.ts';
import type { TableArchive } from '../archive/archive.ts';
import { sqlText, type Duck } from '../archive/duck.ts';
import type { FileRef } from '../archive/entries.ts';
import { openSealedFile } from '../archive/sealed-file.ts';
import type { TableState } from '../archive/state.ts';

export type PackDepth = 'structure' | 'all';

export interface DamagedFile {
  readonly object: string;
  readonly kind: 'segment' | 'snapshot';
  /** Whose past states need it. */
  readonly partitions: readonly string[];
  readonly reason: string;
}

export interface PackReport {
  readonly files: number;
  readonly packs: number;
  readonly bytes: number;
  readonly rows: number;
  /** At most DAMAGED_SHOWN. */
  readonly damaged: readonly DamagedFile[];
  readonly damagedFiles: number;
}

const DAMAGED_SHOWN = 100;

interface NamedFile {
  readonly ref: FileRef;
  readonly kind: DamagedFile['kind'];
  readonly partitions: string[];
  rows: number;
}

/** Every file that the log names, with the rows that it says are in it. */
function namedFiles(state: TableState): readonly NamedFile[] {
  const files = new Map<string, NamedFile>();
  const add = (ref: FileRef | null, kind: NamedFile['kind'], partition: string, rows: number): void => {
    if (ref === null) return;
    const name = ref.packs[0]?.name ?? '';
    const known = files.get(name) ?? { ref, kind, partitions: [], rows: 0 };
    files.set(name, known);
    if (known.partitions.at(-1) !== partition) known.partitions.push(partition);
    known.rows += rows;
  };
  for (const { id, parts, snapshots } of state.partitions.values()) {
    for (const part of parts) add(part.file, 'segment', id, part.rows + part.quarantined.length);
    for (const snapshot of snapshots) add(snapshot.file, 'snapshot', id, snapshot.rows + snapshot.dead);
  }
  return [...files.values()];
}

export interface PackCheck {
  readonly depth: PackDepth;
  readonly signal?: AbortSignal;
  readonly onFile?: (doneFiles: number, files: number) => void;
}

export async function checkPacks(archive: TableArchive, duck: Duck, { depth, signal, onFile }: PackCheck): Promise<PackReport> {
  const files = namedFiles(archive.known());
  const damaged: DamagedFile[] = [];
  let [done, bytes, rows, packs, damagedFiles] = [0, 0, 0, 0, 0];
  for (const file of files) {
    signal?.throwIfAborted();
    packs += file.ref.packs.length;
    for (const pack of file.ref.packs) bytes += pack.bytes;
    const against = depth === 'all' ? await openAndCount(archive, duck, file) : await lookAt(archive, file);
    if (against === null) rows += file.rows;
    else {
      damagedFiles++;
      if (damaged.length < DAMAGED_SHOWN) damaged.push({ kind: file.kind, partitions: file.partitions.slice(0, 16), ...against });
    }
    onFile?.(++done, files.length);
  }
  return { files: files.length, packs, bytes, rows, damaged, damagedFiles };
}

type Against = Pick<DamagedFile, 'object' | 'reason'>;

async function lookAt({ store }: TableArchive, { ref }: NamedFile): Promise<Against | null> {
  for (const { name, bytes } of ref.packs) {
    const there = await store.head(name);
    if (there === null) return { object: name, reason: 'it is not in the store' };
    if (there.sizeBytes !== bytes) return { object: name, reason: `it has ${there.sizeBytes} bytes, not ${bytes}` };
  }
  return null;
}

async function openAndCount(archive: TableArchive, duck: Duck, { ref, rows }: NamedFile): Promise<Against | null> {
  const path = duck.file('checked.parquet');
  const object = ref.packs[0]?.name ?? '';
  try {
    await openSealedFile(archive.store, archive.key, ref, path);
    const [[count] = []] = await duck.rows(`SELECT count(*) FROM read_parquet(${sqlText(path)}) WHERE hash(COLUMNS(*)) IS NOT NULL`);
    return Number(count) === rows ? null : { object, reason: `it has ${Number(count)} rows, the log says ${rows}` };
  } catch (error) {
    if (!isHoldfastError(error, 'OBJECT_MISSING', 'DAMAGED')) throw error;
    return { object: String(error.details['object'] ?? object), reason: messageOf(error) };
  } finally {
    await rm(path, { force: true });
  }
}

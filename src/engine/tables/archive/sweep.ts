/**
 * Deleting packs of a table archive, by two rules, both of which stay true once they are (docs/tables.md, section 7):
 *
 *     an entry un-named it     MERGE and DROP are followed by the deletion of what they left without use; no entry can name it again
 *     its claim is closed      and no entry names it: whoever wrote it never will
 *
 * So anybody may delete by them, twice at once, from a view of any age. A pack of an open claim that no entry names may be about to be
 * named, and stays.
 */
import { listAll } from '../../../ground/stores/object-store.ts';
import type { TableArchive } from './archive.ts';
import type { FileRef } from './entries.ts';
import { parseFilePack } from './object-names.ts';
import type { TableState } from './state.ts';

export interface NamedPack {
  readonly name: string;
  readonly bytes: number;
}

const DELETE_MAX = 1000;

export function* filesOf(state: TableState): Generator<FileRef> {
  for (const { parts, snapshots } of state.partitions.values()) {
    for (const { file } of parts) if (file !== null) yield file;
    for (const { file } of snapshots) if (file !== null) yield file;
  }
}

/** Bytes of each pack that an entry names, by name. */
export function packsOf(state: TableState): Map<string, number> {
  const packs = new Map<string, number>();
  for (const file of filesOf(state)) for (const { name, bytes } of file.packs) packs.set(name, bytes);
  return packs;
}

/** Packs that were named in one state and are not in a later one. */
export function unnamedSince(before: TableState, after: TableState): NamedPack[] {
  const still = packsOf(after);
  return [...packsOf(before)].flatMap(([name, bytes]) => (still.has(name) ? [] : [{ name, bytes }]));
}

export async function deletePacks(archive: TableArchive, packs: readonly NamedPack[]): Promise<void> {
  for (let i = 0; i < packs.length; i += DELETE_MAX) await archive.store.delete(packs.slice(i, i + DELETE_MAX).map(({ name }) => name));
}

const isClosed = (state: TableState, claim: number): boolean =>
  claim <= state.n && claim !== state.claims.archive && claim !== state.claims.snapshots;

/** What a sweep would delete, from the archive's view as it is. */
export async function planSweep(archive: TableArchive): Promise<NamedPack[]> {
  const state = archive.known();
  const named = packsOf(state);
  const found: NamedPack[] = [];
  for (const prefix of ['segment/', 'snapshot/'])
    for await (const { name, sizeBytes } of listAll(archive.store, prefix)) {
      const pack = parseFilePack(name);
      if (pack !== null && isClosed(state, pack.claim) && !named.has(name)) found.push({ name, bytes: sizeBytes });
    }
  return found;
}

export async function sweep(archive: TableArchive): Promise<readonly NamedPack[]> {
  const found = await planSweep(archive);
  await deletePacks(archive, found);
  return found;
}

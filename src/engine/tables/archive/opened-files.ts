/** Sealed files of an archive, open in the folder of a DuckDB session: a few at a time, each once, until another load has no use for it. */
import { rm } from 'node:fs/promises';
import pLimit from 'p-limit';
import { FILES_IN_FLIGHT } from '../../../domain/limits.ts';
import type { TableArchive } from './archive.ts';
import type { Duck } from './duck.ts';
import type { FileRef } from './entries.ts';
import { openSealedFile } from './sealed-file.ts';

const nameOf = (file: FileRef): string => file.packs[0]?.name ?? '';

/** Paths of these files, each named once; null is no file. */
export async function openFiles(archive: TableArchive, duck: Duck, files: readonly (FileRef | null)[]): Promise<string[]> {
  const limit = pLimit(FILES_IN_FLIGHT);
  const named = new Map(files.flatMap((file) => (file === null ? [] : [[nameOf(file), file] as const])));
  // All of them, before one's failure is told: the session's folder must not go while a file is still being written there.
  const opened = await Promise.allSettled([...named].map(([name, file]) => limit(() => openOnce(archive, duck, name, file))));
  return opened.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

async function openOnce(archive: TableArchive, duck: Duck, name: string, file: FileRef): Promise<string> {
  const known = duck.opened.get(name);
  if (known !== undefined) return known;
  const path = duck.file(`${name.replaceAll('/', '-')}.parquet`);
  await openSealedFile(archive.store, archive.key, file, path);
  duck.opened.set(name, path);
  return path;
}

/** Removes what an earlier load of the session left open and this one has no use for. */
export async function closeAllBut(duck: Duck, files: readonly (FileRef | null)[]): Promise<void> {
  const wanted = new Set(files.map((file) => (file === null ? '' : nameOf(file))));
  for (const [name, path] of duck.opened) {
    if (wanted.has(name)) continue;
    duck.opened.delete(name);
    await rm(path, { force: true });
  }
}

/**
 * Puts batches into an archive: the segment first, then the one entry that makes it count.
 *
 * Whoever has claimed the role writes; a claim that was taken over meets CLAIM_LOST at its next batch, and what it had put is
 * litter. A put whose answer was lost is settled by the log; a batch that is in the log already is done.
 */
import { rm } from 'node:fs/promises';
import type { TableArchive } from './archive.ts';
import type { SealedBatch } from './batch.ts';
import type { Duck } from './duck.ts';
import type { FileRef } from './entries.ts';
import { filePackName, type FileKind } from './object-names.ts';
import { encodeRows } from './rows.ts';
import { sealFile } from './sealed-file.ts';

/** Seals a Parquet file of the session's folder as a file of the archive, and removes it there. */
export async function keepFile(archive: TableArchive, kind: FileKind, epoch: number, path: string): Promise<FileRef> {
  const attempt = archive.environment.random(4).readUInt32BE(0);
  try {
    return await sealFile(archive.store, archive.key, (index) => filePackName(kind, epoch, attempt, index), path);
  } finally {
    await rm(path, { force: true });
  }
}

/** Archives a batch under a claim. Returns the record's number, or null when it had nothing new. */
export async function archiveBatch(archive: TableArchive, duck: Duck, epoch: number, batch: SealedBatch): Promise<number | null> {
  if (batch.parts.length === 0) return null;
  const path = duck.file('segment.parquet');
  let file: FileRef | null = null;
  if (batch.rows.length > 0) {
    await encodeRows(duck, batch.rows, batch.columnNumbers, path);
    file = await keepFile(archive, 'segment', epoch, path);
  }
  return archive.append(() => ({
    kind: 'BATCH',
    epoch,
    file,
    columns: [...batch.columns],
    schemas: batch.schemas.map((schema) => [...schema]),
    parts: [...batch.parts],
  }));
}

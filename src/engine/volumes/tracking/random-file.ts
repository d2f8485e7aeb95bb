/**
 * A small file of records: written anywhere, durable after a sync.
 *
 * The system may read and write less than it was asked to. A record of which only a part was written before its sync would
 * break rule T1 of tracking, so both are gone on with until they are whole.
 */
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { syncFolder } from '../../../ground/stores/file-root.ts';

/** The file as it is needed: writes that a sync makes durable, in any order before it. */
export interface RandomFile {
  /** What lies past the end of the file was never written: zeros. */
  read(offset: number, length: number): Promise<Buffer>;
  write(bytes: Buffer, offset: number): Promise<void>;
  sync(): Promise<void>;
}

export interface OpenRandomFile extends RandomFile, AsyncDisposable {}

/** What is needed of a handle: a test has one that reads and writes in parts. */
export type PartialFile = Pick<FileHandle, 'read' | 'write' | 'datasync' | 'close'>;

export const randomFile = (file: PartialFile): OpenRandomFile => ({
  async read(offset, length) {
    const out = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(out, done, length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return out;
  },
  async write(bytes, offset) {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
      if (bytesWritten === 0) throw new Error(`nothing could be written at ${offset + done}`);
      done += bytesWritten;
    }
  },
  sync: () => file.datasync(),
  [Symbol.asyncDispose]: () => file.close(),
});

export async function openExistingFile(name: string): Promise<OpenRandomFile | null> {
  try {
    return randomFile(await open(name, 'r+'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Opens it, or begins it; a new one is in its folder for good. */
export async function openRandomFile(name: string): Promise<OpenRandomFile> {
  const known = await openExistingFile(name);
  if (known !== null) return known;
  const file = randomFile(await open(name, 'wx+', 0o600));
  await syncFolder(path.dirname(name));
  return file;
}

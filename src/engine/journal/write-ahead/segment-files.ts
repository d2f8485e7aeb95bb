/** What the write-ahead file does to its disk. Tests give one that loses what was not durable. */
import { constants } from 'node:fs';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { syncFolder } from '../../../ground/stores/file-root.ts';

export interface SegmentFile {
  /** Writes all of it. It is durable when this resolves. */
  write(bytes: Buffer, at: number): Promise<void>;
  close(): Promise<void>;
}

export interface SegmentFiles {
  /** A new file. */
  create(path: string): Promise<SegmentFile>;
  /** One that is there, to be written over; it stays what it is under another name. */
  open(path: string): Promise<SegmentFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes durable what was created, renamed and removed. */
  syncFolder(folder: string): Promise<void>;
}

const { O_RDWR, O_CREAT, O_EXCL } = constants;
/** Each write is a write and an fdatasync in one call: a second one waits for a thread once more, and for the processor. Not every system has it. */
const O_DSYNC: number | undefined = constants.O_DSYNC;

export const SEGMENT_FILES: SegmentFiles = {
  create: (path) => segmentFile(path, O_RDWR | O_CREAT | O_EXCL),
  open: (path) => segmentFile(path, O_RDWR),
  rename,
  remove: unlink,
  syncFolder,
};

async function segmentFile(path: string, flags: number): Promise<SegmentFile> {
  const file: FileHandle = await open(path, flags | (O_DSYNC ?? 0));
  return {
    async write(bytes, at) {
      for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      if (O_DSYNC === undefined) await file.datasync();
    },
    close: () => file.close(),
  };
}

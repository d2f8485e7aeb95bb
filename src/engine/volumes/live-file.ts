/** The bytes of a volume as its server uses them, and where its files are. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { StatusRun } from './nbd/export.ts';
import { openRandomFile, type OpenRandomFile } from './tracking/random-file.ts';
import { VolumeFile } from './volume-file.ts';

type FileOperations = Pick<VolumeFile, 'readCached' | 'read' | 'readNow' | 'write' | 'zero' | 'trim' | 'sync' | 'readsZero' | 'stamp'>;

/** A VolumeFile, or what stands for one: over a snapshot that has not been fetched whole, or on a disk that a test lets die. */
export interface LiveFile extends FileOperations, AsyncDisposable {
  /** `base:allocation`. */
  allocation(offset: number, length: number): Iterable<StatusRun> | AsyncIterable<StatusRun>;
}

/** Where a served volume's files are. */
export interface VolumeGround {
  openVolume(): Promise<LiveFile>;
  openTracking(): Promise<OpenRandomFile>;
  /** A sparse file of zeros as large as the volume, that goes with its process. */
  createCopies(snapshot: string): Promise<LiveFile>;
}

export const fileGround = (volume: { name: string; path: string; sizeBytes: number; stateFolder: string }): VolumeGround => ({
  openVolume: () => VolumeFile.open(volume.path, 'r+'),
  openTracking: () => openRandomFile(path.join(volume.stateFolder, `${volume.name}.tracking`)),
  async createCopies(snapshot) {
    const copies = path.join(volume.stateFolder, `${volume.name}.${snapshot}.copies`);
    // Of a process that was killed before it could take the name away.
    await rm(copies, { force: true });
    return VolumeFile.createUnnamed(copies, volume.sizeBytes);
  },
});

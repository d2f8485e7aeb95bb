/** The bytes of a volume as its server uses them, and where its files are. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { CopiesFile } from './copies.ts';
import type { Bulk } from './hydration/bulk.ts';
import type { OpenedOrigin } from './hydration/origin.ts';
import type { StatePlace } from './hydration/state-file.ts';
import { statePlace } from './hydration/state-place.ts';
import type { StatusRun } from './nbd/export.ts';
import { openRandomFile, type OpenRandomFile } from './tracking/random-file.ts';
import { identityOf, type ViewFiles } from './view-beside.ts';
import { VolumeFile } from './volume-file.ts';

type FileOperations = Pick<
  VolumeFile,
  'readCached' | 'read' | 'readNow' | 'write' | 'zero' | 'zeroFast' | 'trim' | 'sync' | 'readsZero' | 'stamp'
>;

/** A VolumeFile, or what stands for one: over a snapshot that has not been fetched whole, or on a disk that a test lets die. */
export interface LiveFile extends FileOperations, AsyncDisposable {
  /** `base:allocation`. */
  allocation(offset: number, length: number): Iterable<StatusRun> | AsyncIterable<StatusRun>;
}

/** Where a served volume's files are. */
export interface VolumeGround {
  openVolume(): Promise<LiveFile>;
  /** What the volume's file is known by, whatever is written to it: another file under its name is another one. */
  identity(): Promise<string>;
  openTracking(): Promise<OpenRandomFile>;
  removeTracking(): Promise<void>;
  /** A sparse file of zeros as large as the volume, that is gone when it is closed. */
  createCopies(): Promise<CopiesFile>;
  /** Where a view's bytes are, for who can open files by their paths; null: nowhere. */
  viewFiles(copies: CopiesFile): Promise<ViewFiles | null>;
  readonly hydrationState: StatePlace;
  /** The background of its hydration. */
  openBulk(origin: OpenedOrigin): Promise<Bulk>;
}

export interface VolumePlace {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly stateFolder: string;
}

const COPIES = '.copies';

export function fileGround({ name, path: file, sizeBytes, stateFolder }: VolumePlace): VolumeGround {
  const stateOf = (kind: string): string => path.join(stateFolder, `${name}.${kind}`);
  let copies = 0;
  return {
    openVolume: () => VolumeFile.open(file, 'r+'),
    identity: () => identityOf(file),
    async openTracking() {
      await mkdir(stateFolder, { recursive: true, mode: 0o700 });
      // Of a process that was killed; no view has outlasted it.
      for (const entry of await readdir(stateFolder))
        if (entry.startsWith(`${name}.`) && entry.endsWith(COPIES)) await rm(path.join(stateFolder, entry), { force: true });
      return openRandomFile(stateOf('tracking'));
    },
    removeTracking: () => rm(stateOf('tracking'), { force: true }),
    async createCopies() {
      const at = stateOf(`${copies++}${COPIES}`);
      return { file: await VolumeFile.createTemporary(at, sizeBytes), path: at };
    },
    viewFiles: async ({ path: at }) => (at === null ? null : { volume: file, identity: await identityOf(file), copies: at }),
    hydrationState: statePlace(stateOf('hydration')),
    openBulk: (origin) => origin.openBulk(file),
  };
}

/** What a process of a host knows of that host beside its stores: its disks, and the hooks of its volumes. */
import path from 'node:path';
import { connectDisks, type Disks } from './disks/disk-client.ts';
import { DiskFolder } from './disks/disk-record.ts';

export interface Host {
  readonly name: string;
  /** Of its installation. */
  readonly folder: string;
  readonly disks: Disks;
  readonly hooksFolder: string;
  nowMs(): number;
}

/** Where a host's disks and hooks are, below the folder of the installation. */
export const diskFolderOf = (folder: string): DiskFolder => new DiskFolder(path.join(folder, 'disks'));
export const hooksFolderOf = (folder: string): string => path.join(folder, 'hooks');

export const openHost = (name: string, folder: string): Host => ({
  name,
  folder,
  disks: connectDisks(diskFolderOf(folder)),
  hooksFolder: hooksFolderOf(folder),
  nowMs: () => Date.now(),
});

/** The names and identifiers of ids.ts as schemas, for whatever comes from outside. Not for workflows: see job-inputs.ts. */
import { z } from 'zod';
import {
  DISK_PATTERN,
  LINEAGE_PATTERN,
  NAME_PATTERN,
  SNAPSHOT_ID_PATTERN,
  type Lineage,
  type RepositoryName,
  type SnapshotId,
  type StoreName,
  type VolumeName,
} from './ids.ts';

const branded = <T extends string>(pattern: RegExp) =>
  z
    .string()
    .regex(pattern)
    .transform((text) => text as T);

export const hostSchema = z.string().regex(NAME_PATTERN);
export const diskSchema = z.string().regex(DISK_PATTERN);
export const volumeSchema = branded<VolumeName>(NAME_PATTERN);
export const storeSchema = branded<StoreName>(NAME_PATTERN);
export const repositorySchema = branded<RepositoryName>(NAME_PATTERN);
export const snapshotSchema = branded<SnapshotId>(SNAPSHOT_ID_PATTERN);
export const lineageSchema = branded<Lineage>(LINEAGE_PATTERN);

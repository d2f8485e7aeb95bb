/**
 * The inputs of the jobs, as schemas. Parsed at the edge (CLI) and again in a workflow's first activity, for anyone may
 * start a workflow with the Temporal CLI alone. Not for workflows: a schema would cost each cached workflow memory.
 */
import { z } from 'zod';
import { HoldfastError } from './errors.ts';
import {
  diskSchema as disk,
  hostSchema as host,
  repositorySchema as repository,
  snapshotSchema as snapshot,
  storeSchema as store,
  volumeSchema as volume,
} from './id-schemas.ts';
import { NAME_PATTERN } from './ids.ts';
import type { JobKind } from './jobs.ts';
import { pastAsked, pastOutput } from './past-states.ts';
import { DESTINATIONS_MAX } from './limits.ts';

const path = z.string().min(1).max(4096).startsWith('/');

export const captureInput = z.strictObject({
  volume,
  /** Default: the stores that the catalog gives the volume. */
  stores: z.array(store).min(1).max(DESTINATIONS_MAX).optional(),
  /** Default: a new one. Starting again with the same id finishes that snapshot. */
  snapshot: snapshot.optional(),
  label: z.string().max(200).optional(),
  /** Ranges changed since a snapshot: a file on the volume's node, one "offset length" in bytes a line. */
  changed: z
    .union([
      z.strictObject({ since: snapshot, ranges: path }),
      /** Or a dirty bitmap of the NBD export that the volume is read from. */
      z.strictObject({ since: snapshot, bitmap: z.string().min(1).max(1023) }),
    ])
    .optional(),
  /** Of several volumes captured together: what tells their moment; another one is refused. */
  moment: z.string().max(100).optional(),
  allowFuzzy: z.boolean().optional(),
  allowShrink: z.boolean().optional(),
  /** A store that keeps the job paused for longer is left to catch up in a job of its own. */
  detachAfterMs: z.int().min(0).optional(),
});
export type CaptureInput = z.input<typeof captureInput>;

export const copyInput = z.strictObject({
  volume,
  snapshot,
  from: store,
  to: z.array(store).min(1).max(DESTINATIONS_MAX),
  /** Subtrees copied at once, by whatever workers there are. */
  parallel: z.int().min(1).max(64).optional(),
});
export type CopyInput = z.input<typeof copyInput>;

export const deleteInput = z.strictObject({ volume, store, snapshot, purge: z.boolean().optional() });
export type DeleteInput = z.input<typeof deleteInput>;

export const restoreInput = z.strictObject({
  volume,
  store,
  /** Default: the newest visible one. */
  snapshot: snapshot.optional(),
  target: path,
  /** Whose file system `target` is on. Default: the volume's node. */
  host: host.optional(),
  /** create: the target must not exist. overwrite: whatever is there goes. differences: only what differs is written. */
  mode: z.enum(['create', 'overwrite', 'differences']).optional(),
});
export type RestoreInput = z.input<typeof restoreInput>;

export const verifyInput = z.strictObject({
  volume,
  store,
  snapshot: snapshot.optional(),
  depth: z.enum(['structure', 'sample', 'all']).optional(),
  seed: z.int().min(0).optional(),
  /** Another store whose roots have to be the same. */
  against: store.optional(),
  parallel: z.int().min(1).max(64).optional(),
});
export type VerifyInput = z.input<typeof verifyInput>;

export const collectInput = z.strictObject({ repository, store });
export type CollectInput = z.input<typeof collectInput>;

export const attachInput = z.strictObject({ volume });
export type AttachInput = z.input<typeof attachInput>;

export const detachInput = z.strictObject({
  /** A volume's name, or that of a disk that was restored while it was served. */
  disk,
  /** Default: the node of the volume of that name. */
  host: host.optional(),
  /** Although clients are connected, or it lacks some of its snapshot. */
  force: z.boolean().optional(),
});
export type DetachInput = z.input<typeof detachInput>;

export const hydrateInput = z.strictObject({
  volume,
  store,
  /** Default: the newest visible one. */
  snapshot: snapshot.optional(),
  /** A file that is not there yet. */
  target: path,
  /** Default: the volume's node. */
  host: host.optional(),
  /** Name of the disk. Default: `<volume>.<snapshot>`. */
  disk: disk.optional(),
  /** From now on the volume is this disk. */
  promote: z.boolean().optional(),
});
export type HydrateInput = z.input<typeof hydrateInput>;

export const replicateInput = z.strictObject({
  volume,
  /** As the catalog names it. */
  receiver: z.string().regex(NAME_PATTERN),
  /** Default: the newest visible one. */
  snapshot: snapshot.optional(),
  /** To read from. Default: the store of the volume that has it. */
  store: store.optional(),
  /** How the receiver proves that it holds what is named; it may ask for more. */
  proof: z.enum(['listed', 'sampled', 'all']).optional(),
  /** Although another sender has the lineage open there: that one ends. */
  takeOver: z.boolean().optional(),
});
export type ReplicateInput = z.input<typeof replicateInput>;

export const archiveTableInput = z.strictObject({
  /** As the catalog names it. */
  table: z.string().regex(NAME_PATTERN),
});
export type ArchiveTableInput = z.input<typeof archiveTableInput>;

export const restoreTableInput = z.strictObject({
  /** As the catalog names it. */
  table: z.string().regex(NAME_PATTERN),
  /** Default: as young as can be had. */
  at: pastAsked.optional(),
  output: pastOutput,
  /** Whose file system an output's path is on. Default: of whichever controller takes the job. */
  host: host.optional(),
});
export type RestoreTableInput = z.input<typeof restoreTableInput>;

export const captureGroupInput = z.strictObject({
  volumes: z.array(volume).min(2).max(64),
  label: z.string().max(200).optional(),
});
export type CaptureGroupInput = z.input<typeof captureGroupInput>;

/** As the catalog names it. */
const journal = z.string().regex(NAME_PATTERN);

export const failoverInput = z.strictObject({
  journal,
  /** That serves the disks from now on. */
  host,
  /** The old host answers, and ends cleanly first: nothing is lost, or nothing is done. */
  planned: z.boolean().optional(),
  /** Although a region that does not answer may hold more than those that do. */
  tailLost: z.boolean().optional(),
  /** For the disks' files, on the new host. Default: below the folder of its installation. */
  folder: path.optional(),
});
export type FailoverInput = z.input<typeof failoverInput>;

export const failbackInput = z.strictObject({
  journal,
  /** That had the disks before: what it still has of them is gone on with. */
  host,
  /** For new files, where its old ones cannot be gone on with. Default: below the folder of its installation. */
  folder: path.optional(),
});
export type FailbackInput = z.input<typeof failbackInput>;

export const backfillInput = z.strictObject({ journal, region: store });
export type BackfillInput = z.input<typeof backfillInput>;

export const protectDomainInput = z.strictObject({ journal });
export type ProtectDomainInput = z.input<typeof protectDomainInput>;

export const testFailoverInput = z.strictObject({
  journal,
  /** That recovers and checks. Default: the one that serves the disks. */
  host: host.optional(),
});
export type TestFailoverInput = z.input<typeof testFailoverInput>;

/** Parses an input at an edge; ARGUMENT_INVALID names each field that does not fit. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, what: string, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'input'}: ${issue.message}`);
  throw new HoldfastError('ARGUMENT_INVALID', `the input of ${what} does not fit: ${fields.join('; ')}`, { fields });
}

export const JOB_SCHEMAS = {
  captureSnapshot: captureInput,
  copySnapshot: copyInput,
  deleteSnapshot: deleteInput,
  restoreVolume: restoreInput,
  verifyStore: verifyInput,
  collectGarbage: collectInput,
  attachVolume: attachInput,
  detachDisk: detachInput,
  hydrateDisk: hydrateInput,
  replicateSnapshot: replicateInput,
  archiveTable: archiveTableInput,
  restoreTable: restoreTableInput,
  captureGroup: captureGroupInput,
  failover: failoverInput,
  failback: failbackInput,
  testFailover: testFailoverInput,
  backfillRegion: backfillInput,
  protectDomain: protectDomainInput,
} as const satisfies Record<JobKind, z.ZodType>;

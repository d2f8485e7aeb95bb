/**
 * The jobs: names, queues, inputs and results of the workflows. One place that workflows, activities, workers and faces share.
 *
 * Schemas are parsed at the edge (CLI) and again in a workflow's first activity, for anyone may start a workflow with the
 * Temporal CLI alone. Workflows themselves import types and constants only: a schema costs each cached workflow memory.
 * Results are small: names, counts and fingerprints, never lists of extents.
 */
import { z } from 'zod';
import { HoldfastError, type ErrorCode } from './errors.ts';
import { NAME_PATTERN, SNAPSHOT_ID_PATTERN, type RepositoryName, type SnapshotId, type StoreName, type VolumeName } from './ids.ts';
import { DESTINATIONS_MAX } from './limits.ts';

// -- queues ---------------------------------------------------------------------------------------------------------

/** Workflows and short activities. */
export const QUEUE = 'holdfast';
/** Bulk work that any process with the stores can do. */
export const QUEUE_DATA = 'holdfast-data';
/** Work that must run where a volume or a target file is. */
export const hostQueue = (host: string): string => `holdfast-node-${host}`;

// -- inputs ---------------------------------------------------------------------------------------------------------

const volume = z
  .string()
  .regex(NAME_PATTERN)
  .transform((text) => text as VolumeName);
const store = z
  .string()
  .regex(NAME_PATTERN)
  .transform((text) => text as StoreName);
const repository = z
  .string()
  .regex(NAME_PATTERN)
  .transform((text) => text as RepositoryName);
const snapshot = z
  .string()
  .regex(SNAPSHOT_ID_PATTERN)
  .transform((text) => text as SnapshotId);
const host = z.string().regex(NAME_PATTERN);
const path = z.string().min(1).max(4096).startsWith('/');

export const captureInput = z.strictObject({
  volume,
  /** Default: the stores that the catalog gives the volume. */
  stores: z.array(store).min(1).max(DESTINATIONS_MAX).optional(),
  /** Default: a new one. Starting again with the same id finishes that snapshot. */
  snapshot: snapshot.optional(),
  label: z.string().max(200).optional(),
  /** Ranges changed since a snapshot: a file on the volume's node, one "offset length" in bytes a line. */
  changed: z.strictObject({ since: snapshot, ranges: path }).optional(),
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

export const collectInput = z.strictObject({ repository, store, dryRun: z.boolean().optional() });
export type CollectInput = z.input<typeof collectInput>;

/** Parses an input at an edge; ARGUMENT_INVALID names each field that does not fit. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, what: string, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'input'}: ${issue.message}`);
  throw new HoldfastError('ARGUMENT_INVALID', `the input of ${what} does not fit: ${fields.join('; ')}`, { fields });
}

// -- results --------------------------------------------------------------------------------------------------------

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

export type StoreOutcome =
  | {
      readonly store: StoreName;
      readonly kind: 'committed';
      readonly base: SnapshotId | null;
      readonly sentBytes: number;
      readonly newExtents: number;
    }
  /** Left to catch up in the job named. */
  | { readonly store: StoreName; readonly kind: 'detached'; readonly job: string; readonly reason: string }
  | { readonly store: StoreName; readonly kind: 'failed'; readonly failure: Failure };

export interface CaptureResult {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly root: string | null;
  readonly sizeBytes: number;
  readonly consistency: 'application' | 'crash' | 'fuzzy';
  /** Counted in the driver of the source. */
  readonly readBytes: number;
  readonly extentsRead: number;
  readonly changedExtents: number;
  readonly stores: readonly StoreOutcome[];
  /** Snapshots whose pending deletion this commit released. */
  readonly reclaimed: readonly SnapshotId[];
}

export interface CopyResult {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly root: string | null;
  readonly readBytes: number;
  readonly stores: readonly StoreOutcome[];
}

export interface DeleteResult {
  readonly store: StoreName;
  readonly snapshot: SnapshotId;
  readonly outcome: 'reclaimed' | 'undeleted' | 'gone';
  readonly freedBytes: number;
}

export interface RestoreResult {
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly snapshot: SnapshotId;
  readonly target: string;
  readonly sizeBytes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Root of the map that every written extent was proved against. */
  readonly root: string | null;
}

export interface Damage {
  readonly object: string;
  readonly fingerprint: string;
  /** Some of the extents that hold the value, at most 16. */
  readonly extents: readonly number[];
  readonly snapshots: readonly SnapshotId[];
}

export interface VerifyResult {
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly snapshots: number;
  readonly valuesChecked: number;
  readonly readBytes: number;
  readonly damaged: readonly Damage[];
  /** Snapshots whose roots differ from the other store's, or that only one has. */
  readonly differing: readonly SnapshotId[];
}

export interface CollectResult {
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly reclaimed: readonly SnapshotId[];
  readonly packsRewritten: number;
  readonly objectsDeleted: number;
  readonly freedBytes: number;
}

// -- workflows ------------------------------------------------------------------------------------------------------

/** Workflow types by name, with the id under which a job runs: starting it twice joins the run that is there. */
export const JOB_IDS = {
  captureSnapshot: (input: CaptureInput): string => `capture.${input.volume}`,
  copySnapshot: (input: CopyInput): string => `copy.${[...input.to].sort().join('.')}.${input.snapshot}`,
  deleteSnapshot: (input: DeleteInput): string => `delete.${input.store}.${input.snapshot}`,
  restoreVolume: (input: RestoreInput): string => `restore.${input.host ?? 'node'}.${hashOf(input.target)}`,
  verifyStore: (input: VerifyInput): string => `verify.${input.store}.${input.volume}`,
  collectGarbage: (input: CollectInput): string => `collect.${input.store}.${input.repository}`,
} as const;
export type JobKind = keyof typeof JOB_IDS;

export interface JobInputs {
  readonly captureSnapshot: CaptureInput;
  readonly copySnapshot: CopyInput;
  readonly deleteSnapshot: DeleteInput;
  readonly restoreVolume: RestoreInput;
  readonly verifyStore: VerifyInput;
  readonly collectGarbage: CollectInput;
}

export interface JobResults {
  readonly captureSnapshot: CaptureResult;
  readonly copySnapshot: CopyResult;
  readonly deleteSnapshot: DeleteResult;
  readonly restoreVolume: RestoreResult;
  readonly verifyStore: VerifyResult;
  readonly collectGarbage: CollectResult;
}

/** FNV-1a of a path, hex: a short, stable part of a workflow id. Two targets that meet only share a queue. */
export function hashOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const char of text) hash = BigInt.asUintN(64, (hash ^ BigInt(char.codePointAt(0) ?? 0)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

/** The query `status` of every job: what the Temporal UI shows as current details, as data. */
export interface JobStatus {
  readonly kind: JobKind;
  readonly state: 'running' | 'paused' | 'waiting' | 'done';
  readonly phase: string;
  readonly doneUnits: number;
  readonly totalUnits: number;
  readonly readBytes: number;
  readonly sentBytes: number;
  readonly paused: { readonly store: string; readonly reason: string } | null;
  readonly snapshot: SnapshotId | null;
}

/** Heartbeat of bulk activities: progress within the unit under way. */
export interface UnitProgress {
  readonly unit: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export const STATUS_QUERY = 'status';
export const PAUSE_UPDATE = 'pause';
export const RESUME_UPDATE = 'resume';
export const DETACH_UPDATE = 'detach';
export const PURGE_UPDATE = 'purge';
export const UNDELETE_UPDATE = 'undelete';
export const LOOK_AGAIN_SIGNAL = 'lookAgain';

/** Search attributes; the namespace has to know them. */
export const SEARCH_ATTRIBUTES = ['HoldfastVolume', 'HoldfastStore', 'HoldfastState'] as const;

// -- schemas by kind ------------------------------------------------------------------------------------------------

export const JOB_SCHEMAS = {
  captureSnapshot: captureInput,
  copySnapshot: copyInput,
  deleteSnapshot: deleteInput,
  restoreVolume: restoreInput,
  verifyStore: verifyInput,
  collectGarbage: collectInput,
} as const satisfies Record<JobKind, z.ZodType>;

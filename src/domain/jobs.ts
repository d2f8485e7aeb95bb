/**
 * The jobs: names, queues, inputs and results of the workflows. One place that workflows, activities, workers and faces share.
 *
 * Workflows import this file, so it holds types and constants only; the schemas of the inputs are in job-inputs.ts. Results
 * are small: names, counts and fingerprints, never lists of extents.
 */
import type { ErrorCode } from './errors.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from './ids.ts';
import { outputName } from './output-name.ts';
import type { ReplicationFigures } from './replication.ts';
import type {
  ArchiveTableInput,
  AttachInput,
  BackfillInput,
  CaptureGroupInput,
  CaptureInput,
  CollectInput,
  CopyInput,
  DeleteInput,
  DetachInput,
  FailbackInput,
  FailoverInput,
  HydrateInput,
  ProtectDomainInput,
  ReplicateInput,
  RestoreInput,
  RestoreTableInput,
  TestFailoverInput,
  VerifyInput,
} from './job-inputs.ts';

// -- queues ---------------------------------------------------------------------------------------------------------

/** Workflows and short activities. */
export const QUEUE = 'holdfast';
/** Bulk work that any process with the stores can do. */
export const QUEUE_DATA = 'holdfast-data';
/** Archivers of tables, each for as long as its table is archived. */
export const QUEUE_TABLES = 'holdfast-tables';
/** Work that must run where a volume or a target file is. */
export const hostQueue = (host: string): string => `holdfast-node-${host}`;

// -- results --------------------------------------------------------------------------------------------------------

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

export type StoreOutcome =
  | {
      readonly store: StoreName;
      readonly kind: 'committed';
      readonly root: string | null;
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
  /** Stored bytes given back; null when another job (the next capture) reclaimed it. */
  readonly freedBytes: number | null;
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

export interface AttachResult {
  readonly disk: string;
  readonly host: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Where clients find it: on its host first. */
  readonly uris: readonly string[];
}

export interface DetachResult {
  readonly disk: string;
  readonly host: string;
}

export interface HydrateResult {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly store: StoreName;
  readonly disk: string;
  readonly host: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly uris: readonly string[];
  readonly promoted: boolean;
}

export interface ReplicateResult {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  /** The store that it was read from. */
  readonly store: StoreName;
  readonly receiver: string;
  /** Of the snapshot here; at a receiver that does not know the sender's key it has another. */
  readonly root: string | null;
  /** What the receiver built on. */
  readonly base: SnapshotId | null;
  readonly figures: ReplicationFigures;
}

export interface ArchiveTableResult {
  readonly table: string;
}

export interface RestoreTableResult {
  readonly table: string;
  /** Where it is, in words. */
  readonly output: string;
  readonly rows: number;
  /** Of all rows, whatever their order: the same table has the same hash. */
  readonly hash: string;
  /** All below this place of the source's log is in; null: all that was archived. */
  readonly cut: string | null;
  /** The moment that was asked for, or that LATEST was; null: it was asked for by place or transaction. */
  readonly atUs: number | null;
  readonly earliest: string;
  readonly latest: string;
  /** Events over all of the archive that were not taken as they came. */
  readonly late: number;
  readonly contradicted: number;
  readonly quarantined: number;
  readonly gaps: number;
  /** Cells for which no value was ever archived. */
  readonly unresolved: number;
  /** Offsets that were read after each partition's base, of the first hundred partitions. */
  readonly partitions: readonly {
    readonly id: string;
    readonly base: number | null;
    readonly from: number | null;
    readonly to: number | null;
  }[];
  /** Columns of the output, of the first hundred. `misfits`: cells that are not what the schema says, for which the column is JSON text. */
  readonly columns: readonly { readonly name: string; readonly type: string; readonly key: boolean; readonly misfits: number }[];
  readonly readBytes: number;
}

/** How long each step took. */
export type StepsMs = Readonly<Record<string, number>>;

export interface FailoverResult {
  readonly journal: string;
  readonly from: string;
  readonly to: string;
  readonly planned: boolean;
  /** The epoch that was closed, its last number, and the one that began. */
  readonly closedEpoch: number;
  readonly end: number;
  readonly epoch: number;
  /** What the disks are as of; below `end` when order was lost before that. Its label: 0 when that is not known. */
  readonly point: number;
  readonly labelUs: number;
  /** So much of what was acknowledged may be missing at the most: the time from the point's label to the fencing. */
  readonly lostMsMax: number;
  readonly baseBytes: number;
  readonly replayBytes: number;
  readonly disks: readonly { readonly disk: string; readonly path: string; readonly sizeBytes: number }[];
  readonly uris: readonly string[];
  readonly stepsMs: StepsMs;
}

export interface FailbackResult extends Omit<FailoverResult, 'planned' | 'baseBytes' | 'replayBytes'> {
  /** Why all of the disks was fetched; null: only what differed. */
  readonly full: string | null;
  /** Rounds while the other host served, and the bytes of all rounds and of the last one, in which nobody did. */
  readonly rounds: number;
  readonly fetchedBytes: number;
  readonly lastBytes: number;
}

export interface BackfillResult {
  readonly journal: string;
  readonly region: string;
  /** Epochs that it was said to hold. */
  readonly held: readonly number[];
  readonly batches: number;
  readonly bytes: number;
  readonly basesCopied: number;
  /** Of the journal, that one region alone holds still. */
  readonly atRiskBytes: number;
}

export interface ProtectDomainResult {
  readonly journal: string;
}

export interface TestFailoverResult {
  readonly journal: string;
  readonly host: string;
  readonly epoch: number;
  readonly point: number;
  readonly labelUs: number;
  /** So old was the newest point; and so long did it take to have it. */
  readonly rpoMsMax: number;
  readonly rtoMs: number;
  readonly baseBytes: number;
  readonly replayBytes: number;
  readonly passed: boolean;
  readonly checks: readonly { readonly by: string; readonly passed: boolean; readonly said: string }[];
  readonly stepsMs: StepsMs;
}

export interface CaptureGroupResult {
  /** In the order in which they were named. */
  readonly captures: readonly CaptureResult[];
}

// -- workflows ------------------------------------------------------------------------------------------------------

/** Workflow types by name, with the id under which a job runs: starting it twice joins the run that is there. */
export const JOB_IDS = {
  captureSnapshot: (input: CaptureInput): string => `capture.${input.volume}`,
  copySnapshot: (input: CopyInput): string => `copy.${[...input.to].sort().join('.')}.${input.snapshot}`,
  deleteSnapshot: (input: DeleteInput): string => `delete.${input.store}.${input.snapshot}`,
  restoreVolume: (input: RestoreInput): string => `restore.${input.volume}.${hashOf(`${input.host ?? ''}:${input.target}`)}`,
  verifyStore: (input: VerifyInput): string => `verify.${input.store}.${input.volume}`,
  collectGarbage: (input: CollectInput): string => `collect.${input.store}.${input.repository}`,
  attachVolume: (input: AttachInput): string => `attach.${input.volume}`,
  detachDisk: (input: DetachInput): string => `detach.${input.disk}`,
  hydrateDisk: (input: HydrateInput): string => `hydrate.${input.volume}.${hashOf(`${input.host ?? ''}:${input.target}`)}`,
  replicateSnapshot: (input: ReplicateInput): string => `replicate.${input.receiver}.${input.volume}`,
  archiveTable: (input: ArchiveTableInput): string => `archive.${input.table}`,
  restoreTable: (input: RestoreTableInput): string =>
    `restore-table.${input.table}.${hashOf(`${input.host ?? ''}:${outputName(input.output)}`)}`,
  failover: (input: FailoverInput): string => `failover.${input.journal}`,
  failback: (input: FailbackInput): string => `failback.${input.journal}`,
  backfillRegion: (input: BackfillInput): string => `backfill.${input.journal}.${input.region}`,
  protectDomain: (input: ProtectDomainInput): string => `protect.${input.journal}`,
  testFailover: (input: TestFailoverInput): string => `test-failover.${input.journal}`,
  captureGroup: (input: CaptureGroupInput): string => `capture-group.${hashOf([...input.volumes].sort().join(' '))}`,
} as const;
export type JobKind = keyof typeof JOB_IDS;

export interface JobInputs {
  readonly captureSnapshot: CaptureInput;
  readonly copySnapshot: CopyInput;
  readonly deleteSnapshot: DeleteInput;
  readonly restoreVolume: RestoreInput;
  readonly verifyStore: VerifyInput;
  readonly collectGarbage: CollectInput;
  readonly attachVolume: AttachInput;
  readonly detachDisk: DetachInput;
  readonly hydrateDisk: HydrateInput;
  readonly replicateSnapshot: ReplicateInput;
  readonly archiveTable: ArchiveTableInput;
  readonly restoreTable: RestoreTableInput;
  readonly captureGroup: CaptureGroupInput;
  readonly failover: FailoverInput;
  readonly failback: FailbackInput;
  readonly testFailover: TestFailoverInput;
  readonly backfillRegion: BackfillInput;
  readonly protectDomain: ProtectDomainInput;
}

export interface JobResults {
  readonly captureSnapshot: CaptureResult;
  readonly copySnapshot: CopyResult;
  readonly deleteSnapshot: DeleteResult;
  readonly restoreVolume: RestoreResult;
  readonly verifyStore: VerifyResult;
  readonly collectGarbage: CollectResult;
  readonly attachVolume: AttachResult;
  readonly detachDisk: DetachResult;
  readonly hydrateDisk: HydrateResult;
  readonly replicateSnapshot: ReplicateResult;
  readonly archiveTable: ArchiveTableResult;
  readonly restoreTable: RestoreTableResult;
  readonly captureGroup: CaptureGroupResult;
  readonly failover: FailoverResult;
  readonly failback: FailbackResult;
  readonly testFailover: TestFailoverResult;
  readonly backfillRegion: BackfillResult;
  readonly protectDomain: ProtectDomainResult;
}

// -- triggers -------------------------------------------------------------------------------------------------------

/** What an event from outside may start: nothing that takes something away or overwrites it. */
export const TRIGGERED_JOBS = [
  'captureSnapshot',
  'captureGroup',
  'copySnapshot',
  'replicateSnapshot',
  'verifyStore',
  'collectGarbage',
] as const satisfies readonly JobKind[];
export type TriggeredJob = (typeof TRIGGERED_JOBS)[number];
/** No job of its own: the archiver of the table is told. */
export const SNAPSHOT_TABLE = 'snapshotTable';

/** Input of the workflow `runTrigger`, which an event starts once. */
export interface TriggerInput {
  readonly trigger: string;
  readonly event: { readonly id: string; readonly source: string };
  readonly job: TriggeredJob | typeof SNAPSHOT_TABLE;
  /** Of the job, as the trigger says it. */
  readonly input: JobInputs[TriggeredJob] | { readonly table: string };
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
  /** Where clients find the disk that the job serves. */
  readonly uris: readonly string[];
  /** Of a session with a receiver. */
  readonly replication?: ReplicationFigures | undefined;
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
/** Also a signal, for whoever needs no answer. */
export const SNAPSHOT_NOW_UPDATE = 'snapshotNow';
export const PURGE_UPDATE = 'purge';
export const UNDELETE_UPDATE = 'undelete';
export const LOOK_AGAIN_SIGNAL = 'lookAgain';

/** Search attributes; the namespace has to know them. */
export const SEARCH_ATTRIBUTES = ['HoldfastVolume', 'HoldfastStore', 'HoldfastState'] as const;

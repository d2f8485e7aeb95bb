/**
 * What a disk server is asked by others on its host: captures freeze, operators attach and detach (docs/serving.md).
 *
 * HTTP over a Unix socket that only the server's user can open: `POST /<operation>` with the arguments as a JSON array,
 * answered with JSON, so that `curl --unix-socket` speaks it, too. A failure is a code of the table of errors.
 */
import { z } from 'zod';
import type { ErrorCode } from '../../../domain/errors.ts';
import { diskSchema as disk, snapshotSchema as snapshot, volumeSchema as volume } from '../../../domain/id-schemas.ts';
import type { SnapshotId, VolumeName } from '../../../domain/ids.ts';
import type { ViewFiles } from '../view-beside.ts';
import { diskRecord, type DiskRecord } from './disk-record.ts';

/** One disk's part of a moment. */
export interface FrozenView {
  readonly disk: string;
  readonly snapshot: SnapshotId;
  /** The view as an NBD export on the host. */
  readonly uri: string;
  /** Where its bytes are, to be read beside the server; null: not there. */
  readonly files: ViewFiles | null;
  /** Another one each time that a moment is frozen: tells a view from one that was made after the first was lost. */
  readonly moment: string;
  /** 'application' when hooks had brought the volume's application to rest. */
  readonly consistency: 'application' | 'crash';
}

export interface WantedView {
  readonly disk: string;
  /** Whose hooks are run. */
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
}

export interface ViewStatus {
  readonly snapshot: string;
  readonly preservedBytes: number;
  readonly writersHeld: number;
}

export interface HydrationStatus {
  readonly snapshot: SnapshotId;
  readonly store: string;
  readonly localExtents: number;
  readonly extents: number;
  /** Why it does not get on, while that is so. */
  readonly trouble: { readonly code: ErrorCode; readonly message: string; readonly retryable: boolean } | null;
}

export interface DiskStatus {
  readonly record: DiskRecord;
  /** On the host, and from elsewhere where the server listens there. */
  readonly uris: readonly string[];
  readonly connections: number;
  readonly views: readonly ViewStatus[];
  /** Times that a writer had to wait for a view, and for how long in all. */
  readonly writersHeld: number;
  readonly heldMs: number;
  readonly hydration: HydrationStatus | null;
}

export interface DiskOperations {
  list(): Promise<readonly DiskStatus[]>;
  /** Serves a disk from now on. Again with the same record: as it is. */
  attach(record: DiskRecord): Promise<DiskStatus>;
  /** DISK_IN_USE while clients are connected, or it is not whole yet, unless forced. */
  detach(disk: string, force: boolean): Promise<void>;
  /** Freezes disks at one moment, or none of them. A view of a snapshot that is open is given again. */
  freeze(wanted: readonly WantedView[]): Promise<readonly FrozenView[]>;
  closeView(disk: string, snapshot: SnapshotId): Promise<void>;
}

/** Volumes that are frozen together. */
const GROUP_MAX = 64;

/** The arguments of each operation. */
export const DISK_OPERATIONS = {
  list: z.tuple([]),
  attach: z.tuple([diskRecord]),
  detach: z.tuple([disk, z.boolean()]),
  freeze: z.tuple([z.array(z.strictObject({ disk, volume, snapshot })).min(1).max(GROUP_MAX)]),
  closeView: z.tuple([disk, snapshot]),
} as const satisfies { readonly [Name in keyof DiskOperations]: z.ZodType<Parameters<DiskOperations[Name]>> };

export const REQUEST_BYTES_MAX = 64 * 1024;
/** 4,096 disks with what they say of themselves. */
export const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

export const failureBody = z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()).optional() });

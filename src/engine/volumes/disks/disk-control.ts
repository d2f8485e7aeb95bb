/**
 * What a disk server is asked by others on its host: captures freeze, operators attach and detach (docs/serving.md).
 *
 * HTTP over a Unix socket that only the server's user can open: `POST /<operation>` with the arguments as a JSON array,
 * answered with JSON, so that `curl --unix-socket` speaks it, too. A failure is a code of the table of errors.
 */
import { z } from 'zod';
import type { ErrorCode } from '../../../domain/errors.ts';
import { NAME_PATTERN } from '../../../domain/ids.ts';
import { GROUP_DISKS_MAX } from '../../../domain/limits.ts';
import { diskSchema as disk, snapshotSchema as snapshot, volumeSchema as volume } from '../../../domain/id-schemas.ts';
import type { SnapshotId, VolumeName } from '../../../domain/ids.ts';
import type { ViewFiles } from '../view-beside.ts';
import { diskRecord, type DiskRecord } from './disk-record.ts';
import { groupWanted, type GroupWanted } from './group-record.ts';
import type { JournalPlace, PointTaken, ProtectionStatus } from './protection-port.ts';

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
  /** The moment's number in the journal of the disk's group, if the moment is one of all its disks, and records are made of them. */
  readonly place: JournalPlace | null;
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
  /** A snapshot in a store, or a point of a journal; the others are null. */
  readonly snapshot: SnapshotId | null;
  readonly store: string | null;
  readonly point: JournalPlace | null;
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
  /** The point that its group is recovered to in place: nobody else has it until that is through. */
  readonly recovering: JournalPlace | null;
  readonly views: readonly ViewStatus[];
  /** Times that a writer had to wait for a view, and for how long in all. */
  readonly writersHeld: number;
  readonly heldMs: number;
  readonly hydration: HydrationStatus | null;
}

export interface BegunRecovery {
  /** What the disks held before the first try: the way back. */
  readonly before: JournalPlace & { readonly timeMs: number };
  /** Everything that may differ from the point has a number up to this. */
  readonly now: JournalPlace;
  /** Of each disk of the group, for who recovers. */
  readonly uris: readonly string[];
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
  /** Every change to these disks goes to a journal from now on. Again with the same group: as it is. */
  protect(group: GroupWanted): Promise<ProtectionStatus>;
  /** No more changes do. The journal stays where it is. */
  unprotect(journal: string): Promise<void>;
  protection(): Promise<readonly ProtectionStatus[]>;
  /** Serves the disks of a group no more, with everything that they hold in its regions; see DiskProtection. They stay written down. */
  handOver(journal: string): Promise<number | null>;
  /** Serves the disks of a group from what is written down of it. Again while they are served: as they are. */
  takeUp(journal: string): Promise<void>;
  /**
   * Keeps everybody off the disks of a group while they are recovered in place, until `endRecovery`, whatever ends in between. Again: whoever did it
   * before is kept off, too. DISK_IN_USE while clients are connected, unless forced.
   */
  beginRecovery(journal: string, point: Omit<JournalPlace, 'journal'>, force: boolean): Promise<BegunRecovery>;
  /** Its disks are those of the point: a point of that, and they are exported again. */
  endRecovery(journal: string): Promise<JournalPlace>;
  /** Makes a recovery point of now; `volumes` names whose hooks are run. */
  point(journal: string, volumes: readonly VolumeName[]): Promise<PointTaken>;
}

const journal = z.string().regex(NAME_PATTERN);

/** The arguments of each operation. */
export const DISK_OPERATIONS = {
  list: z.tuple([]),
  attach: z.tuple([diskRecord]),
  detach: z.tuple([disk, z.boolean()]),
  freeze: z.tuple([z.array(z.strictObject({ disk, volume, snapshot })).min(1).max(GROUP_DISKS_MAX)]),
  closeView: z.tuple([disk, snapshot]),
  protect: z.tuple([groupWanted]),
  unprotect: z.tuple([journal]),
  protection: z.tuple([]),
  beginRecovery: z.tuple([journal, z.strictObject({ epoch: z.int().min(1), seq: z.int().min(0) }), z.boolean()]),
  endRecovery: z.tuple([journal]),
  handOver: z.tuple([journal]),
  takeUp: z.tuple([journal]),
  point: z.tuple([journal, z.array(volume).max(GROUP_DISKS_MAX)]),
} as const satisfies { readonly [Name in keyof DiskOperations]: z.ZodType<Parameters<DiskOperations[Name]>> };

export const REQUEST_BYTES_MAX = 64 * 1024;
/** 4,096 disks with what they say of themselves. */
export const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

export const failureBody = z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()).optional() });

/**
 * Who protects disks of a host, as their server sees it (docs/protection.md): it gives its volumes, and does not export them before
 * they are said to be ready.
 */
import type { ErrorCode } from '../../../domain/errors.ts';
import type { ServedVolume } from '../served-volume.ts';
import type { GroupRecord, GroupWanted } from './group-record.ts';

export type ProtectionState = 'OPENING' | 'PROTECTED' | 'CATCHING_UP' | 'BITMAP' | 'RESYNC' | 'FENCED' | 'FAILED';

export interface ProtectionMember {
  readonly region: string;
  readonly domain: string;
  /** Records that it does not hold yet, as far as that is known, and why the newest try failed; null: none fails now. */
  readonly lagRecords: number;
  readonly lastError: string | null;
}

export interface ProtectionStatus {
  readonly group: GroupRecord;
  readonly state: ProtectionState;
  /** What keeps it from being PROTECTED; null: nothing that has a code. */
  readonly lastError: { readonly code: ErrorCode; readonly message: string } | null;
  /** The epoch that is its own, or (FENCED) the one that overtook it; null: not known yet. */
  readonly epoch: number | null;
  readonly next: number;
  readonly acknowledged: number;
  /** The newest number that a region holds (`pair`: both), with everything before it. */
  readonly closed: number;
  /** Age of the oldest record that is not closed; 0: there is none. */
  readonly rpoMs: number;
  readonly members: readonly ProtectionMember[];
  /** Of records that not all members hold. */
  readonly heldBytes: number;
  readonly writeAheadBytes: number;
  /** Order was lost at this number, and no base is recorded since; null: no such thing. */
  readonly gap: number | null;
}

/** A number of a journal at which something was. */
export interface JournalPlace {
  readonly journal: string;
  readonly epoch: number;
  readonly seq: number;
}

export interface PointTaken extends JournalPlace {
  readonly timeMs: number;
  /** 'application' when hooks had brought the volumes' applications to rest. */
  readonly consistency: 'application' | 'crash';
}

export interface DiskProtection {
  /** Groups that are written down. */
  groups(): Promise<readonly GroupRecord[]>;
  /** Goes on with a group, however long it takes; calls `onReady` when its disks may be used. */
  resume(group: GroupRecord, volumes: readonly ServedVolume[], onReady: () => void): void;
  /** Begins with disks that are in use. Again with the same group: as it is. */
  protect(group: GroupWanted, volumes: readonly ServedVolume[]): Promise<ProtectionStatus>;
  /** Changes go to the volumes alone from now on. */
  unprotect(journal: string): Promise<void>;
  /**
   * Stops a group with everything in its regions, and answers the number at which its journal ends; what is written down of it stays. Null: it was
   * not its host's to hand over. STORE_UNREACHABLE: not in time, and NOT_PROTECTED: no unbroken records are made; it goes on as before.
   */
  handOver(journal: string): Promise<number | null>;
  status(): readonly ProtectionStatus[];
  /** Makes a point of now. JOURNAL_FENCED, WRITE_AHEAD_FAILED; PROTECTION_OFF while no records are made. */
  point(journal: string): Promise<JournalPlace>;
  /** Called in the turn of a moment of all disks of a group: the moment's place. Null while no records are made. */
  moment(journal: string): JournalPlace | null;
  /** A clean stop of all groups: their disks are used no more. */
  close(): Promise<void>;
}

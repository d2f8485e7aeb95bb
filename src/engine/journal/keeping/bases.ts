/**
 * The port to a region's repository: bases of the journal are snapshots there, and this is all that the journal asks of them.
 *
 * repository-bases.ts is the one over the pipeline that makes every other snapshot; a simulation has its own.
 * A snapshot that is written is nothing yet: the BASE record makes it one, and one that is never recorded is collected when its
 * label says that it cannot be any more.
 */
import type { RestoreTarget } from '../../transfer/restore-target.ts';
import type { BaseSnapshot } from '../collection.ts';
import type { BaseEntry } from '../entries.ts';
import type { VolumeExtent } from '../recovery/replay.ts';

/** A snapshot, read at random. */
export interface BaseImage {
  readonly sizeBytes: number;
  /** Fills `into` from `offset`; DAMAGED and the like when it cannot be had as it was. */
  read(into: Buffer, offset: number): Promise<void>;
  /** Where it may hold something else than zeros, ascending. */
  data(): AsyncIterable<{ readonly offset: number; readonly length: number }>;
}

/** A snapshot that was made to be a base. */
export interface StoredBase extends BaseSnapshot {
  readonly volume: number;
  /** When its point was, by the owner's clock. */
  readonly takenMs: number;
}

/** What a base is labelled with, before it is recorded. */
export interface BaseNotes {
  readonly epoch: number;
  readonly from: number;
  readonly takenMs: number;
  /** All that was written by the point, or while it was read. */
  readonly consistency: 'crash' | 'fuzzy';
}

export type BaseSnapshots = BaseEntry['snapshots'];

export interface RestoredBase {
  readonly target: RestoreTarget;
  /** Where somebody writes afterwards, none touching the next: what lies in there whole may be left out as soon as it is known. */
  readonly overwritten: Promise<Iterable<{ readonly offset: number; readonly length: number }>>;
  readonly onWritten: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface Bases {
  readonly region: string;
  /** Every snapshot that was made to be a base and is still there, recorded or not. */
  list(signal?: AbortSignal): Promise<readonly StoredBase[]>;
  /** Null: it is not there. */
  open(snapshot: string, signal?: AbortSignal): Promise<BaseImage | null>;
  /**
   * Writes what a snapshot holds to a target of zeros; false: it is not there. DAMAGED, OBJECT_MISSING or the like when a part of it, which is
   * named, cannot be had as it was. When it has ended, well or not, nothing is written any more.
   */
  restore(snapshot: string, into: RestoredBase): Promise<boolean>;
  /**
   * Makes a snapshot of each volume of the group: what `on` holds (a volume that it does not name: zeros), and `extents` over it,
   * which do not overlap and come in any order. Resolves when the store holds all of it.
   */
  write(on: BaseSnapshots, extents: AsyncIterable<VolumeExtent>, notes: BaseNotes, signal?: AbortSignal): Promise<BaseSnapshots>;
  /** Makes a snapshot of one volume that holds what `image`, of another region, holds. */
  copy(volume: number, image: BaseImage, notes: BaseNotes, signal?: AbortSignal): Promise<BaseSnapshots[number]>;
  /** Lets a snapshot go; one that is not there is no error. */
  delete(snapshot: string): Promise<void>;
}

/**
 * What a session sends, whatever its names are: the snapshot as it is (plain-content.ts), or its sealed twin (sealed-content.ts).
 *
 * Pages are read when they are sent and values when they are asked for; nothing is kept of either. Whatever a receiver asks
 * for is looked up on the snapshot's own map, at its position: there is no way to ask for anything else.
 */
import type { KnownBase, ReferencesFrame } from '../frames.ts';
import type { Name } from '../messages.ts';

/** What the pages of a session say the difference from. */
export type Against =
  /** A snapshot that both sides have. */
  | { readonly kind: 'base'; readonly base: KnownBase }
  /** The receiver has no snapshot of the lineage: what is on no page is zeros. */
  | { readonly kind: 'nothing' }
  /** It has one that the sender does not know: every page is given, whole. */
  | { readonly kind: 'unknown' };

export interface PageRows {
  readonly whole: boolean;
  readonly rows: ReferencesFrame['rows'];
}

/** A value that is due: at a position of its subtree, or somewhere on a page of it. */
export interface DueValue {
  readonly name: Name;
  readonly subtree: number;
  readonly page: number;
  /** In the subtree; null: anywhere on the page. */
  readonly at: number | null;
}

/** A value as it goes over the wire; it was sealed under its name. */
export interface ReadValue {
  readonly name: Name;
  /** Of the volume: where it was read for. */
  readonly extent: number;
  readonly codec: 0 | 1;
  readonly body: Buffer;
  /** To be called when nobody will look at the body any more. */
  readonly release?: () => void;
}

export interface SessionContent {
  readonly sizeBytes: number;
  readonly extentBytes: number;
  /** Of the map that the receiver will have; hex, zeros for a volume of zeros. */
  readonly root: string;
  readonly sealedBySender: boolean;
  /** What the receiver's newest snapshot may be compared with, the newest first. */
  readonly bases: readonly KnownBase[];
  /** What to compare with when this is the receiver's newest snapshot. */
  against(base: KnownBase | null): Against;
  /** Of the snapshot: what a larger base has beyond its end is zeros at the receiver, too. */
  readonly subtrees: number;
  /** Pages of a subtree that differ, or may. */
  pages(subtree: number, against: Against): Promise<readonly number[]>;
  /** `differs`: what differs from the base is enough. NAME_GONE when the page is the base's and cannot be read here. */
  rows(subtree: number, page: number, against: Against, differs: boolean): Promise<PageRows>;
  /**
   * Reads values, grouped by where they lie; `deliver` may wait, which bounds what is read ahead. Answers the names that cannot
   * be read, or whose bytes are not theirs. FRAME_INVALID for a name that is not at its position.
   */
  read(
    values: readonly DueValue[],
    deliver: (values: readonly ReadValue[]) => Promise<void>,
    signal: AbortSignal,
    /** Whether what is read is held against its name in full: the receiver has said that something was false. */
    inFull: boolean,
  ): Promise<readonly Name[]>;
}

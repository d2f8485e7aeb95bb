/**
 * What the two sides of a session say: docs/replication.md section 3, as far as either decides by it.
 *
 * Sizes, labels, bodies of data and the rows of a page are carried beside these by the encoding; no decision needs them. A
 * message of a session names its epoch, so that one of an older sender is known whenever it comes; an answer names what it
 * answers, so that a late one is known, too: a list its round, a receipt its *turn*, which is the number of lists that the
 * sender had heard when it spoke. What was asked for since is not settled by it.
 */

/** A name: the fingerprint of an extent in hex. */
export type Name = string;

/** A name at a position of the map: an extent, counted within its subtree. */
export interface Reference {
  readonly at: number;
  readonly name: Name;
}

/** Pages of a subtree from here on are the base's: page 256 + i is leaf i of the base. */
export const BASE_PAGE = 256;

export interface Open {
  readonly kind: 'OPEN';
  readonly owner: string;
  readonly attempt: number;
  /** The highest epoch that the sender was told of: it takes over from that one, and from none that came later. */
  readonly seen: number;
}

export interface References {
  readonly kind: 'REFERENCES';
  readonly epoch: number;
  readonly subtree: number;
  readonly page: number;
  readonly turn: number;
}

export interface Data {
  readonly kind: 'DATA';
  readonly epoch: number;
  /** Whether the receiver asked for it; false: sent ahead of any question. */
  readonly asked: boolean;
  readonly name: Name;
  readonly turn: number;
}

export interface Inquiry {
  readonly kind: 'PUSH_INQUIRY';
  readonly epoch: number;
  readonly subtree: number;
  /** From 1, ascending; said again with the same number until it is answered. */
  readonly round: number;
  /** Whether data that was asked for has not been answered yet. */
  readonly underWay: boolean;
  /** Pages that the sender has given or gives. */
  readonly pages: readonly number[];
}

export interface Commit {
  readonly kind: 'COMMIT';
  readonly epoch: number;
}

export interface NameGone {
  readonly kind: 'NAME_GONE';
  readonly epoch: number;
  readonly names: readonly Name[];
}

export interface Abort {
  readonly kind: 'ABORT';
  readonly epoch: number;
}

export type Message = Open | References | Data | Inquiry | Commit | NameGone | Abort;

export interface Opened {
  readonly kind: 'OPENED';
  readonly epoch: number;
  /** Nothing of this snapshot is known: every page has to be given. */
  readonly fresh: boolean;
}

/** Another owner's claim is open. */
export interface Taken {
  readonly kind: 'TAKEN';
  readonly epoch: number;
}

export interface Noted {
  readonly kind: 'NOTED';
  readonly subtree: number;
  readonly page: number;
  readonly turn: number;
}

export interface Kept {
  readonly kind: 'KEPT';
  readonly name: Name;
  readonly turn: number;
  /** False: nothing waited for it. */
  readonly accepted: boolean;
}

/** The response to an inquiry. Nothing listed and nothing outstanding: the subtree is closed. */
export interface Missing {
  readonly kind: 'MISSING';
  readonly subtree: number;
  readonly round: number;
  /** All that keeps the subtree from closing, what is listed included. */
  readonly outstanding: number;
  readonly pages: readonly number[];
  /** Ascending by position; at most so many as the receiver's cap. */
  readonly names: readonly Reference[];
}

export interface Committed {
  readonly kind: 'COMMITTED';
}

/** Subtrees that are not closed. */
export interface Withheld {
  readonly kind: 'WITHHELD';
  readonly subtrees: readonly number[];
}

export interface Ended {
  readonly kind: 'ENDED';
}

export type RefusalCode = 'CLAIM_LOST' | 'ROUND_OVER' | 'NAME_FALSE' | 'ROOT_DIFFERS';

export interface Refused {
  readonly kind: 'REFUSED';
  readonly code: RefusalCode;
}

export type Answer = Opened | Taken | Noted | Kept | Missing | Committed | Withheld | Ended | Refused;

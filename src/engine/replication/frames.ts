/**
 * What crosses the wire in a session, decoded: docs/replication.md section 3. A frame is a message or an answer with all that
 * it carries; the reducers decide by less (messages.ts), and the two sides' drivers stand between.
 *
 * Names, roots and other digests are hex here, of 64 digits; the wire has 32 bytes. A name of zeros: the extent is zeros now.
 */
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import type { CONSISTENCIES } from '../repository/entries.ts';
import type { Name, Reference } from './messages.ts';

/** Names of a page: leaves of the map have so many children. */
export const PAGE_NAMES = 256;
/** Names of one MISSING answer: 2 GiB of volume at 256 KiB. */
export const NAMES_MAX = 8192;

/** How a name is proven held: docs/replication.md section 6. */
export const PROOF_LEVELS = ['listed', 'sampled', 'all'] as const;
export type ProofLevel = (typeof PROOF_LEVELS)[number];

/** A snapshot that both sides can compare with, if its root is the same on both. */
export interface KnownBase {
  readonly snapshot: SnapshotId;
  readonly root: string;
}

type Consistency = (typeof CONSISTENCIES)[number];

export interface OpenFrame {
  readonly kind: 'OPEN';
  readonly version: number;
  readonly proof: ProofLevel;
  /** Extents are sealed by the sender, with a key that the receiver does not have. */
  readonly sealedBySender: boolean;
  readonly consistency: Consistency;
  readonly attempt: number;
  readonly seen: number;
  readonly takenMs: number;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly snapshot: SnapshotId;
  /** As the sender has it; the receiver adds the prefix of the token. */
  readonly lineage: Lineage;
  readonly owner: string;
  readonly label: string;
  /** At most 255, the newest first. */
  readonly bases: readonly KnownBase[];
}

/** Begins an exchange of a session that is open. */
export interface SessionFrame {
  readonly kind: 'SESSION';
  readonly epoch: number;
  readonly snapshot: SnapshotId;
  readonly lineage: Lineage;
}

export interface ReferencesFrame {
  readonly kind: 'REFERENCES';
  /** All extents of the page that are not zeros, instead of what differs from the base. */
  readonly whole: boolean;
  readonly turn: number;
  readonly subtree: number;
  readonly page: number;
  /** Ascending by child of the leaf, 0 to 255. */
  readonly rows: readonly { readonly child: number; readonly name: Name }[];
}

export interface DataFrame {
  readonly kind: 'DATA';
  readonly asked: boolean;
  readonly turn: number;
  readonly name: Name;
  /** Of the body: 0 raw, 1 zstd. */
  readonly codec: 0 | 1;
  readonly body: Buffer;
  /** Nothing else lies in the body's buffer, or looks at it: who hears it may move it. */
  readonly isAlone?: boolean;
}

export interface InquiryFrame {
  readonly kind: 'PUSH_INQUIRY';
  readonly underWay: boolean;
  readonly subtree: number;
  readonly round: number;
  /** 0 to 511, ascending. */
  readonly pages: readonly number[];
}

export interface CommitFrame {
  readonly kind: 'COMMIT';
  readonly root: string;
}

export interface NameGoneFrame {
  readonly kind: 'NAME_GONE';
  readonly names: readonly { readonly subtree: number; readonly at: number; readonly name: Name }[];
}

export interface AbortFrame {
  readonly kind: 'ABORT';
  readonly reason: string;
}

export type FirstFrame = OpenFrame | SessionFrame;
export type SessionMessageFrame = ReferencesFrame | DataFrame | InquiryFrame | CommitFrame | NameGoneFrame | AbortFrame;
export type RequestFrame = FirstFrame | SessionMessageFrame;

export interface OpenedFrame {
  readonly kind: 'OPENED';
  readonly fresh: boolean;
  /** The repository counts nothing: there is no point in asking before data is sent. */
  readonly countsNothing: boolean;
  readonly epoch: number;
  /** The newest live snapshot of the lineage here, whether the sender named it or not. */
  readonly base: KnownBase | null;
  readonly exchangeBytes: number;
  readonly exchanges: number;
}

export interface TakenFrame {
  readonly kind: 'TAKEN';
  readonly epoch: number;
  readonly owner: string;
}

export interface NotedFrame {
  readonly kind: 'NOTED';
  readonly turn: number;
  readonly subtree: number;
  readonly page: number;
}

/** To DATA in a row of one turn: the first `accepted + dropped` of them that have no answer yet, in order. */
export interface KeptFrame {
  readonly kind: 'KEPT';
  readonly turn: number;
  readonly accepted: number;
  readonly dropped: number;
}

export interface MissingFrame {
  readonly kind: 'MISSING';
  readonly subtree: number;
  readonly round: number;
  readonly outstanding: number;
  readonly pages: readonly number[];
  /** Ascending by position in the subtree. */
  readonly names: readonly Reference[];
}

export interface CommittedFrame {
  readonly kind: 'COMMITTED';
  readonly root: string;
}

export interface WithheldFrame {
  readonly kind: 'WITHHELD';
  readonly subtrees: readonly number[];
}

export interface EndedFrame {
  readonly kind: 'ENDED';
}

/** Nothing after the message that it answers was heard in its exchange. */
export interface RefusedFrame {
  readonly kind: 'REFUSED';
  /** A stable code: of the reducers' refusals, or of domain/errors.ts. */
  readonly code: string;
  readonly message: string;
}

export type AnswerFrame =
  OpenedFrame | TakenFrame | NotedFrame | KeptFrame | MissingFrame | CommittedFrame | WithheldFrame | EndedFrame | RefusedFrame;

/** The way to a receiver, as a sender sees it: one exchange is one request. */
export interface Link {
  /**
   * Says the frames in order; answers in the same order, at most one each (one KEPT for DATA in a row), fewer after a REFUSED. Rejects with RECEIVER_UNREACHABLE when there is
   * no answer, which says nothing about what was heard; with RECEIVER_DENIED when the credentials are not taken.
   */
  exchange(first: FirstFrame, rest: readonly SessionMessageFrame[], signal: AbortSignal): Promise<readonly AnswerFrame[]>;
}

/** Who speaks, as the transport has found out: what its token allows. */
export interface Peer {
  /** Of the token. */
  readonly id: string;
  readonly store: string;
  /** The repository that all its lineages share, or null: one for each volume, named as the volume is here. */
  readonly repository: string | null;
  /** Put before the sender's volume names. */
  readonly prefix: string;
  readonly rights: readonly ('add' | 'hide')[];
  /** Stored bytes that its lineages may come to; null: no bound. */
  readonly quotaBytes: number | null;
  /** A snapshot younger than this is not hidden for it; null: any may be. */
  readonly retentionFloorMs: number | null;
  /** The least proof. */
  readonly proof: ProofLevel;
}

/** A receiver, as the transport sees it: one exchange, heard in order; bodies of data are its own, and used up. Never rejects but with a mistake of ours; what is refused is an answer. */
export interface Hearing {
  exchange(peer: Peer, first: FirstFrame, rest: AsyncIterable<SessionMessageFrame>, signal: AbortSignal): AsyncIterable<AnswerFrame>;
  /** An exchange had so many bytes, both ways. */
  noteWire?(peer: Peer, first: FirstFrame, bytes: number): void;
}

/** What the calls of a session need, all of them the same: src/systems wires it once. */
import type { Lineage, SnapshotId } from '../../../domain/ids.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import { transferReader } from '../../repository/transfer-reader.ts';
import type { KnownBase, Link, OpenFrame, ProofLevel } from '../frames.ts';
import type { SessionContent } from './content.ts';
import type { Figures } from './figures.ts';
import type { Pace } from './patience.ts';
import { plainContent } from './plain-content.ts';
import { openSealedContent, type Sealing } from './sealed-content.ts';
import { createValueSource, type ValueSource, type ValueSourceDeps } from './value-source.ts';

export interface SessionParts {
  readonly content: SessionContent;
  readonly snapshot: SnapshotId;
  /** As the sender has it. */
  readonly lineage: Lineage;
  readonly takenMs: number;
  readonly consistency: OpenFrame['consistency'];
  readonly label: string | null;
  readonly link: Link;
  /** Of the session: the same for all its attempts. */
  readonly owner: string;
  /** Ascending: a later attempt takes over from an earlier one of the same owner. */
  readonly attempt: number;
  /** Whether it takes the lineage over from another owner that has it open. */
  readonly takesOver: boolean;
  readonly proof: ProofLevel;
  readonly pace?: Pace;
  /** How long the receiver may be silent before the call ends with RECEIVER_UNREACHABLE, which is retryable. */
  readonly patienceMs?: number;
  /** After each exchange that was answered: to renew the pin, to tell that the call is alive. What it throws ends the call. */
  readonly onProgress?: (figures: Figures) => void;
  readonly signal?: AbortSignal;
}

/** What OPENED says, fit for a workflow's history: the other calls of the session go by it. */
export interface OpenedSession {
  readonly epoch: number;
  readonly fresh: boolean;
  readonly countsNothing: boolean;
  readonly base: KnownBase | null;
  readonly exchangeBytes: number;
  readonly exchanges: number;
  /** Subtrees to go over. */
  readonly subtrees: number;
}

/** The parts of a session that ships this snapshot as it is. */
export interface PlainSession extends Omit<SessionParts, 'content' | 'snapshot' | 'lineage' | 'takenMs' | 'consistency' | 'label'> {
  /** Of the sender's store. */
  readonly source: RepositoryReader;
  /** The store's name: for errors and metrics. */
  readonly store: string;
  readonly of: Snapshot;
  readonly threads: Threads;
  /** Told of each value that cannot be read, and why. */
  readonly onLost?: ValueSourceDeps['onLost'];
}

const valuesOf = ({ source, store, of, threads, onLost }: PlainSession): ValueSource =>
  createValueSource({ reader: transferReader(source, store), extentBytes: of.extentBytes, threads, ...(onLost ? { onLost } : {}) });

const partsOf = ({ of, ...rest }: PlainSession, content: SessionContent): SessionParts => {
  const { id: snapshot, lineage, takenMs, consistency, label } = of;
  return { ...rest, snapshot, lineage, takenMs, consistency, label, content };
};

export const plainSession = (session: PlainSession): SessionParts =>
  partsOf(session, plainContent(session.source, session.of, valuesOf(session)));

/** The parts of one whose extents are sealed with a key that the receiver does not have; reads what has no name yet. */
export async function sealedSession(session: PlainSession, sealing: Sealing): Promise<SessionParts> {
  const { source, of, signal } = session;
  const values = valuesOf(session);
  return partsOf(session, await openSealedContent(plainContent(source, of, values), source, of, values, sealing, signal));
}

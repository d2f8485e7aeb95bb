/**
 * A session from the sender's side (system B): the calls that its workflow makes, each by any worker that has the store.
 *
 *     openReplication      pin the snapshot, open the session
 *     replicateRound       some subtrees, until each is closed or what was sent is asked for again
 *     confirmReplication   make it visible; MISSING_EXTENTS with the subtrees to go over again
 *     noteReplicated       say in the catalog how far the receiver is
 *     closeReplication     end a session that has failed, lift the pin
 *
 * Who the sender is does not depend on the run: a session that was left open (Temporal was wiped, the run was terminated) is the
 * next run's to take up. Two stores of a volume are two senders, and so are two installations: of those the second is refused.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import type { ReplicationFigures } from '../../domain/replication.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { findReceiver, type ReceiverRecord } from '../../engine/catalog/receivers.ts';
import { policyKey, rateAt } from '../../engine/catalog/replication-policies.ts';
import type { Figures } from '../../engine/replication/sending/figures.ts';
import { abandonSession, confirmSession, openSession, runRound } from '../../engine/replication/sending/session.ts';
import {
  plainSession,
  sealedSession,
  type OpenedSession,
  type PlainSession,
  type SessionParts,
} from '../../engine/replication/sending/session-parts.ts';
import { liftPin, pinnedBy, pinSnapshot } from '../../engine/repository/pins.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import { findSnapshot } from '../../engine/repository/transfer-reader.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { openSenderLink, takingOwn } from './sender-link.ts';
import { createPinKeeper, replicationPin } from './sender-pin.ts';
import type { ReplicationPlan } from './sender-plan.ts';
import { openSealing } from './sender-sealing.ts';

/** A receiver that is silent for so long ends the call; whoever waits then sees why, and the call is tried again. */
const PATIENCE_MS = 120_000;
/** A session that has failed waits less for the last word. */
const ABANDON_PATIENCE_MS = 20_000;

/** Of one call. */
export interface SenderCall {
  readonly threads: Threads;
  /** The run of the workflow, the same for all its calls. */
  readonly run: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (figures: ReplicationFigures) => void;
}

/** What the other calls go by. */
export interface OpenedReplication {
  readonly lineage: Lineage;
  readonly root: string | null;
  readonly sizeBytes: number;
  readonly takenMs: number;
  /** Null: the receiver has the snapshot already. */
  readonly session: OpenedSession | null;
  /** Of the session as it is open now; the next opening has a later one. */
  readonly attempt: number;
  readonly figures: ReplicationFigures;
}

const ownerOf = (source: RepositoryReader, lineage: Lineage): string =>
  `${Buffer.from(source.key.repositoryId).toString('hex')} ${lineage}`;

const figuresOf = (figures: Figures, verified = 0): ReplicationFigures => {
  const { logicalBytes, uniqueBytes, wireBytes, referenced, sent, askedAgain, rounds } = figures;
  return { logicalBytes, uniqueBytes, wireBytes, referenced, sent, askedAgain, rounds, verified };
};

/** Pins the snapshot and opens its session with this attempt, which is later than all before. */
export async function openReplication(home: Home, plan: ReplicationPlan, attempt: number, call: SenderCall): Promise<OpenedReplication> {
  const source = await home.reader(plan.store, plan.repository);
  const pin = replicationPin(call.run);
  const { lineage, root, sizeBytes, takenMs, id } = pinnedBy(source, pin) ?? findSnapshot(source, plan.volume, plan.snapshot);
  await pinSnapshot(source, pin, id, home.environment.nowMs() + PIN_MS_DEFAULT, `replicated to ${plan.receiver}`);
  const opened = await withSession(home, plan, attempt, call, openSession);
  const session = opened.kind === 'opened' ? opened.session : null;
  return { lineage, root, sizeBytes, takenMs, session, attempt, figures: figuresOf(opened.figures) };
}

export interface RoundOutcome {
  /** Pages and extents that the receiver still lacks; 0: all subtrees are closed. */
  readonly missing: number;
  readonly open: readonly number[];
  /** The first few of what is missing. */
  readonly names: readonly string[];
  readonly figures: ReplicationFigures;
}

/** `number`: of this call over these subtrees, ascending. */
export async function replicateRound(
  home: Home,
  plan: ReplicationPlan,
  { session, attempt }: OpenSessionOf,
  { subtrees, number }: { readonly subtrees: readonly number[]; readonly number: number },
  call: SenderCall,
): Promise<RoundOutcome> {
  const { missing, open, names, figures } = await withSession(home, plan, attempt, call, (parts) =>
    runRound(parts, session, { subtrees, call: number }),
  );
  return { missing, open, names, figures: figuresOf(figures, subtrees.length - open.length) };
}

/** A session that is open, with the attempt that has opened it. */
export interface OpenSessionOf {
  readonly session: OpenedSession;
  readonly attempt: number;
}

export async function confirmReplication(
  home: Home,
  plan: ReplicationPlan,
  { session, attempt }: OpenSessionOf,
  call: SenderCall,
): Promise<ReplicationFigures> {
  const { figures } = await withSession(home, plan, attempt, call, (parts) => confirmSession(parts, session));
  return figuresOf(figures);
}

/** Notes how far the receiver is, and what the session came to that has brought it there; one that found it there is none. */
export async function noteReplicated(
  home: Home,
  { volume, receiver, snapshot }: ReplicationPlan,
  takenMs: number,
  figures: ReplicationFigures,
): Promise<void> {
  await home.catalog.append(({ replicated }) =>
    replicated.get(policyKey({ receiver, volume }))?.snapshot === snapshot
      ? null
      : { kind: 'REPLICATED', volume, receiver, snapshot, takenMs, figures },
  );
}

/**
 * Lifts the pin, and ends `failed`, a session that has failed, if the receiver can be told; it ends by itself after a day. Answers
 * the snapshot if it is hidden and may now be due.
 */
export async function closeReplication(
  home: Home,
  plan: ReplicationPlan,
  failed: OpenSessionOf | null,
  call: SenderCall,
): Promise<SnapshotId | null> {
  if (failed !== null)
    // What it says needs no content, which to have may be costly.
    await withPlain(home, plan, failed.attempt, call, (session) =>
      abandonSession(plainSession({ ...session, patienceMs: ABANDON_PATIENCE_MS }), failed.session),
    ).catch((error: unknown) => {
      call.signal.throwIfAborted();
      if (!isHoldfastError(error)) throw error;
      home.environment.alarm('a session that has failed stays open at the receiver', { receiver: plan.receiver, code: error.code });
    });
  return liftPin(await home.reader(plan.store, plan.repository), replicationPin(call.run));
}

/** Wires what a call needs and closes it again. */
async function withPlain<T>(
  home: Home,
  plan: ReplicationPlan,
  attempt: number,
  { threads, run, signal, onProgress }: SenderCall,
  use: (session: PlainSession, record: ReceiverRecord) => Promise<T>,
): Promise<T> {
  const state = await home.catalog.sync();
  const record = findReceiver(state, plan.receiver);
  const window = state.policies.get(policyKey(plan))?.window ?? null;
  const source = await home.reader(plan.store, plan.repository);
  const of = findSnapshot(source, plan.volume, plan.snapshot, true);
  const owner = ownerOf(source, of.lineage);
  const keepPin = createPinKeeper(source, replicationPin(run));
  keepPin();
  await using link = await openSenderLink(record, home.variables, () => rateAt(record.bytesPerSecondMax, window, home.environment.nowMs()));
  const session: PlainSession = {
    ...{ source, store: plan.store, of, threads, owner, attempt, proof: plan.proof, signal, patienceMs: PATIENCE_MS },
    ...{ link: plan.takeOver ? link : takingOwn(link, owner), takesOver: true },
    onProgress(figures) {
      keepPin();
      onProgress?.(figuresOf(figures));
    },
  };
  return await use(session, record);
}

/** The same, with the content that the receiver shall have: the snapshot's, or its sealed twin's. */
const withSession = <T>(
  home: Home,
  plan: ReplicationPlan,
  attempt: number,
  call: SenderCall,
  use: (parts: SessionParts) => Promise<T>,
): Promise<T> =>
  withPlain(home, plan, attempt, call, async (session, record) => {
    using sealing = await openSealing(record, home.variables, home.cacheDir);
    return await use(sealing === null ? plainSession(session) : await sealedSession(session, sealing));
  });

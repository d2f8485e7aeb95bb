/**
 * A receiver: sessions of many senders over the repositories of one home, as the transport sees it (`Hearing`).
 *
 * A session is found by its lineage here and its snapshot: in memory, or again from what is durable, which is the open claim
 * in the log and the session's file. What is neither has ended: its snapshot is committed, or somebody else has the lineage.
 * Everything that a peer names is looked up in its own place (place.ts); nothing else exists for it.
 */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { VOLUME_EXTENTS_MAX } from '../../../domain/limits.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { codecOf, repositoryKey } from '../../catalog/catalog.ts';
import type { Home } from '../../catalog/home.ts';
import { abortClaim } from '../../repository/claims.ts';
import type { Claim } from '../../repository/ledger.ts';
import type { Repository } from '../../repository/repository.ts';
import {
  PROOF_LEVELS,
  type AnswerFrame,
  type FirstFrame,
  type Hearing,
  type OpenFrame,
  type Peer,
  type SessionMessageFrame,
} from '../frames.ts';
import { claimFor } from './claiming.ts';
import type { SessionFigures } from './figures.ts';
import { createInventory, type Inventory } from './inventory.ts';
import { RECEIVING_LIMITS, type ReceivingLimits } from './limits.ts';
import { keyOf, type Opening, type SessionPlace } from './opening.ts';
import { NO_NAME } from './pages.ts';
import { placeOf } from './place.ts';
import { createQuota } from './quota.ts';
import { createRooms } from './rooms.ts';
import { runsOf, type Run } from './runs.ts';
import { openSession, refusalOf, type Session } from './session.ts';
import { openSessionFile, removeSessionFile } from './session-file.ts';
import { createTurns } from './turns.ts';

export interface SessionStatus extends SessionPlace {
  /** Of the token. */
  readonly peer: string;
  readonly epoch: number;
  readonly status: Session['status'];
  readonly sizeBytes: number;
  readonly heardMs: number;
  readonly figures: SessionFigures;
}

export interface Receiving extends Hearing, AsyncDisposable {
  /** Sessions that were heard of since the process began and have not ended. */
  status(): readonly SessionStatus[];
  /** The transport has seen so many bytes of an exchange. */
  noteWire(peer: Peer, first: FirstFrame, bytes: number): void;
  /** Closes sessions that nobody has spoken in for a day, and removes files of those that ended elsewhere. Every hour or so. */
  tend(): Promise<void>;
}

export interface ReceivingOptions {
  readonly home: Home;
  readonly threads: Threads;
  /** For the files of sessions. */
  readonly folder: string;
  readonly limits?: Partial<ReceivingLimits>;
  /** A session has ended, as its last status says: for metrics, and for who asks afterwards. */
  readonly onEnd?: (status: SessionStatus) => void;
}

/** Who speaks in which session. */
interface Place extends SessionPlace {
  readonly repositoryOpen: (create: boolean) => Promise<Repository>;
}

export async function createReceiving({ home, threads, folder, limits: own = {}, onEnd }: ReceivingOptions): Promise<Receiving> {
  const limits: ReceivingLimits = { ...RECEIVING_LIMITS, ...own };
  const { environment } = home;
  mkdirSync(folder, { recursive: true });
  const rooms = await createRooms(threads.count, limits.packsPerThread);
  const quota = createQuota(home);
  const inventories = new WeakMap<Repository, Inventory>();
  const sessions = new Map<string, Session>();
  const heard = new Map<string, number>();
  const turns = createTurns<string>();
  const claims = new Map<string, number[]>();

  const opensAt = (peer: Peer, first: FirstFrame): Place => {
    const place = placeOf(peer, first);
    return { ...place, repositoryOpen: (create) => home.repository(place.store, place.repository, create) };
  };

  /** Openings of a lineage, and finding its sessions, one after the other. */
  const inTurn = <T>({ store, repository, lineage }: SessionPlace, work: () => Promise<T>): Promise<T> =>
    turns.run(`${store}/${repository}/${lineage}`, work);

  const inventoryOf = (repository: Repository): Inventory => {
    const inventory = inventories.get(repository) ?? createInventory(repository);
    inventories.set(repository, inventory);
    return inventory;
  };

  const fileOf = (place: SessionPlace): string => path.join(folder, `${keyOf(place).replaceAll('/', '+')}.session`);

  const bytesOf = (peer: Peer): number =>
    [...sessions.values()].filter(({ opening }) => opening.peer === peer.id).reduce((sum, { chargedBytes }) => sum + chargedBytes, 0);

  const start = async (place: Place, repository: Repository, claim: Claim, opening: Opening): Promise<Session> => {
    const file = openSessionFile(fileOf(place));
    if (file.opening()?.base !== opening.base) file.forgetPages();
    const state = await home.catalog.sync();
    const session = await openSession({
      ...{
        repository,
        inventory: inventoryOf(repository),
        file,
        threads,
        limits,
        opening,
        claim,
        rooms,
        codec: codecOf(state, place.store),
      },
    });
    sessions.set(keyOf(place), session);
    return session;
  };

  const statusOf = ({ opening, epoch, status, figures }: Session): SessionStatus => {
    const { store, repository, lineage, snapshot, peer, sizeBytes } = opening;
    const heardMs = heard.get(keyOf(opening)) ?? 0;
    return { store, repository, lineage, snapshot, peer, sizeBytes, epoch, status, heardMs, figures };
  };

  /** Lets go of a session that has ended; its file with it. */
  const drop = async (place: SessionPlace): Promise<void> => {
    const session = sessions.get(keyOf(place));
    if (session !== undefined) onEnd?.(statusOf(session));
    sessions.delete(keyOf(place));
    heard.delete(keyOf(place));
    await session?.close();
    removeSessionFile(fileOf(place));
    quota.forget(place);
  };

  const refuseClaims = (peer: Peer): void => {
    const nowMs = environment.nowMs();
    const recent = (claims.get(peer.id) ?? []).filter((atMs) => nowMs - atMs < 60_000);
    const open = [...sessions.values()].filter(({ opening }) => opening.peer === peer.id).length;
    if (recent.length >= limits.claimsPerMinute) throw new HoldfastError('CONTENTION', 'the token opens too many sessions a minute');
    if (open >= limits.sessionsMax) throw new HoldfastError('CONTENTION', `the token has ${open} sessions open`);
    claims.set(peer.id, [...recent, nowMs]);
  };

  const openFor = async (peer: Peer, place: Place, frame: OpenFrame): Promise<{ answer: AnswerFrame; session: Session | null }> => {
    refuseOpening(peer, frame);
    // Making a repository costs more than a claim, and is one.
    const isMade = home.catalog.known().repositories.has(repositoryKey(place.store, place.repository));
    if (!isMade) refuseClaims(peer);
    const repository = await place.repositoryOpen(true);
    const claiming = await claimFor(repository, place.lineage, frame, () => isMade && refuseClaims(peer));
    switch (claiming.kind) {
      case 'committed':
        await drop(place);
        return { answer: { kind: 'COMMITTED', root: claiming.root ?? NO_NAME }, session: null };
      case 'taken':
        return { answer: { kind: 'TAKEN', epoch: claiming.claim.epoch, owner: claiming.claim.owner }, session: null };
      case 'lost':
        return { answer: lost(), session: null };
      case 'claimed': {
        const { claim } = claiming;
        const opening = openingOf(peer, place, frame, claim);
        for (const other of [...sessions.values()].map((one) => one.opening))
          if (isSibling(other, place)) {
            sessions.get(keyOf(other))?.supersede();
            await drop(other);
          }
        const session = sessions.get(keyOf(place)) ?? (await start(place, repository, claim, opening));
        return { answer: await session.opened(claim, opening), session };
      }
    }
  };

  /** The session of a SESSION frame; else what every message of it is answered. */
  const find = async (peer: Peer, place: Place): Promise<Session | AnswerFrame> => {
    const there = sessions.get(keyOf(place));
    if (there?.status === 'open') return there;
    const repository = await place.repositoryOpen(false).catch((error: unknown) => {
      if (isHoldfastError(error, 'REPOSITORY_NOT_FOUND')) return null;
      throw error;
    });
    if (repository === null) return lost();
    await repository.sync();
    const ledger = repository.ledger();
    const root = ledger.used.get(place.snapshot);
    const committed = ledger.snapshots.get(place.snapshot);
    if (root !== undefined && (committed === undefined || committed.lineage === place.lineage))
      return { kind: 'COMMITTED', root: root ?? NO_NAME };
    const claim = ledger.claims.get(place.lineage);
    if (claim?.snapshot !== place.snapshot) return lost();
    const file = openSessionFile(fileOf(place));
    const opening = file.opening();
    file[Symbol.dispose]();
    if (opening === null || opening.base !== claim.base || keyOf(opening) !== keyOf(place))
      throw new HoldfastError('SESSION_FORGOTTEN', 'the receiver has lost its notes of this session: open it again');
    return start(place, repository, claim, opening);
  };

  async function* answers(
    peer: Peer,
    place: Place,
    first: FirstFrame,
    rest: AsyncIterable<SessionMessageFrame>,
  ): AsyncGenerator<AnswerFrame> {
    let epoch: number;
    let found: Session | AnswerFrame;
    if (first.kind === 'OPEN') {
      const { answer, session } = await inTurn(place, () => openFor(peer, place, first));
      yield answer;
      if (answer.kind !== 'OPENED' && answer.kind !== 'COMMITTED') return;
      epoch = answer.kind === 'OPENED' ? answer.epoch : 0;
      found = session ?? answer;
    } else {
      epoch = first.epoch;
      found = await inTurn(place, () => find(peer, place));
    }
    if (!('kind' in found)) heard.set(keyOf(place), environment.nowMs());
    for await (const run of runsOf(rest)) {
      const roomBytes = await quota.room(peer);
      const said = 'kind' in found ? [unheard(found, run)] : await found.hear(epoch, run, () => roomBytes - bytesOf(peer));
      if (!('kind' in found) && found.status !== 'open') await inTurn(place, () => dropEnded(place));
      yield* said;
      if (said.some(({ kind }) => kind === 'REFUSED')) return;
    }
  }

  /** A session's file: closed for good when nobody has spoken for long, removed when the claim is not open any more. */
  const tendOne = async (name: string): Promise<void> => {
    const file = openSessionFile(path.join(folder, name));
    const opening = file.opening();
    file[Symbol.dispose]();
    if (opening === null) {
      // One that is being begun has none yet.
      if (environment.nowMs() - statSync(path.join(folder, name)).mtimeMs > limits.idleMs) removeSessionFile(path.join(folder, name));
      return;
    }
    const { store, repository: inside, lineage } = opening;
    await inTurn(opening, async () => {
      const repository = await home.repository(store, inside);
      const claim = repository.ledger().claims.get(lineage);
      const isOpen = claim?.snapshot === opening.snapshot;
      // What was not heard of since the process began is as old as that.
      const atMs = heard.get(keyOf(opening)) ?? environment.nowMs();
      heard.set(keyOf(opening), atMs);
      if (isOpen && environment.nowMs() - atMs < limits.idleMs) return;
      if (isOpen) await abortClaim(repository, lineage, claim.epoch);
      sessions.get(keyOf(opening))?.supersede();
      await drop(opening);
    });
  };

  const dropEnded = async (place: SessionPlace): Promise<void> => {
    const session = sessions.get(keyOf(place));
    if (session !== undefined && session.status !== 'open') await drop(place);
  };

  return {
    async *exchange(peer, first, rest, signal) {
      try {
        if (!peer.rights.includes('add')) throw new HoldfastError('RECEIVER_DENIED', 'the token may not add snapshots');
        yield* answers(peer, opensAt(peer, first), first, rest);
      } catch (error) {
        // Who spoke is gone, and hears nothing of it.
        if (signal.aborted) return;
        yield refusalOf(error, environment);
      }
    },
    status: () => [...sessions.values()].map(statusOf),
    noteWire(peer, first, bytes) {
      sessions.get(keyOf(placeOf(peer, first)))?.noteWire(bytes);
    },
    async tend() {
      for (const name of readdirSync(folder).filter((one) => one.endsWith('.session'))) await tendOne(name);
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) await session.close();
      sessions.clear();
      rooms[Symbol.dispose]();
    },
  };
}

const lost = (): AnswerFrame => ({ kind: 'REFUSED', code: 'CLAIM_LOST', message: 'this session is not the open one of its lineage' });

/** To a message of a session that is not open. */
function unheard(answer: AnswerFrame, run: Run): AnswerFrame {
  const isEnd = run.kind === 'ONE' && (run.frame.kind === 'ABORT' || run.frame.kind === 'NAME_GONE');
  return isEnd && answer.kind !== 'COMMITTED' ? { kind: 'ENDED' } : answer;
}

/** Another snapshot of the same lineage. */
const isSibling = (a: SessionPlace, b: SessionPlace): boolean =>
  a.store === b.store && a.repository === b.repository && a.lineage === b.lineage && a.snapshot !== b.snapshot;

const VERSION = 1;

function refuseOpening(_peer: Peer, { version, sizeBytes, extentBytes }: OpenFrame): void {
  if (version !== VERSION)
    throw new HoldfastError('UPGRADE_REQUIRED', `the receiver speaks version ${VERSION} of the protocol`, { versions: [VERSION] });
  if (sizeBytes > VOLUME_EXTENTS_MAX * extentBytes)
    throw new HoldfastError('ARGUMENT_INVALID', 'the volume is larger than its extent size allows', { field: 'sizeBytes' });
}

function openingOf(peer: Peer, place: Place, frame: OpenFrame, claim: Claim): Opening {
  const { store, repository, lineage, snapshot } = place;
  const { sizeBytes, extentBytes, takenMs, consistency } = frame;
  const proof = PROOF_LEVELS[Math.max(PROOF_LEVELS.indexOf(frame.proof), PROOF_LEVELS.indexOf(peer.proof))] ?? 'all';
  return {
    ...{ peer: peer.id, store, repository, lineage, snapshot, sizeBytes, extentBytes, takenMs, consistency, proof },
    ...{ label: frame.label === '' ? null : frame.label, base: claim.base },
  };
}

/**
 * A session at the receiver: the reducer with what it stands on, and the answers to a sender's messages.
 *
 * Exchanges of one session come in parallel. The reducer is asked and told between two waits; inquiries of a subtree come
 * one after the other, for each may prove it, and so do openings, commits and ends. Data is checked in parallel.
 */
import { HoldfastError, isHoldfastError, messageOf } from '../../../domain/errors.ts';
import { MAP_FANOUT } from '../../../domain/limits.ts';
import type { Codec } from '../../../ground/sealing/blob.ts';
import { abortClaim } from '../../repository/claims.ts';
import { openDestination } from '../../repository/destination.ts';
import type { Claim } from '../../repository/ledger.ts';
import type { Proof } from '../dictionary.ts';
import type { AnswerFrame, CommitFrame, DataFrame, InquiryFrame, RefusedFrame, ReferencesFrame } from '../frames.ts';
import { BASE_PAGE, type Answer, type Inquiry, type Name, type Reference } from '../messages.ts';
import {
  acceptedNames,
  confirmed,
  hearCommit,
  hearEnd,
  hearInquiry,
  hearOpen,
  hearReferences,
  needsJudgement,
  needsProof,
  supersede,
  unconfirmed,
} from '../receiver.ts';
import { adoptPacks, reopened } from './adopting.ts';
import { closeSubtree } from './closing.ts';
import { judgeCommit } from './committing.ts';
import { noCounts, type SessionFigures } from './figures.ts';
import { broughtAt, isHeld } from './holdings.ts';
import { endOf, subtreesOf, type Opening } from './opening.ts';
import { Packing } from './packing.ts';
import { namesOf, NO_NAME, samePage, type Page } from './pages.ts';
import type { Rooms } from './rooms.ts';
import type { Run } from './runs.ts';
import { baseOf, type Claimed, type SessionState } from './state.ts';
import { takeData } from './taking.ts';
import { createTurns } from './turns.ts';

export type SessionParts = Pick<SessionState, 'repository' | 'inventory' | 'file' | 'threads' | 'limits' | 'opening'> & {
  readonly claim: Claim;
  readonly codec: Codec;
  readonly rooms: Rooms;
};

/** Bytes that who speaks may name still, all its sessions' taken off. Asked for between two waits. */
type Room = () => number;

export interface Session {
  readonly opening: Opening;
  readonly epoch: number;
  readonly status: 'open' | 'committed' | 'ended';
  readonly figures: SessionFigures;
  /** Stored bytes of what was brought, and of what is named and not here at the most. */
  readonly chargedBytes: number;
  /** An OPEN whose claim stands. */
  opened(claim: Claim, opening: Opening): Promise<AnswerFrame>;
  /** The answers to messages of a sender that holds `epoch`, in their order; a refusal is the last. */
  hear(epoch: number, run: Run, room: Room): Promise<readonly AnswerFrame[]>;
  noteWire(bytes: number): void;
  /** Another claim of the lineage stands. */
  supersede(): void;
  /** Ends what is under way and closes the file, which stays: a session that has not ended is found again by it. */
  close(): Promise<void>;
}

export async function openSession(parts: SessionParts): Promise<Session> {
  const stop = new AbortController();
  const counts = noCounts();
  const { repository, inventory, file, threads, limits } = parts;
  await inventory.look(limits.listingMs);
  await adoptPacks(parts, parts.claim);
  const receiver = reopened(parts, parts.claim.epoch);
  const shared = { repository, inventory, file, threads, limits, receiver, counts, signal: stop.signal };
  const state: SessionState = {
    ...shared,
    ...{ opening: parts.opening, edits: new Map(), missingAnswers: 0, bringAll: new Set(), doubted: new Set() },
    claimed: claimedOf(parts, shared, parts.opening, parts.claim.epoch),
  };
  const inHand = new Map<Name, Promise<void>>();
  const turns = createTurns<number | 'whole'>();

  const answerTo = (answer: Answer): AnswerFrame => {
    switch (answer.kind) {
      case 'COMMITTED':
        return { kind: 'COMMITTED', root: repository.ledger().used.get(state.opening.snapshot) ?? NO_NAME };
      case 'REFUSED':
        return { ...answer, message: `the session of ${state.opening.snapshot} refuses it` };
      case 'OPENED':
      case 'TAKEN':
      case 'KEPT':
        throw new HoldfastError('INTERNAL', `${answer.kind} is answered elsewhere`);
      default:
        return answer;
    }
  };

  const hearInquiryOf = (epoch: number, { subtree, round, underWay, pages }: InquiryFrame): Promise<AnswerFrame> =>
    turns.run(subtree, async () => {
      // What only the base has ends with the snapshot: nothing is asked of it.
      if (subtree >= subtreesOf(state.opening)) return { kind: 'MISSING', subtree, round, outstanding: 0, pages: [], names: [] };
      const message: Inquiry = { kind: 'PUSH_INQUIRY', epoch, subtree, round, underWay, pages };
      let proof = null;
      if (needsProof(receiver, message)) {
        await state.claimed.packing.flush();
        if (needsProof(receiver, message) && receiver.subtrees.get(subtree)?.waiting.size === 0)
          proof = lackingNow(state, await closeSubtree(state, subtree));
      }
      const answer = hearInquiry(receiver, message, proof, limits);
      if (answer.kind === 'MISSING') counts.asked += answer.names.length;
      return answerTo(answer);
    });

  const hearPages = async (epoch: number, frames: readonly ReferencesFrame[], room: Room): Promise<AnswerFrame[]> => {
    await inventory.look(limits.listingMs);
    const own = frames.filter(({ subtree }) => subtree < subtreesOf(state.opening));
    const isHeard = receiver.status === 'open' && receiver.epoch === epoch;
    const named = isHeard ? own.map((frame) => resolve(state, frame)) : [];
    refuseTooMuch(state, named, room());
    const changed = named.filter(({ frame, page }) => !samePage(file.page(frame.subtree, frame.page), page));
    if (changed.length > 0) file.notePages(changed.map(({ frame, page }) => ({ subtree: frame.subtree, number: frame.page, page })));
    for (const { frame } of changed) {
      state.edits.set(frame.subtree, (state.edits.get(frame.subtree) ?? 0) + 1);
      file.dropReceipt(frame.subtree);
    }
    return frames.map((frame) => {
      const { subtree, page, turn } = frame;
      const found = named.find((one) => one.frame === frame);
      if (subtree >= subtreesOf(state.opening)) return { kind: 'NOTED', subtree, page, turn };
      counts.named += found?.names ?? 0;
      counts.held += (found?.names ?? 0) - (found?.lacking.length ?? 0);
      return answerTo(hearReferences(receiver, { kind: 'REFERENCES', epoch, subtree, page, turn }, found?.lacking ?? []));
    });
  };

  const hearDataOf = async (epoch: number, frames: readonly DataFrame[]): Promise<AnswerFrame[]> => {
    const answers = await takeData(state, inHand, epoch, frames);
    counts.accepted += answers.filter((answer) => answer.kind === 'KEPT' && answer.accepted).length;
    const kept = { kind: 'KEPT' as const, turn: frames[0]?.turn ?? 0, accepted: 0, dropped: 0 };
    for (const answer of answers) {
      if (answer.kind !== 'KEPT') return [...(kept.accepted + kept.dropped > 0 ? [kept] : []), answerTo(answer)];
      if (answer.accepted) kept.accepted++;
      else kept.dropped++;
    }
    return [kept];
  };

  const hearCommitOf = (epoch: number, { root }: CommitFrame): Promise<AnswerFrame> =>
    turns.run('whole', async () => {
      const message = { kind: 'COMMIT' as const, epoch };
      const judgement = needsJudgement(receiver, message) ? await judgeCommit(state, root) : null;
      return answerTo(hearCommit(receiver, message, judgement));
    });

  const hearEndOf = (kind: 'ABORT' | 'NAME_GONE', epoch: number): Promise<AnswerFrame> =>
    turns.run('whole', async () => {
      if (receiver.status === 'open' && receiver.epoch === epoch) await abortClaim(repository, state.opening.lineage, epoch);
      return answerTo(hearEnd(receiver, kind === 'ABORT' ? { kind, epoch } : { kind, epoch, names: [] }));
    });

  const hearRun = async (epoch: number, run: Run, room: Room): Promise<readonly AnswerFrame[]> => {
    refuseUnknown(state, run);
    switch (run.kind) {
      case 'REFERENCES':
        return hearPages(epoch, run.frames, room);
      case 'DATA':
        return hearDataOf(epoch, run.frames);
      case 'ONE':
        switch (run.frame.kind) {
          case 'PUSH_INQUIRY':
            return [await hearInquiryOf(epoch, run.frame)];
          case 'COMMIT':
            return [await hearCommitOf(epoch, run.frame)];
          case 'ABORT':
          case 'NAME_GONE':
            return [await hearEndOf(run.frame.kind, epoch)];
        }
    }
  };

  return {
    get opening() {
      return state.opening;
    },
    get epoch() {
      return receiver.epoch;
    },
    get status() {
      return receiver.status === 'none' ? 'ended' : receiver.status;
    },
    get figures() {
      return { ...counts, dropped: receiver.dropped, false: receiver.refusedFalse };
    },
    get chargedBytes() {
      return counts.storedBytes + waitingOf(state) * state.opening.extentBytes;
    },
    opened: (claim, opening) =>
      turns.run('whole', async () => {
        refuseOther(state.opening, opening);
        if (claim.epoch !== receiver.epoch || claim.epoch !== state.claimed.epoch) {
          // What the older sender's packs hold is confirmed first, so that little of it is asked for again.
          await state.claimed.packing.flush();
          state.claimed.packing.end();
          state.claimed = claimedOf(parts, shared, opening, claim.epoch);
        }
        if (claim.base !== state.opening.base) {
          file.forgetPages();
          for (const { pages, waiting } of receiver.subtrees.values()) {
            pages.clear();
            waiting.clear();
          }
        }
        state.opening = opening;
        file.setOpening(opening);
        const answer = hearOpen(receiver, { kind: 'claimed', epoch: claim.epoch });
        if (answer.kind !== 'OPENED') return answer.kind === 'TAKEN' ? { ...answer, owner: claim.owner } : answerTo(answer);
        const base = baseOf(state);
        return {
          ...answer,
          countsNothing: repository.table.packBytes() === 0,
          base: base === null ? null : { snapshot: base.id, root: base.root ?? NO_NAME },
          exchangeBytes: limits.exchangeBytes,
          exchanges: limits.exchangesMax,
        };
      }),
    async hear(epoch, run, room) {
      try {
        // Somebody else of this installation has the lineage: nothing that is put here now would ever count.
        if (receiver.status === 'open' && repository.ledger().claims.get(state.opening.lineage)?.epoch !== receiver.epoch)
          supersede(receiver);
        return await hearRun(epoch, run, room);
      } catch (error) {
        if (isHoldfastError(error, 'CLAIM_LOST')) supersede(receiver);
        // What ended meanwhile has let go of its file.
        if (receiver.status !== 'open')
          return [answerTo(receiver.status === 'committed' ? { kind: 'COMMITTED' } : { kind: 'REFUSED', code: 'CLAIM_LOST' })];
        return [refusalOf(error, repository.environment)];
      }
    },
    noteWire: (bytes) => void (counts.wireBytes += bytes),
    supersede: () => supersede(receiver),
    async close() {
      stop.abort(new HoldfastError('CLAIM_LOST', 'the session has ended'));
      state.claimed.packing.end();
      await state.claimed.packing.settled();
      file[Symbol.dispose]();
    },
  };
}

/** What a sender is told of an error. What is a mistake of ours an operator hears of, too. */
export function refusalOf(error: unknown, environment: SessionState['repository']['environment']): RefusedFrame {
  if (isHoldfastError(error)) return { kind: 'REFUSED', code: error.code, message: error.message.slice(0, 255) };
  environment.alarm('a message of a session failed', { error: messageOf(error) });
  return { kind: 'REFUSED', code: 'INTERNAL', message: 'the receiver failed at this message' };
}

type Shared = Pick<SessionState, 'repository' | 'inventory' | 'file' | 'receiver' | 'counts' | 'threads' | 'signal'>;

/** The ends of one epoch: where its packs go, and what is told of them. */
function claimedOf({ codec, rooms }: SessionParts, shared: Shared, opening: Opening, epoch: number): Claimed {
  const { repository, inventory, file, receiver, counts, threads, signal } = shared;
  const { store, lineage, extentBytes } = opening;
  const options = { store, repository, lineage, epoch, codec };
  const destination = openDestination({ ...options, bringAll: false });
  const packing = new Packing({
    ...{ destination, rooms, threads, extentBytes, signal, nowMs: () => repository.environment.nowMs() },
    onConfirmed({ id }, entries, bytes) {
      file.addPack({ id, bytes, blobs: entries.length }, entries);
      inventory.note(id, bytes);
      counts.storedBytes += bytes;
      confirmed(
        receiver,
        entries.map(({ fingerprint }) => fingerprint.toString('hex')),
      );
    },
    onRefused(entries, error) {
      if (!signal.aborted) repository.environment.alarm('a pack of a session was refused', { error: messageOf(error) });
      unconfirmed(
        receiver,
        entries.map(({ fingerprint }) => fingerprint.toString('hex')),
      );
    },
  });
  return { epoch, destination, bringingAll: openDestination({ ...options, bringAll: true }), packing };
}

/** A proof takes a while: what it found lost may have been pushed meanwhile, for another subtree, and is not asked for again. */
function lackingNow(state: SessionState, proof: Proof): Proof {
  if (proof.lost.length === 0) return proof;
  const accepted = acceptedNames(state.receiver);
  const lost = proof.lost.filter(({ name }) => !accepted.has(name) && broughtAt(state, Buffer.from(name, 'hex')) === null);
  return { ...proof, lost, overtaken: lost.length < proof.lost.length };
}

interface Resolved {
  readonly frame: ReferencesFrame;
  readonly page: Page;
  readonly names: number;
  readonly lacking: readonly Reference[];
}

/** Which of a page's names are not held. The base's are not: they are what was, not what shall be. */
function resolve(state: SessionState, frame: ReferencesFrame): Resolved {
  const page: Page = { whole: frame.whole || frame.page >= BASE_PAGE, rows: frame.rows };
  const names = frame.page >= BASE_PAGE ? [] : namesOf(page, frame.page, endOf(state.opening, frame.subtree, frame.page));
  return { frame, page, names: names.length, lacking: names.filter(({ name }) => !isHeld(state, name)) };
}

const waitingOf = ({ receiver }: SessionState): number =>
  [...receiver.subtrees.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);

/** FRAME_INVALID when more would wait than a sender may keep waiting; RECEIVER_FULL when it would be more than its quota. */
function refuseTooMuch(state: SessionState, named: readonly Resolved[], roomBytes: number): void {
  const { receiver, limits, opening } = state;
  // What waits already was charged when it was named first.
  const isNew = ({ frame, name }: { readonly frame: ReferencesFrame; readonly name: Name }): boolean =>
    receiver.subtrees.get(frame.subtree)?.waiting.has(name) !== true;
  const count = named.reduce((sum, { frame, lacking }) => sum + lacking.filter(({ name }) => isNew({ frame, name })).length, 0);
  const waiting = waitingOf(state);
  if (waiting + count > limits.waitingMax)
    throw new HoldfastError('FRAME_INVALID', 'more names wait than four subtrees have; ask and push first', { waiting });
  if (count > 0 && count * opening.extentBytes > roomBytes)
    throw new HoldfastError('RECEIVER_FULL', `the quota of the token has room for ${Math.max(0, roomBytes)} bytes more`, { roomBytes });
}

/** A snapshot has one size, whoever sends it. */
function refuseOther(before: Opening, { sizeBytes, extentBytes }: Opening): void {
  if (before.sizeBytes !== sizeBytes || before.extentBytes !== extentBytes)
    throw new HoldfastError('ARGUMENT_INVALID', 'the snapshot was opened with another size', { field: 'sizeBytes' });
}

/** Subtrees and pages that the volume does not have. */
function refuseUnknown(state: SessionState, run: Run): void {
  const base = baseOf(state);
  const last = Math.max(subtreesOf(state.opening), base === null ? 0 : subtreesOf(base));
  const subtreesNamed = run.kind === 'REFERENCES' ? run.frames : run.kind === 'ONE' && run.frame.kind === 'PUSH_INQUIRY' ? [run.frame] : [];
  for (const { subtree } of subtreesNamed)
    if (subtree >= last) throw new HoldfastError('FRAME_INVALID', `the volume has no subtree ${subtree}`, { subtree });
  if (run.kind !== 'REFERENCES') return;
  for (const { page, rows } of run.frames)
    if (page >= 2 * MAP_FANOUT || rows.some(({ child }, i) => child >= MAP_FANOUT || (i > 0 && child <= (rows[i - 1]?.child ?? 0))))
      throw new HoldfastError('FRAME_INVALID', 'a page is not of the expected form', { page });
}

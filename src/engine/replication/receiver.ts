/**
 * The receiver's side of a session: a message and what was found about it in, the one answer out.
 *
 * Pure: no I/O, no clock. What only the repository can tell (is this name held? what does a proof find? does the log admit
 * the commit?) the driver finds out first and passes along; `isComplete` and `withheld` say when it has to. It follows the
 * driver's events, too: packs that were confirmed, or refused. State is changed in place, as a fold's (`cloneReceiver`).
 *
 *     OPEN ──▶ open ──COMMIT, all closed, admitted──▶ committed
 *               └──ABORT, NAME_GONE, another claim──▶ ended
 *
 * N1: no COMMIT before every subtree was closed by an empty answer. N2: no placeholder is filled by bytes that do not have
 * its name. N5: the dictionary's. N7: only the open claim's epoch is heard. docs/replication.md has the tables.
 */
import { HoldfastError } from '../../domain/errors.ts';
import {
  beginAnew,
  cloneDictionary,
  emptyDictionary,
  giveUp,
  isComplete,
  listMissing,
  takeProof,
  want,
  type Dictionary,
  type Proof,
} from './dictionary.ts';
import type {
  Abort,
  Committed,
  Commit,
  Data,
  Ended,
  Inquiry,
  Kept,
  Missing,
  Name,
  NameGone,
  Noted,
  Open,
  Opened,
  Reference,
  References,
  Refused,
  Taken,
  Withheld,
} from './messages.ts';

export interface Receiver {
  /** Number of its claim; 0 before the first. */
  epoch: number;
  status: 'none' | 'open' | 'committed' | 'ended';
  /** Every subtree of the volume, from the start. */
  readonly subtrees: Map<number, Dictionary>;
  /** What came and nobody waited for: duplicates, late data, names that were never given. */
  dropped: number;
  refusedFalse: number;
}

export interface ReceiverLimits {
  /** Names of one answer. */
  readonly namesMax: number;
}

export function newReceiver(subtrees: Iterable<number>): Receiver {
  const dictionaries = new Map([...subtrees].map((subtree) => [subtree, emptyDictionary()]));
  return { epoch: 0, status: 'none', subtrees: dictionaries, dropped: 0, refusedFalse: 0 };
}

export const cloneReceiver = (receiver: Receiver): Receiver => ({
  ...receiver,
  subtrees: new Map([...receiver.subtrees].map(([subtree, dictionary]) => [subtree, cloneDictionary(dictionary)])),
});

/** What is durable of a session: the open claim, from the log, and the pages that were noted, from the session's file. */
export interface DurableSession {
  readonly epoch: number;
  readonly status: Receiver['status'];
  readonly pages: ReadonlyMap<number, readonly { readonly page: number; readonly references: readonly Reference[] }[]>;
}

/** After a restart: each name of the pages is looked up anew, and nothing counts as asked for. */
export function reopenReceiver(durable: DurableSession, isHeld: (name: Name) => boolean): Receiver {
  const receiver = newReceiver(durable.pages.keys());
  receiver.epoch = durable.epoch;
  receiver.status = durable.status;
  for (const [subtree, pages] of durable.pages) {
    const dictionary = dictionaryOf(receiver, subtree);
    for (const { page, references } of pages) {
      dictionary.pages.add(page);
      for (const reference of references) if (!isHeld(reference.name)) want(dictionary, reference, false);
    }
  }
  return receiver;
}

function dictionaryOf(receiver: Receiver, subtree: number): Dictionary {
  const there = receiver.subtrees.get(subtree);
  if (there !== undefined) return there;
  // Whoever reads messages from a peer refuses a subtree that the volume does not have.
  throw new HoldfastError('INTERNAL', 'a session has no such subtree', { subtree });
}

const isHeard = (receiver: Receiver, message: { readonly epoch: number }): boolean =>
  receiver.status === 'open' && message.epoch === receiver.epoch;

const refused = (code: Refused['code']): Refused => ({ kind: 'REFUSED', code });

/** To a message that is not heard: the snapshot is there, whoever asks; or somebody else has the claim. */
const unheard = (receiver: Receiver): Committed | Refused =>
  receiver.status === 'committed' ? { kind: 'COMMITTED' } : refused('CLAIM_LOST');

// -- opening --------------------------------------------------------------------------------------------------------

/** The open claim of the lineage, as the log has it. */
export interface OpenClaim {
  readonly epoch: number;
  readonly owner: string;
  readonly attempt: number;
}

/**
 * What an OPEN comes to on this claim: a new claim, the same one again, or no claim. It is asked on the state that the CLAIM
 * is judged on (R3), so a copy of an old OPEN can never undo a claim that its sender had not seen.
 */
export function judgeOpen(claim: OpenClaim | null, open: Open): 'claim' | 'again' | 'older' | 'taken' {
  if (claim === null) return 'claim';
  if (claim.owner !== open.owner) return open.seen >= claim.epoch ? 'claim' : 'taken';
  if (claim.attempt === open.attempt) return 'again';
  return open.attempt > claim.attempt ? 'claim' : 'older';
}

/** What became of the claim. `taken`: another's stands; `lost`: a later attempt of the same owner does. */
export type ClaimResult =
  | { readonly kind: 'claimed'; readonly epoch: number }
  | { readonly kind: 'taken'; readonly epoch: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'committed' };

export function hearOpen(receiver: Receiver, result: ClaimResult): Opened | Taken | Refused | Committed {
  switch (result.kind) {
    case 'committed':
      receiver.status = 'committed';
      return { kind: 'COMMITTED' };
    case 'taken':
      return { kind: 'TAKEN', epoch: result.epoch };
    case 'lost':
      return refused('CLAIM_LOST');
    case 'claimed': {
      const { epoch } = result;
      if (epoch !== receiver.epoch) {
        receiver.epoch = epoch;
        receiver.status = 'open';
        for (const dictionary of receiver.subtrees.values()) beginAnew(dictionary);
      }
      return { kind: 'OPENED', epoch, fresh: [...receiver.subtrees.values()].every(({ pages }) => pages.size === 0) };
    }
  }
}

/** Another claim of the lineage stands in the log: this session is over, whatever its sender still says. */
export function supersede(receiver: Receiver): void {
  if (receiver.status === 'open') receiver.status = 'ended';
}

// -- names and data -------------------------------------------------------------------------------------------------

/** `lacking`: the page's references that are not held; the page is durable before this is answered. */
export function hearReferences(receiver: Receiver, message: References, lacking: readonly Reference[]): Noted | Committed | Refused {
  if (!isHeard(receiver, message)) return unheard(receiver);
  const { subtree, page, turn } = message;
  const dictionary = dictionaryOf(receiver, subtree);
  dictionary.pages.add(page);
  const busy = [...receiver.subtrees.values()].filter(({ waiting }) => waiting.size > 0);
  for (const reference of lacking) {
    const isAccepted = busy.some(({ waiting }) => waiting.get(reference.name)?.accepted === true);
    want(dictionary, reference, isAccepted);
  }
  return { kind: 'NOTED', subtree, page, turn };
}

/** `isTrue`: the bytes have that name. Accepted, they go into a pack; the driver says later what became of it. */
export function hearData(receiver: Receiver, message: Data, isTrue: boolean): Kept | Committed | Refused {
  if (!isHeard(receiver, message)) return unheard(receiver);
  if (!isTrue) {
    receiver.refusedFalse++;
    return refused('NAME_FALSE');
  }
  let accepted = false;
  for (const { waiting } of receiver.subtrees.values()) {
    const entry = waiting.get(message.name);
    if (entry === undefined || entry.accepted) continue;
    entry.accepted = true;
    accepted = true;
  }
  if (!accepted) receiver.dropped++;
  return { kind: 'KEPT', name: message.name, accepted, turn: message.turn };
}

/** A pack was confirmed: its values are held, wherever they were waited for. */
export function confirmed(receiver: Receiver, names: Iterable<Name>): void {
  for (const name of names) for (const { waiting } of receiver.subtrees.values()) if (waiting.get(name)?.accepted) waiting.delete(name);
}

/** A pack was refused: its values are absent again. */
export function unconfirmed(receiver: Receiver, names: Iterable<Name>): void {
  for (const name of names)
    for (const { waiting } of receiver.subtrees.values()) {
      const entry = waiting.get(name);
      if (entry?.accepted) giveUp(entry);
    }
}

/** Values in packs that no store has confirmed. */
export function acceptedNames(receiver: Receiver): Set<Name> {
  const names = new Set<Name>();
  for (const { waiting } of receiver.subtrees.values()) for (const [name, { accepted }] of waiting) if (accepted) names.add(name);
  return names;
}

// -- inquiries and the end ------------------------------------------------------------------------------------------

/** Whether the driver has to confirm what is accepted and to prove the subtree before the inquiry is heard. */
export const needsProof = (receiver: Receiver, message: Inquiry): boolean =>
  isHeard(receiver, message) &&
  message.round >= dictionaryOf(receiver, message.subtree).round &&
  isComplete(dictionaryOf(receiver, message.subtree), message);

/** `proof`: what the proof of the subtree found, if one was needed. */
export function hearInquiry(
  receiver: Receiver,
  message: Inquiry,
  proof: Proof | null,
  { namesMax }: ReceiverLimits,
): Missing | Committed | Refused {
  if (!isHeard(receiver, message)) return unheard(receiver);
  const dictionary = dictionaryOf(receiver, message.subtree);
  if (message.round < dictionary.round) return refused('ROUND_OVER');
  if (proof !== null) takeProof(dictionary, message, proof);
  return listMissing(dictionary, message, proof, namesMax);
}

/** Subtrees that keep a COMMIT from being judged. */
export const withheld = (receiver: Receiver): number[] =>
  [...receiver.subtrees].filter(([, { closed }]) => !closed).map(([subtree]) => subtree);

/** What the repository says of the commit; `dead`: values relied on that were reclaimed meanwhile, by subtree. */
export type CommitJudgement =
  | { readonly kind: 'committed' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'differs' }
  | { readonly kind: 'missing'; readonly dead: ReadonlyMap<number, readonly Reference[]> };

/** Whether the driver has to put the commit to the repository before the message is heard. */
export const needsJudgement = (receiver: Receiver, message: Commit): boolean =>
  isHeard(receiver, message) && withheld(receiver).length === 0;

export function hearCommit(receiver: Receiver, message: Commit, judgement: CommitJudgement | null): Committed | Withheld | Refused {
  if (!isHeard(receiver, message)) return unheard(receiver);
  switch (judgement?.kind) {
    case undefined:
      return { kind: 'WITHHELD', subtrees: withheld(receiver) };
    case 'committed':
      receiver.status = 'committed';
      return { kind: 'COMMITTED' };
    case 'lost':
      receiver.status = 'ended';
      return refused('CLAIM_LOST');
    case 'differs':
      return refused('ROOT_DIFFERS');
    case 'missing':
      for (const [subtree, references] of judgement.dead)
        for (const reference of references) want(dictionaryOf(receiver, subtree), reference, false);
      return { kind: 'WITHHELD', subtrees: withheld(receiver) };
  }
}

/** Pages that a subtree needs again although it was closed: found lost when the commit was prepared. */
export function reopenSubtree(receiver: Receiver, subtree: number, pages: readonly number[]): void {
  const dictionary = receiver.subtrees.get(subtree);
  if (dictionary === undefined) return;
  for (const page of pages) dictionary.pages.delete(page);
  dictionary.closed = false;
}

/** The claim is closed before this is answered, if it is the one that is meant. */
export function hearEnd(receiver: Receiver, message: NameGone | Abort): Ended | Committed {
  if (receiver.status === 'committed') return { kind: 'COMMITTED' };
  if (isHeard(receiver, message)) receiver.status = 'ended';
  return { kind: 'ENDED' };
}

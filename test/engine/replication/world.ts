/**
 * The world around the two reducers: a repository that holds values or has lost them, its log, a bag of messages on their way.
 *
 * A step changes the world that it is given and throws a Violation when a promise of docs/replication.md is broken. What the
 * world remembers beside the reducers (which values are held, by which bytes; which names were listed and not given up) is
 * written without a look at their state, so that they cannot agree with themselves.
 */
import type { Answer, Data, Message, Name, Reference } from '../../../src/engine/replication/messages.ts';
import {
  acceptedNames,
  cloneReceiver,
  confirmed,
  hearCommit,
  hearData,
  hearEnd,
  hearInquiry,
  hearOpen,
  hearReferences,
  judgeOpen,
  needsJudgement,
  needsProof,
  newReceiver,
  reopenReceiver,
  supersede,
  unconfirmed,
  type ClaimResult,
  type CommitJudgement,
  type OpenClaim,
  type Receiver,
} from '../../../src/engine/replication/receiver.ts';
import { cloneSender, hear, newSender, sendAhead, unreadable, type Sender } from '../../../src/engine/replication/sender.ts';
import type { Reach, Scenario, SnapshotPlan, SubtreePlan } from './scenarios.ts';

export class Violation extends Error {}

/** `counted`: by the table. `brought`: in a pack of the open claim. `lost`: its bytes went. `dead`: reclaimed. `false`: other bytes. */
type Value = 'counted' | 'brought' | 'lost' | 'dead' | 'false';

export interface Late {
  readonly from: number;
  /** Of the sender: an answer to one that was killed reaches nobody. */
  readonly attempt: number;
  /** What is said, or the answer to it, on its way. */
  readonly content: { readonly kind: 'message' } | { readonly kind: 'answer'; readonly answer: Answer };
  readonly message: Message;
}

export interface World {
  /** Null: not begun. */
  readonly senders: (Sender | null)[];
  readonly receivers: Receiver[];
  claim: (OpenClaim & { readonly snapshot: number }) | null;
  records: number;
  readonly committed: boolean[];
  readonly values: Map<Name, Value>;
  /** Accepted under a false name. */
  readonly falseAccepted: Set<Name>;
  /** By snapshot: names that were lost after their subtree was proven. */
  readonly lostLate: Set<Name>[];
  /** By snapshot, for a subtree and a name: the round that listed it, as long as nothing has become of it. */
  readonly told: Map<string, number>[];
  readonly gone: Set<Name>;
  late: Late[];
  faults: number;
  /** No fault so far, and nothing lost or said again: whatever is said is heard and answered once, in whatever order. */
  isCalm: boolean;
}

export const firstWorld = (scenario: Scenario, { faults }: Reach): World => ({
  senders: scenario.senders.map((_, i) => (i === 0 ? beginSender(scenario, i, 1) : null)),
  receivers: scenario.snapshots.map((snapshot) => newReceiver(snapshot.keys())),
  claim: null,
  records: 0,
  committed: scenario.snapshots.map(() => false),
  values: new Map(scenario.counted.map((name) => [name, 'counted'])),
  falseAccepted: new Set(),
  lostLate: scenario.snapshots.map(() => new Set()),
  told: scenario.snapshots.map(() => new Map()),
  gone: new Set(),
  late: [],
  faults,
  isCalm: true,
});

export const cloneWorld = (world: World): World => ({
  ...world,
  senders: world.senders.map((sender) => sender && cloneSender(sender)),
  receivers: world.receivers.map(cloneReceiver),
  committed: [...world.committed],
  values: new Map(world.values),
  falseAccepted: new Set(world.falseAccepted),
  lostLate: world.lostLate.map((names) => new Set(names)),
  told: world.told.map((names) => new Map(names)),
  gone: new Set(world.gone),
  late: [...world.late],
});

export function beginSender(scenario: Scenario, i: number, attempt: number): Sender {
  const snapshot = snapshotOf(scenario, i);
  const pages = new Map([...snapshot].map(([subtree, own]) => [subtree, [...own.pages.keys()]]));
  return newSender({ owner: `sender ${i}`, attempt, takesOver: i > 0, pages });
}

export const at = <T>(list: readonly T[], i: number): T => {
  const item = list[i];
  if (item === undefined) throw new Error(`no ${i}`);
  return item;
};

export const snapshotOf = (scenario: Scenario, sender: number): SnapshotPlan => at(scenario.snapshots, at(scenario.senders, sender));
const subtreeOf = (snapshot: SnapshotPlan, subtree: number): SubtreePlan => snapshot.get(subtree) ?? { pages: new Map(), kept: [] };
export const namesOf = ({ pages, kept }: SubtreePlan): Reference[] => [...[...pages.values()].flat(), ...kept];

export const isHeld = (world: World, name: Name): boolean => {
  const value = world.values.get(name);
  return value === 'counted' || value === 'brought' || value === 'false';
};

// -- what the receiver's driver does --------------------------------------------------------------------------------

/** All open packs are confirmed. */
export function confirmPacks(world: World, i: number): void {
  const receiver = at(world.receivers, i);
  const names = acceptedNames(receiver);
  for (const name of names) world.values.set(name, world.falseAccepted.has(name) ? 'false' : 'brought');
  dropPacks(world, i, names);
  confirmed(receiver, names);
}

export function refusePacks(world: World, i: number): void {
  const receiver = at(world.receivers, i);
  const names = acceptedNames(receiver);
  unconfirmed(receiver, names);
  dropPacks(world, i, names);
}

/** Nothing of these is in a pack that is open. */
function dropPacks(world: World, i: number, names: Iterable<Name>): void {
  for (const name of names) {
    world.falseAccepted.delete(name);
    untell(world, i, name);
  }
}

/** It has come, or nobody waits for it: it is not on its way any more. */
function untell(world: World, i: number, name: Name): void {
  for (const key of [...at(world.told, i).keys()]) if (key.endsWith(` ${name}`)) world.told[i]?.delete(key);
}

export function restartReceiver(scenario: Scenario, world: World, i: number): void {
  const receiver = at(world.receivers, i);
  const snapshot = at(scenario.snapshots, i);
  const pages = new Map(
    [...receiver.subtrees].map(([subtree, dictionary]) => [
      subtree,
      [...dictionary.pages].map((page) => ({ page, references: subtreeOf(snapshot, subtree).pages.get(page) ?? [] })),
    ]),
  );
  dropPacks(world, i, acceptedNames(receiver));
  world.told[i]?.clear();
  world.receivers[i] = reopenReceiver({ epoch: receiver.epoch, status: receiver.status, pages }, (name) => isHeld(world, name));
}

function claimFor(scenario: Scenario, world: World, from: number, message: Extract<Message, { kind: 'OPEN' }>): ClaimResult {
  const i = at(scenario.senders, from);
  if (world.committed[i]) return { kind: 'committed' };
  switch (judgeOpen(world.claim, message)) {
    case 'taken':
      return { kind: 'taken', epoch: world.claim?.epoch ?? 0 };
    case 'older':
      return { kind: 'lost' };
    case 'again':
      return { kind: 'claimed', epoch: world.claim?.epoch ?? 0 };
    case 'claim': {
      const { owner, attempt } = message;
      if (world.claim !== null && world.claim.owner !== owner && message.seen < world.claim.epoch)
        throw new Violation('an OPEN has taken over from a sender that it had not seen');
      if (world.claim !== null && world.claim.snapshot !== i) supersede(at(world.receivers, world.claim.snapshot));
      if (at(world.receivers, i).status === 'ended') world.receivers[i] = newReceiver(at(scenario.snapshots, i).keys());
      // Packs that were open went with the session that they belonged to.
      for (const [s, receiver] of world.receivers.entries()) dropPacks(world, s, acceptedNames(receiver));
      world.told[i]?.clear();
      world.claim = { epoch: ++world.records, owner, attempt, snapshot: i };
      return { kind: 'claimed', epoch: world.claim.epoch };
    }
  }
}

/** A message reaches the receiver; its one answer. */
export function deliver(scenario: Scenario, world: World, from: number, message: Message, isTrue = true): Answer {
  const i = at(scenario.senders, from);
  const receiver = at(world.receivers, i);
  switch (message.kind) {
    case 'OPEN': {
      const result = claimFor(scenario, world, from, message);
      return hearOpen(at(world.receivers, i), result);
    }
    case 'REFERENCES': {
      const references = subtreeOf(at(scenario.snapshots, i), message.subtree).pages.get(message.page) ?? [];
      return hearReferences(
        receiver,
        message,
        references.filter(({ name }) => !isHeld(world, name)),
      );
    }
    case 'DATA':
      return deliverData(world, i, message, isTrue);
    case 'PUSH_INQUIRY':
      return deliverInquiry(scenario, world, i, message);
    case 'COMMIT':
      return deliverCommit(scenario, world, i, message);
    case 'NAME_GONE':
    case 'ABORT': {
      const isIts = receiver.status === 'open' && receiver.epoch === message.epoch && world.claim?.epoch === message.epoch;
      const answer = hearEnd(receiver, message);
      if (!isIts) return answer;
      world.claim = null;
      // Of a claim that is closed and not committed the sweep takes everything.
      for (const [name, value] of [...world.values]) if (value === 'brought') world.values.delete(name);
      dropPacks(world, i, acceptedNames(receiver));
      return answer;
    }
  }
}

function deliverData(world: World, i: number, message: Data, isTrue: boolean): Answer {
  const receiver = at(world.receivers, i);
  const isWaitedFor = [...receiver.subtrees.values()].some(({ waiting }) => waiting.get(message.name)?.accepted === false);
  const droppedBefore = receiver.dropped;
  const answer = hearData(receiver, message, isTrue);
  if (answer.kind !== 'KEPT') return answer;
  if (message.epoch !== world.claim?.epoch) throw new Violation('data of an older epoch was heard');
  if (answer.accepted !== isWaitedFor)
    throw new Violation(`${message.name} was kept though nothing waited for it, or dropped though something did`);
  if (receiver.dropped !== droppedBefore + (answer.accepted ? 0 : 1)) throw new Violation('a duplicate was not counted');
  if (!answer.accepted && world.isCalm) throw new Violation(`${message.name} was pushed twice, and nothing had disturbed it`);
  if (!answer.accepted) return answer;
  untell(world, i, message.name);
  if (!isTrue) world.falseAccepted.add(message.name);
  return answer;
}

function deliverInquiry(scenario: Scenario, world: World, i: number, message: Extract<Message, { kind: 'PUSH_INQUIRY' }>): Answer {
  const receiver = at(world.receivers, i);
  const plan = subtreeOf(at(scenario.snapshots, i), message.subtree);
  const needs = needsProof(receiver, message);
  if (needs) confirmPacks(world, i);
  const proof = needs ? { lost: namesOf(plan).filter(({ name }) => !isHeld(world, name)), pages: [] } : null;
  const before = receiver.subtrees.get(message.subtree)?.round ?? 0;
  const answer = hearInquiry(receiver, message, proof, scenario);
  if (answer.kind !== 'MISSING') return answer;
  if (message.round < before) throw new Violation('an older round was answered');
  if (answer.names.length > scenario.namesMax) throw new Violation('an answer lists more than its cap');
  checkList(world, i, message, answer, before);
  if (answer.outstanding > 0) return answer;
  for (const { name } of namesOf(plan)) {
    const value = world.values.get(name);
    if (value !== 'counted' && value !== 'brought')
      throw new Violation(`subtree ${message.subtree} was closed, and ${name} is ${value ?? 'not there'}`);
    world.lostLate[i]?.delete(name);
  }
  for (const page of plan.pages.keys())
    if (receiver.subtrees.get(message.subtree)?.pages.has(page) !== true)
      throw new Violation(`a subtree was closed without its page ${page}`);
  return answer;
}

/**
 * N5: what was listed and is on its way is in no other list, unless the inquiry says that nothing is. The same round lists
 * the same names, less those that came: its answer may have been lost.
 */
function checkList(
  world: World,
  i: number,
  { subtree, round, underWay }: Extract<Message, { kind: 'PUSH_INQUIRY' }>,
  answer: Extract<Answer, { kind: 'MISSING' }>,
  before: number,
): void {
  const told = at(world.told, i);
  const isNew = round > before;
  if (isNew && !underWay) for (const key of [...told.keys()]) if (key.startsWith(`${subtree} `)) told.delete(key);
  const accepted = acceptedNames(at(world.receivers, i));
  const listed = new Set<string>();
  for (const { name } of answer.names) {
    const key = `${subtree} ${name}`;
    if (listed.has(key)) throw new Violation(`${name} is listed twice`);
    if (isHeld(world, name) || accepted.has(name)) throw new Violation(`${name} is listed, and it is here`);
    if (isNew && told.has(key)) throw new Violation(`${name} is listed again while it is on its way`);
    listed.add(key);
    told.set(key, round);
  }
  for (const [key, when] of told)
    if (when === round && key.startsWith(`${subtree} `) && !listed.has(key))
      throw new Violation(`a round was said again and lists ${key} no more`);
}

function deliverCommit(scenario: Scenario, world: World, i: number, message: Extract<Message, { kind: 'COMMIT' }>): Answer {
  const receiver = at(world.receivers, i);
  const judgement = needsJudgement(receiver, message) ? judgeCommit(scenario, world, i, message.epoch) : null;
  const answer = hearCommit(receiver, message, judgement);
  if (answer.kind === 'COMMITTED' && !world.committed[i]) throw new Violation('a snapshot was said to be committed and is not');
  return answer;
}

function judgeCommit(scenario: Scenario, world: World, i: number, epoch: number): CommitJudgement {
  if (world.claim?.epoch !== epoch || world.claim.snapshot !== i) return { kind: 'lost' };
  const dead = new Map<number, Reference[]>();
  for (const [subtree, plan] of at(scenario.snapshots, i)) {
    for (const reference of namesOf(plan)) {
      const value = world.values.get(reference.name);
      if (value === 'dead') dead.set(subtree, [...(dead.get(subtree) ?? []), reference]);
      const isThere = value === 'counted' || value === 'brought' || value === 'dead';
      if (!isThere && world.lostLate[i]?.has(reference.name) !== true)
        throw new Violation(`a snapshot becomes visible, and ${reference.name} is ${value ?? 'not there'}`);
    }
    for (const page of plan.pages.keys())
      if (at(world.receivers, i).subtrees.get(subtree)?.pages.has(page) !== true) return { kind: 'differs' };
  }
  if (dead.size > 0) return { kind: 'missing', dead };
  world.committed[i] = true;
  for (const plan of at(scenario.snapshots, i).values())
    for (const { name } of namesOf(plan)) if (world.values.get(name) === 'brought') world.values.set(name, 'counted');
  world.claim = null;
  world.records++;
  return { kind: 'committed' };
}

// -- what the sender's driver does ----------------------------------------------------------------------------------

/** An answer reaches its sender; what it makes of it has to be true. */
export function hearAnswer(scenario: Scenario, world: World, i: number, answer: Answer): void {
  const sender = world.senders[i];
  if (!sender || sender.end !== null) return;
  const wasOpen = sender.epoch !== 0;
  hear(sender, answer);
  if (scenario.ahead && !wasOpen && sender.epoch !== 0)
    for (const [subtree, plan] of snapshotOf(scenario, i))
      for (const [page, references] of plan.pages)
        sendAhead(
          sender,
          subtree,
          page,
          references.map(({ name }) => name),
        );
  checkEnd(scenario, world, i, sender);
}

function checkEnd(scenario: Scenario, world: World, i: number, { end, epoch }: Sender): void {
  if (end === null) return;
  const isCommitted = world.committed[at(scenario.senders, i)] === true;
  if (end.kind === 'committed') {
    if (!isCommitted) throw new Violation('a sender believes that its snapshot is committed');
    return;
  }
  if (end.code === 'ROOT_DIFFERS') throw new Violation('the root differs');
  if (end.code === 'NAME_GONE' && !end.names.some((name) => world.gone.has(name)))
    throw new Violation('a name is said to be gone and is not');
  if (end.code === 'CLAIM_LOST' && epoch !== 0 && world.claim?.epoch === epoch) throw new Violation('a sender gave up a claim that it has');
}

/** What a sender says, unless it cannot read it: then it takes note of that, and nothing is said. */
export function readFor(world: World, i: number, message: Message): boolean {
  const sender = world.senders[i];
  if (message.kind !== 'DATA' || !sender || !world.gone.has(message.name)) return true;
  unreadable(sender, [message.name]);
  return false;
}

// -- keys -----------------------------------------------------------------------------------------------------------

/** Equal for worlds that can go on alike. Counters are left out. Built by hand: most of a run is spent here. */
export function keyOf(world: World): string {
  const parts = [
    world.records,
    world.faults,
    world.isCalm ? 1 : 0,
    world.committed.join(),
    listed(world.gone),
    listed(world.falseAccepted),
    entries(world.values),
  ];
  if (world.claim !== null) parts.push(world.claim.epoch, world.claim.owner, world.claim.attempt, world.claim.snapshot);
  for (const sender of world.senders) parts.push('S', sender === null ? '' : keyOfSender(sender));
  for (const [i, { epoch, status, subtrees }] of world.receivers.entries()) {
    parts.push('R', epoch, status, listed(at(world.lostLate, i)), entries(at(world.told, i)));
    for (const [subtree, { pages, waiting, round, closed }] of subtrees) {
      const waits = [...waiting].map(([name, entry]) => `${name}${entry.asked ?? ''}${entry.accepted ? '!' : ''}`);
      parts.push('D', subtree, listed(pages), waits.sort().join(), round, closed ? 1 : 0);
    }
  }
  const late = world.late.map(({ from, attempt, ...what }) => `${from} ${attempt} ${JSON.stringify(what)}`);
  return `${parts.join('/')}|${late.sort().join()}`;
}

function keyOfSender({ attempt, seen, epoch, turn, subtrees, giving, end }: Sender): string {
  const parts = [attempt, seen, epoch, turn, JSON.stringify(giving), JSON.stringify(end)];
  for (const own of subtrees.values()) {
    const push = [...own.push].map(([name, asked]) => `${name}${asked.turn}`).sort();
    const asks = own.inquiry === null ? '' : `${own.inquiry.underWay} ${listed(own.inquiry.kept)}`;
    const flags = [asks, own.round, own.stalled, own.closed];
    parts.push(
      'D',
      listed(own.pages),
      entries(own.give),
      entries(own.ahead),
      push.join(),
      listed(own.listed),
      listed(own.awaits),
      ...flags.map(String),
    );
  }
  return parts.join('/');
}

const listed = (set: ReadonlySet<string | number>): string => (set.size < 2 ? [...set] : [...set].sort(ascending)).join();
const entries = (map: ReadonlyMap<string | number, string | number>): string =>
  [...map]
    .map(([key, value]) => `${key}:${value}`)
    .sort(ascending)
    .join();
const ascending = (a: string | number, b: string | number): number => (a < b ? -1 : 1);

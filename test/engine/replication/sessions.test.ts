/**
 * Sessions as a reader of docs/replication.md would try them: both reducers, a channel that does as it is told.
 */
import { expect, test } from '@jest/globals';
import { BASE_PAGE, type Answer, type Message, type Name, type Reference } from '../../../src/engine/replication/messages.ts';
import {
  acceptedNames,
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
  type Receiver,
} from '../../../src/engine/replication/receiver.ts';
import { hear, newSender, says, sendAhead, unreadable, type Sender } from '../../../src/engine/replication/sender.ts';

type Pages = ReadonlyMap<number, readonly Reference[]>;

const pagesOf = (...pages: readonly (readonly Name[])[]): Pages =>
  new Map(pages.map((names, page) => [page, names.map((name, i) => ({ at: page * 256 + i, name }))]));

/** One subtree between one sender and one receiver. */
class Session {
  readonly pages: Pages;
  readonly held: Set<Name>;
  readonly namesMax: number;
  readonly said: Message[] = [];
  sender: Sender;
  receiver: Receiver = newReceiver([0]);
  epoch = 0;

  constructor(pages: Pages, held: readonly Name[], namesMax = 100) {
    this.pages = pages;
    this.held = new Set(held);
    this.namesMax = namesMax;
    this.sender = this.begin(1);
  }

  begin(attempt: number): Sender {
    return newSender({ owner: 'run', attempt, takesOver: false, pages: new Map([[0, [...this.pages.keys()]]]) });
  }

  deliver(message: Message): Answer {
    this.said.push(message);
    switch (message.kind) {
      case 'OPEN':
        return hearOpen(this.receiver, { kind: 'claimed', epoch: message.attempt });
      case 'REFERENCES': {
        const lacking = (this.pages.get(message.page) ?? []).filter(({ name }) => !this.held.has(name));
        return hearReferences(this.receiver, message, lacking);
      }
      case 'DATA':
        return hearData(this.receiver, message, true);
      case 'PUSH_INQUIRY': {
        const needs = needsProof(this.receiver, message);
        if (needs) this.confirm();
        const lost = [...this.pages.values()].flat().filter(({ name }) => !this.held.has(name));
        return hearInquiry(this.receiver, message, needs ? { lost, pages: [] } : null, this);
      }
      case 'COMMIT':
        return hearCommit(this.receiver, message, needsJudgement(this.receiver, message) ? { kind: 'committed' } : null);
      case 'NAME_GONE':
      case 'ABORT':
        return hearEnd(this.receiver, message);
    }
  }

  confirm(): void {
    const names = acceptedNames(this.receiver);
    for (const name of names) this.held.add(name);
    confirmed(this.receiver, names);
  }

  /** Exchanges the first message that is due; false: nothing is. */
  step(): boolean {
    const [message] = says(this.sender);
    if (message === undefined) return false;
    hear(this.sender, this.deliver(message));
    return true;
  }

  /** Until something of a kind is due. */
  until(kind: Message['kind']): Message {
    for (;;) {
      const due = [...says(this.sender)].find((message) => message.kind === kind);
      if (due !== undefined) return due;
      if (!this.step()) throw new Error(`no ${kind}`);
    }
  }

  run(): void {
    while (this.step()) if (this.said.length > 1000) throw new Error('it does not end');
  }

  count(kind: Message['kind']): number {
    return this.said.filter((message) => message.kind === kind).length;
  }

  /** As a list of names, in the order in which they were pushed. */
  pushed(): Name[] {
    return this.said.flatMap((message) => (message.kind === 'DATA' && message.asked ? [message.name] : []));
  }
}

test('what the receiver holds is named and not sent; what it lacks is pushed once, in map order', () => {
  const session = new Session(pagesOf(['a', 'b', 'a'], ['c', 'a', 'd']), ['c']);
  session.run();
  expect(session.sender.end).toEqual({ kind: 'committed' });
  expect(session.pushed()).toEqual(['a', 'b', 'd']);
  expect([...session.held].sort()).toEqual(['a', 'b', 'c', 'd']);
});

test('where nothing changed a session is an opening, an inquiry and a commit', () => {
  const session = new Session(pagesOf(), ['a']);
  session.run();
  expect(session.said.map(({ kind }) => kind)).toEqual(['OPEN', 'PUSH_INQUIRY', 'COMMIT']);
  expect(session.sender.end).toEqual({ kind: 'committed' });
});

test('a response that is lost is given again with the same names', () => {
  const session = new Session(pagesOf(['a', 'b', 'c']), [], 2);
  const inquiry = session.until('PUSH_INQUIRY');
  const first = session.deliver(inquiry);
  expect(first).toMatchObject({ outstanding: 3, names: [{ name: 'a' }, { name: 'b' }] });
  expect(session.deliver(inquiry)).toEqual(first);
  session.run();
  expect(session.pushed()).toEqual(['a', 'b', 'c']);
});

test('a capped list is followed by the next one while its names are on their way, and names no name of it', () => {
  const session = new Session(pagesOf(['a', 'b', 'c', 'd']), [], 1);
  hear(session.sender, session.deliver(session.until('PUSH_INQUIRY')));
  const ahead = [...says(session.sender)].find(({ kind }) => kind === 'PUSH_INQUIRY');
  expect(ahead).toMatchObject({ round: 2, underWay: true });
  expect(ahead && session.deliver(ahead)).toMatchObject({ names: [{ name: 'b' }], outstanding: 4 });
  session.run();
  expect(session.pushed().toSorted()).toEqual(['a', 'b', 'c', 'd']);
});

test('data that nothing waits for is dropped and counted', () => {
  const session = new Session(pagesOf(['a']), []);
  const push = session.until('DATA');
  expect(session.deliver(push)).toEqual({ kind: 'KEPT', name: 'a', accepted: true, turn: 1 });
  expect(session.deliver(push)).toEqual({ kind: 'KEPT', name: 'a', accepted: false, turn: 1 });
  expect(session.deliver({ kind: 'DATA', epoch: 1, asked: false, name: 'never named', turn: 0 })).toMatchObject({ accepted: false });
  expect(session.receiver.dropped).toBe(2);
});

test('into a repository that counts nothing data goes behind its page, without a question', () => {
  const session = new Session(pagesOf(['a', 'b']), []);
  session.step();
  sendAhead(session.sender, 0, 0, ['a', 'b']);
  expect([...says(session.sender)].map(({ kind }) => kind)).toEqual(['REFERENCES']);
  session.run();
  expect(session.said.map(({ kind }) => kind)).toEqual(['OPEN', 'REFERENCES', 'DATA', 'DATA', 'PUSH_INQUIRY', 'COMMIT']);
  expect(session.pushed()).toEqual([]);
});

test('what is lost after the names were answered is found by the proof and pushed, and nothing else is', () => {
  const session = new Session(pagesOf(['a', 'b', 'c', 'd']), ['a', 'b', 'c']);
  hear(session.sender, session.deliver(session.until('PUSH_INQUIRY')));
  for (const name of ['a', 'c']) session.held.delete(name);
  session.run();
  expect(session.pushed()).toEqual(['d', 'a', 'c']);
  expect(session.sender.end).toEqual({ kind: 'committed' });
});

test('a receiver that is killed forgets what it had accepted and what it had asked for, and asks again', () => {
  const session = new Session(pagesOf(['a', 'b']), []);
  session.until('DATA');
  session.step();
  session.receiver = reopenReceiver(
    { epoch: 1, status: 'open', pages: new Map([[0, [...session.pages].map(([page, references]) => ({ page, references }))]]) },
    (name) => session.held.has(name),
  );
  session.run();
  expect(session.pushed()).toEqual(['a', 'b', 'a']);
  expect(session.count('REFERENCES')).toBe(1);
});

test('a sender that is started again inquires first, and gives no page twice', () => {
  const session = new Session(pagesOf(['a'], ['b']), []);
  session.until('DATA');
  session.sender = session.begin(2);
  session.run();
  expect(session.count('REFERENCES')).toBe(2);
  expect(session.sender.end).toEqual({ kind: 'committed' });
});

test('a name that can be read no more ends the session and says so; one that nobody asks for does not', () => {
  const session = new Session(pagesOf(['a', 'b']), ['b']);
  session.until('DATA');
  unreadable(session.sender, ['b']);
  expect([...says(session.sender)].map(({ kind }) => kind)).toEqual(['DATA']);
  unreadable(session.sender, ['a']);
  session.run();
  expect(session.sender.end).toEqual({ kind: 'failed', code: 'NAME_GONE', names: ['a'] });
  expect(session.receiver.status).toBe('ended');
});

test('a receiver that keeps nothing is given up after two rounds that list all again', () => {
  const session = new Session(pagesOf(['a', 'b']), []);
  for (let steps = 0; session.sender.end === null && steps < 100; steps++) {
    // The store loses what it confirms.
    session.confirm();
    session.held.clear();
    session.step();
  }
  expect(session.sender.end).toEqual({ kind: 'failed', code: 'MISSING_EXTENTS', names: ['a', 'b'] });
  expect(session.pushed()).toHaveLength(4);
});

test('pages that a proof finds wanting, of the snapshot or of the base, are asked for and given', () => {
  const session = new Session(pagesOf(['a']), ['a']);
  const inquiry = session.until('PUSH_INQUIRY');
  if (inquiry.kind !== 'PUSH_INQUIRY') throw new Error('not an inquiry');
  const answer = hearInquiry(session.receiver, inquiry, { lost: [], pages: [BASE_PAGE, 0] }, session);
  expect(answer).toMatchObject({ outstanding: 2, pages: [0, BASE_PAGE], names: [] });
  hear(session.sender, answer);
  session.run();
  expect(session.said.flatMap((message) => (message.kind === 'REFERENCES' ? [message.page] : []))).toEqual([0, 0, BASE_PAGE]);
  expect(session.sender.end).toEqual({ kind: 'committed' });
});

test('COMMIT is withheld while a subtree is not closed, whoever says it', () => {
  const session = new Session(pagesOf(['a']), ['a']);
  session.until('PUSH_INQUIRY');
  expect(session.deliver({ kind: 'COMMIT', epoch: 1 })).toEqual({ kind: 'WITHHELD', subtrees: [0] });
  expect(session.receiver.status).toBe('open');
});

test('an epoch is taken by comparison', () => {
  const claim = { epoch: 7, owner: 'run', attempt: 2 };
  const open = (owner: string, attempt: number, seen: number) => judgeOpen(claim, { kind: 'OPEN', owner, attempt, seen });
  expect(open('run', 2, 0)).toBe('again');
  expect(open('run', 3, 0)).toBe('claim');
  expect(open('run', 1, 9)).toBe('older');
  expect(open('other', 1, 0)).toBe('taken');
  expect(open('other', 1, 6)).toBe('taken');
  expect(open('other', 1, 7)).toBe('claim');
  expect(judgeOpen(null, { kind: 'OPEN', owner: 'other', attempt: 1, seen: 0 })).toBe('claim');
});

test('what a proof has missed and another subtree has brought meanwhile is not asked for, and keeps its subtree open until the next proof', () => {
  const receiver = newReceiver([0]);
  hearOpen(receiver, { kind: 'claimed', epoch: 1 });
  hearReferences(receiver, { kind: 'REFERENCES', epoch: 1, subtree: 0, page: 0, turn: 0 }, []);
  const ask = (round: number) => ({ kind: 'PUSH_INQUIRY' as const, epoch: 1, subtree: 0, round, underWay: false, pages: [0] });
  const limits = { namesMax: 10 };
  const overtaken = hearInquiry(receiver, ask(1), { lost: [], pages: [], overtaken: true }, limits);
  expect(overtaken).toMatchObject({ kind: 'MISSING', outstanding: 1, names: [], pages: [] });
  expect(needsProof(receiver, ask(2))).toBe(true);
  expect(hearInquiry(receiver, ask(2), { lost: [], pages: [] }, limits)).toMatchObject({ outstanding: 0 });
});

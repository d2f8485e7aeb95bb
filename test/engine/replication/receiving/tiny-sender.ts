/**
 * A sender as small as it can be: the product's reducer, a walk of the source's map, one exchange at a time. It counts what it
 * says and lets a test look at, lose, double or change any exchange.
 */
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import type { RepositoryReader } from '../../../../src/engine/repository/reader.ts';
import { MAP_FANOUT } from '../../../../src/domain/limits.ts';
import { ABSENT, CHILDREN_BYTES, childOf, isAbsent } from '../../../../src/engine/map/node.ts';
import { childrenAt, mapRoot } from '../../../../src/engine/map/walk.ts';
import { subtreeCount } from '../../../../src/engine/repository/transfer-reader.ts';
import {
  type AnswerFrame,
  type FirstFrame,
  type Hearing,
  type OpenFrame,
  type Peer,
  type SessionMessageFrame,
} from '../../../../src/engine/replication/frames.ts';
import { BASE_PAGE, type Message, type Name } from '../../../../src/engine/replication/messages.ts';
import { hear, newSender, says, type Sender, type SenderEnd } from '../../../../src/engine/replication/sender.ts';
import { encodeBody } from '../../../../src/ground/sealing/blob.ts';

export interface SenderOptions {
  readonly source: RepositoryReader;
  readonly snapshot: Snapshot;
  /** The way to the receiver; asked anew for each exchange, for it may have been started again. */
  readonly hearing: () => Hearing;
  readonly peer: Peer;
  readonly owner?: string;
  readonly attempt?: number;
  readonly takesOver?: boolean;
  readonly seen?: number;
  readonly open?: Partial<OpenFrame>;
  /** Snapshots of the source that the receiver may build on; default: all of the lineage. */
  readonly bases?: readonly Snapshot[];
  readonly framesAnExchange?: number;
  /** Before an exchange; what it answers is said instead. */
  readonly before?: (
    frames: readonly SessionMessageFrame[],
    said: number,
  ) => Promise<readonly SessionMessageFrame[]> | readonly SessionMessageFrame[];
  /** After it; false: the answers are lost. */
  readonly after?: (answers: readonly AnswerFrame[], frames: readonly SessionMessageFrame[]) => Promise<boolean> | boolean;
}

export interface Sent {
  readonly end: SenderEnd;
  /** Names of DATA, in the order in which they were said. */
  readonly pushed: readonly Name[];
  readonly pages: number;
  readonly rounds: number;
  readonly refusals: readonly string[];
  readonly epoch: number;
}

const NO_NAME = ABSENT.toString('hex');

export async function collect(answers: AsyncIterable<AnswerFrame>): Promise<AnswerFrame[]> {
  const all: AnswerFrame[] = [];
  for await (const answer of answers) all.push(answer);
  return all;
}

/** As a transport gives them: bodies are the hearer's alone. */
export async function* framesOf(frames: readonly SessionMessageFrame[]): AsyncGenerator<SessionMessageFrame> {
  for (const frame of frames) yield frame.kind === 'DATA' ? { ...frame, body: Buffer.from(frame.body) } : frame;
}

/** What a test needs of a snapshot's map, leaf by leaf. */
export const leafReader =
  (source: RepositoryReader, snapshot: Snapshot | null) =>
  async (leaf: number): Promise<Buffer> => {
    const root = mapRoot(snapshot?.root ?? null, snapshot?.rootLocation ?? null);
    return (await childrenAt(root, source.readNode, 1, leaf))?.children ?? Buffer.alloc(CHILDREN_BYTES);
  };

export const openFrameOf = (
  { snapshot, open = {}, owner = 'run', attempt = 1, seen = 0 }: SenderOptions,
  bases: readonly Snapshot[],
): OpenFrame => ({
  ...{ kind: 'OPEN', version: 1, proof: 'listed', sealedBySender: false, consistency: snapshot.consistency, attempt, seen, owner },
  ...{ takenMs: snapshot.takenMs, sizeBytes: snapshot.sizeBytes, extentBytes: snapshot.extentBytes, snapshot: snapshot.id },
  ...{ lineage: snapshot.lineage, label: '', bases: bases.map(({ id, root }) => ({ snapshot: id, root: root ?? NO_NAME })) },
  ...open,
});

export async function sendSnapshot(options: SenderOptions): Promise<Sent> {
  const { source, snapshot, peer, hearing, owner = 'run', attempt = 1, takesOver = false, framesAnExchange = 64 } = options;
  const known =
    options.bases ?? [...source.ledger().snapshots.values()].filter((one) => one.lineage === snapshot.lineage && one.seq < snapshot.seq);
  const leafOf = leafReader(source, snapshot);
  const pushed: Name[] = [];
  const refusals: string[] = [];
  let [pages, rounds] = [0, 0];
  const signal = new AbortController().signal;
  const exchange = (first: FirstFrame, frames: readonly SessionMessageFrame[]) =>
    collect(hearing().exchange(peer, first, framesOf(frames), signal));
  const done = (end: SenderEnd, epoch: number): Sent => ({ end, pushed, pages, rounds, refusals, epoch });

  let seen = options.seen ?? 0;
  let opened: AnswerFrame | undefined;
  for (;;) {
    [opened] = await exchange(openFrameOf({ ...options, seen }, known), []);
    if (opened?.kind !== 'TAKEN' || !takesOver || opened.epoch === seen) break;
    seen = opened.epoch;
  }
  if (opened?.kind === 'COMMITTED') return done({ kind: 'committed' }, 0);
  if (opened?.kind !== 'OPENED') {
    refusals.push(opened?.kind === 'REFUSED' ? opened.code : String(opened?.kind));
    return done({ kind: 'failed', code: 'CLAIM_LOST', names: [] }, 0);
  }
  const { base: there, epoch } = opened;
  const base = known.find(({ id, root }) => id === there?.snapshot && (root ?? NO_NAME) === there.root) ?? null;
  const isWhole = base === null && there !== null;
  const baseLeafOf = leafReader(source, base);
  const subtrees = subtreeCount(snapshot.sizeBytes, snapshot.extentBytes);
  const leaves = Math.ceil(Math.ceil(snapshot.sizeBytes / snapshot.extentBytes) / MAP_FANOUT);
  const plan = new Map<number, number[]>();
  for (let subtree = 0; subtree < subtrees; subtree++) {
    const own: number[] = [];
    for (let page = 0; page < MAP_FANOUT && subtree * MAP_FANOUT + page < leaves; page++) {
      const leaf = subtree * MAP_FANOUT + page;
      if (isWhole || !(await leafOf(leaf)).equals(await baseLeafOf(leaf))) own.push(page);
    }
    plan.set(subtree, own);
  }
  const sender: Sender = newSender({ owner, attempt, takesOver, pages: plan });
  hear(sender, { kind: 'OPENED', epoch, fresh: opened.fresh });

  const frameOf = async (message: Message): Promise<SessionMessageFrame> => {
    switch (message.kind) {
      case 'OPEN':
        throw new Error('it is open');
      case 'REFERENCES': {
        const { turn, subtree, page } = message;
        const isBase = page >= BASE_PAGE;
        const leaf = subtree * MAP_FANOUT + (page % BASE_PAGE);
        const children = await (isBase ? baseLeafOf(leaf) : leafOf(leaf));
        const before = isBase || isWhole ? Buffer.alloc(CHILDREN_BYTES) : await baseLeafOf(leaf);
        const rows = Array.from({ length: MAP_FANOUT }, (_, child) => ({ child, name: childOf(children, child) }))
          .filter(({ child, name }) => !name.equals(childOf(before, child)))
          .map(({ child, name }) => ({ child, name: name.toString('hex') }));
        pages++;
        return { kind: 'REFERENCES', whole: isBase || isWhole, turn, subtree, page, rows };
      }
      case 'DATA': {
        const fingerprint = Buffer.from(message.name, 'hex');
        const plain = await source.values.readExtent(fingerprint, null);
        const { codec, bytes } = encodeBody(plain, 'extent', 'zstd-1');
        pushed.push(message.name);
        return { ...message, codec: codec === 0 ? 0 : 1, body: Buffer.from(bytes) };
      }
      case 'PUSH_INQUIRY':
        rounds++;
        return message;
      case 'COMMIT':
        return { kind: 'COMMIT', root: snapshot.root ?? NO_NAME };
      case 'NAME_GONE':
        return { kind: 'NAME_GONE', names: [] };
      case 'ABORT':
        return { kind: 'ABORT', reason: 'the test' };
    }
  };

  for (let said = 0; sender.end === null; said++) {
    if (said > 2000) throw new Error('it does not end');
    const due = [...says(sender)].slice(0, framesAnExchange);
    // Inquiries and what follows them wait for what was said before them.
    const cut = due.findIndex(({ kind }) => kind === 'PUSH_INQUIRY' || kind === 'COMMIT');
    const own = await Promise.all(due.slice(0, cut < 0 ? due.length : cut + 1).map(frameOf));
    const frames = (await options.before?.(own, said)) ?? own;
    const answers = await exchange({ kind: 'SESSION', epoch, snapshot: snapshot.id, lineage: snapshot.lineage }, frames);
    if ((await options.after?.(answers, frames)) === false) continue;
    hearAnswers(sender, frames, answers, refusals);
    if (refusals.length > 20) throw new Error(`refused again and again: ${refusals.join(', ')}`);
    const fatal = answers.find((answer) => answer.kind === 'REFUSED');
    if (fatal?.kind === 'REFUSED' && !TOLD.includes(fatal.code)) return done({ kind: 'failed', code: 'CLAIM_LOST', names: [] }, epoch);
  }
  return done(sender.end, epoch);
}

/** Refusals that the reducer knows. */
const TOLD = ['CLAIM_LOST', 'ROUND_OVER', 'NAME_FALSE', 'ROOT_DIFFERS'];

function hearAnswers(sender: Sender, frames: readonly SessionMessageFrame[], answers: readonly AnswerFrame[], refusals: string[]): void {
  const data = frames.filter((frame) => frame.kind === 'DATA');
  let kept = 0;
  for (const answer of answers) {
    switch (answer.kind) {
      case 'KEPT':
        for (let i = 0; i < answer.accepted + answer.dropped; i++)
          hear(sender, { kind: 'KEPT', name: data[kept++]?.name ?? '', accepted: true, turn: answer.turn });
        break;
      case 'REFUSED':
        refusals.push(answer.code);
        if (TOLD.includes(answer.code)) hear(sender, { kind: 'REFUSED', code: answer.code as 'CLAIM_LOST' });
        break;
      case 'OPENED':
      case 'TAKEN':
        break;
      default:
        hear(sender, answer);
    }
  }
}

/** Names of a snapshot that are not zeros, each once. */
export async function namesOfSnapshot(source: RepositoryReader, snapshot: Snapshot): Promise<Set<Name>> {
  const names = new Set<Name>();
  const leafOf = leafReader(source, snapshot);
  const leaves = Math.ceil(Math.ceil(snapshot.sizeBytes / snapshot.extentBytes) / MAP_FANOUT);
  for (let leaf = 0; leaf < leaves; leaf++) {
    const children = await leafOf(leaf);
    for (let i = 0; i < MAP_FANOUT; i++) if (!isAbsent(childOf(children, i))) names.add(childOf(children, i).toString('hex'));
  }
  return names;
}
